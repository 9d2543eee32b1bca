"""`wherry-runc exec`: runs a further program in a container."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.linux import file
from wherry.oci import jsontext
from wherry.oci.runtime import Capabilities, Process, User
from wherry.runtime import container, validate
from wherry.runtime.commands import create
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.runtime.main import Context

COMMAND = Command(
    name="exec", usage="run a further program in a container", maximum=None, runs_words=True,
    arguments="<container-id> <program> [arguments] | -p process.json <container-id>",
    flags=(
        create.CONSOLE_SOCKET,
        create.PIDFD_SOCKET,
        Flag(names=("cwd",), kind="text", help="working folder in the container"),
        Flag(names=("env", "e"), kind="list", help="NAME=value to add to the environment"),
        Flag(names=("tty", "t"), kind="switch", help="give it a terminal"),
        Flag(names=("user", "u"), kind="text", help="uid[:gid]"),
        Flag(names=("additional-gids", "g"), kind="numbers", help="further groups, by number"),
        Flag(names=("process", "p"), kind="text", help="file with the process as in the runtime-spec"),
        Flag(names=("detach", "d"), kind="switch", help="do not wait for its end"),
        create.PID_FILE,
        Flag(names=("process-label",), kind="text", help="SELinux label"),
        Flag(names=("apparmor",), kind="text", help="AppArmor profile"),
        Flag(names=("no-new-privs",), kind="switch", help="set no-new-privileges"),
        Flag(names=("cap", "c"), kind="list", help="capability to add"),
        create.PRESERVE_FDS,
        Flag(names=("cgroup",), kind="list", help="[controller,…:]folder below the container's cgroup to run in"),
        Flag(names=("ignore-paused",), kind="switch", help="also in a paused container"),
    ),
    description="The program begins with the environment, user, folder and capabilities of the container's own.\n"
                "Without --detach the exit status is the program's.")


def run(context: Context) -> int:
    """Runs it."""
    with create.waking(context):
        running = _execute(context)
    if context.flags["detach"]:
        return 0
    from wherry.runtime.commands.foreground import stay_with

    return stay_with(running.pidfd, running.console)


def _execute(context: Context) -> container.Process:
    """The process, running; its terminal and descriptor are where they were promised."""
    flags = context.flags
    if len(context.arguments) < 2 and not flags["process"]:
        raise InvalidArgument("process args cannot be empty")
    found = container.load(context.root, context.arguments[0])
    process = plan_process(flags, context.arguments[1:], found.saved.own_process())
    check_process(process, context)
    create.check_terminal(process.terminal, flags["detach"], flags["console-socket"])
    create.hold_preserved(flags["preserve-fds"])
    listen = create.listen_fds()
    if listen:
        process = process.replace(env=(*process.env, f"LISTEN_FDS={listen}", "LISTEN_PID=1"))
    if process.terminal and not flags["detach"]:
        from wherry.runtime.commands.foreground import open_tty

        os.close(open_tty())
    with create.Sockets(flags) as sockets:
        running = container.execute(found, container.ExecRequest(
            process=process, pid_file=flags["pid-file"], preserve_fds=flags["preserve-fds"] + listen,
            cgroups=tuple(parse_cgroups(flags["cgroup"]).items()), ignore_paused=flags["ignore-paused"], mode="cold"))
        sockets.hand_over(running.console if flags["detach"] else None, running.pidfd, "setns")
    return running


def plan_process(flags: Mapping[str, Any], arguments: tuple[str, ...], process: Process) -> Process:
    """The process to run: from its file, or the container's own, as it was created, with what the flags change."""
    if flags["process"]:
        try:
            return Process.from_json(jsontext.loads(file.read(flags["process"])), "")
        except OSError as error:
            raise InvalidArgument(f"open {flags['process']}: {(error.strerror or '').lower()}") from error
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
    process = process.replace(args=arguments, terminal=flags["tty"], env=(*process.env, *flags["env"]))
    if flags["cwd"]:
        process = process.replace(cwd=flags["cwd"])
    if flags["user"]:
        process = process.replace(user=parse_user(flags["user"], process.user))
    if flags["additional-gids"]:
        groups = tuple(flags["additional-gids"])
        process = process.replace(user=process.user.replace(additional_gids=(*process.user.additional_gids, *groups)))
    if flags["no-new-privs"]:
        process = process.replace(no_new_privileges=True)
    if flags["apparmor"]:
        process = process.replace(apparmor_profile=flags["apparmor"])
    if flags["process-label"]:
        process = process.replace(selinux_label=flags["process-label"])
    if flags["cap"]:
        own = process.capabilities or Capabilities()
        more = tuple(flags["cap"])
        process = process.replace(capabilities=own.replace(
            bounding=own.bounding + more, effective=own.effective + more, permitted=own.permitted + more,
            ambient=own.ambient + more))
    return process


def parse_user(text: str, own: User) -> User:
    """uid[:gid], numbers only, as runc takes them."""
    uid, colon, gid = text.partition(":")
    return own.replace(uid=_number(uid, "uid"), gid=_number(gid, "gid") if colon else own.gid)


def check_process(process: Process, context: Context) -> None:
    """InvalidArgument for a process that cannot be, as the config of a container is refused."""
    validate.check_process(process)
    create.check_surroundings(process, context)
    ids = (process.user.uid, process.user.gid, *process.user.additional_gids)
    if not all(0 <= number <= _LAST_ID for number in ids):
        reason = f"unable to setup user: uids and gids must be in range 0-{_LAST_ID}"
        raise InvalidArgument(f"unable to start container process: {reason}")


_LAST_ID = (1 << 31) - 1


def parse_cgroups(given: list[str]) -> dict[str, str]:
    """Folders below the container's cgroup by controller («» for all), from «folder» and «controller,controller:folder»."""
    found: dict[str, str] = {}
    for text in given:
        names, colon, place = text.rpartition(":")
        for name in names.split(",") if colon else ("",):
            if name in found:
                raise InvalidArgument(f"can't parse --cgroup: duplicate controller {name}")
            found[name] = place
    if "" in found and len(found) > 1:
        raise InvalidArgument("can't parse --cgroup: a folder for all controllers stands alone")
    return found


def _number(text: str, kind: str) -> int:
    try:
        return int(text)
    except ValueError:
        reason = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise InvalidArgument(f"parsing {text} as int for {kind} failed: {reason}") from None
