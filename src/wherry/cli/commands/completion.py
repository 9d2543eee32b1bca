"""Completion for bash, zsh and fish: small scripts that ask `wherry __complete`, which answers from the table of commands."""

from __future__ import annotations

from wherry.cli.command import PROGRAM, UNLIMITED, Command, CommandFailed, Invocation
from wherry.cli.index import GROUPS, find, members, top_level
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.cli.command import Flag

BASH = """# bash completion for {program}
_{program}_complete() {{
    local IFS=$'\\n'
    COMPREPLY=($({program} __complete "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null | cut -f1))
    [[ ${{#COMPREPLY[@]}} -eq 0 ]] && compopt -o default
    [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
}}
complete -F _{program}_complete {program}
"""
ZSH = """#compdef {program}
_{program}() {{
    local -a found
    local line
    while IFS=$'\\t' read -r name text; do
        found+=("${{name//:/\\\\:}}:$text")
    done < <({program} __complete "${{words[@]:1:$CURRENT-1}}" 2>/dev/null)
    if (( ${{#found}} )); then _describe '{program}' found; else _files; fi
}}
compdef _{program} {program}
"""
FISH = """# fish completion for {program}
function __{program}_complete
    set -l words (commandline -opc) (commandline -ct)
    {program} __complete $words[2..-1] 2>/dev/null
end
complete -c {program} -a '(__{program}_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

# What the arguments of a command are: containers (running, not running, all), images, networks, volumes.
RUNNING = frozenset(("attach", "exec", "kill", "pause", "stop", "top", "port", "stats", "unpause"))
CONTAINERS = frozenset(
    ("commit", "cp", "diff", "export", "logs", "rename", "restart", "rm", "start", "update", "wait", "container inspect")
)
IMAGES = frozenset(("create", "run", "history", "push", "rmi", "save", "tag", "image inspect"))


def print_script(call: Invocation) -> int:
    """Prints the script of a shell."""
    shell = call.arguments[0]
    if shell not in SCRIPTS:
        raise CommandFailed(f"completion for {shell!r} is not supported by wherry (bash, zsh, fish)")
    call.streams.out(SCRIPTS[shell].format(program=PROGRAM))
    return 0


def complete(call: Invocation) -> int:
    """Prints what may stand in the last of the words, with a tab and a line about it."""
    *words, last = call.arguments or ("",)
    for name, line in suggestions(call, words, last):
        if name.startswith(last):
            call.streams.line(f"{name}\t{line}" if line else name)
    return 0


def _after_globals(words: Sequence[str]) -> list[str]:
    """The words from the command on."""
    from wherry.cli.main import global_flags

    values = {f"--{flag.name}" for flag in global_flags("") if flag.kind != "bool"} | {
        f"-{flag.short}" for flag in global_flags("") if flag.short and flag.kind != "bool"
    }
    rest = list(words)
    while rest and rest[0].startswith("-"):
        del rest[: 2 if rest[0] in values else 1]
    return rest


def suggestions(call: Invocation, words: Sequence[str], last: str) -> list[tuple[str, str]]:
    """(word, line) of everything that could come next."""
    rest = _after_globals(words)
    if not rest:
        if last.startswith("-"):
            from wherry.cli.main import global_flags

            return _flags(global_flags(call.config.folder))
        return sorted(
            (
                *top_level(),
                *GROUPS.items(),
                ("completion", "Print the completion script of a shell"),
                ("help", "Show the help of a command"),
            )
        )
    place = find((rest[0],))
    taken = 1
    if place is None and rest[0] in GROUPS:
        if len(rest) == 1:
            return members(rest[0])
        place, taken = find(tuple(rest[:2])), 2
    if place is None:
        return []
    module, _, attribute = place[2].partition(":")
    command: Command = getattr(__import__(f"wherry.cli.commands.{module}", fromlist=[attribute]), attribute)
    if last.startswith("-"):
        return _flags(command.flags)
    if place[0] == "completion":
        return [(shell, "") for shell in SCRIPTS]
    if rest[taken:] and any(rest[-1] in (f"--{flag.name}", f"-{flag.short}") and flag.kind != "bool" for flag in command.flags):
        return []
    try:
        return _objects(call, place[0])
    except WherryError:  # no daemon: nothing to offer, and a shell's prompt is no place for errors
        return []


def _flags(flags: Sequence[Flag]) -> list[tuple[str, str]]:
    return [(f"--{flag.name}", flag.help.partition("\n")[0]) for flag in flags if not flag.hidden]


def _objects(call: Invocation, place: str) -> list[tuple[str, str]]:
    names = {place, *(place.split(" ")[1:] if place.startswith("container ") else ())}
    if place.startswith("image "):
        names.add({"rm": "rmi"}.get(place.split(" ")[1], place.split(" ")[1]))
    if names & (RUNNING | CONTAINERS) and place.startswith("container"):
        items = call.client.get("/containers/json", all=None if names & RUNNING else True)
        return [(name.removeprefix("/"), item["Image"]) for item in items for name in item["Names"]]
    if names & IMAGES:
        return [
            (tag, "") for item in call.client.get("/images/json") for tag in item.get("RepoTags") or () if tag != "<none>:<none>"
        ]
    if place.startswith("network ") and place not in ("network create", "network ls", "network prune"):
        return [(item["Name"], item["Driver"]) for item in call.client.get("/networks")]
    if place in ("volume inspect", "volume rm"):
        return [(item["Name"], "") for item in call.client.get("/volumes")["Volumes"] or ()]
    if place.startswith("context ") and place not in ("context create", "context ls", "context show", "context import"):
        from wherry.cli.contexts import ContextStore

        return [("default", ""), *((name, "") for name in ContextStore(call.config.folder).names())]
    return []


COMPLETION = Command(usage="bash|zsh|fish", action=print_script, least=1, most=1)
COMPLETE = Command(usage="", action=complete, most=UNLIMITED, skip_flags=True)
