"""`wherry-runc exec`: runs a further program in a container."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux import file
from wherry.oci import jsontext
from wherry.oci.runtime import Capabilities, Process, User
from wherry.runtime import container
from wherry.runtime.commands import creation
from wherry.runtime.create import read_config
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.runtime.main import Context

COMMAND = Command(
    name="exec", usage="run a further program in a container", maximum=None,
    arguments="<container-id> <program> [arguments] | -p process.json <container-id>",
    flags=(
        creation.CONSOLE_SOCKET,
        Flag(names=("cwd",), kind="text", help="working folder in the container"),
        Flag(names=("env", "e"), kind="list", help="NAME=value to add to the environment"),
        Flag(names=("tty", "t"), kind="switch", help="give it a terminal"),
        Flag(names=("user", "u"), kind="text", help="uid[:gid]"),
        Flag(names=("additional-gids", "g"), kind="list", help="further groups, by number"),
        Flag(names=("process", "p"), kind="text", help="file with the process as in the runtime-spec"),
        Flag(names=("detach", "d"), kind="switch", help="do not wait for its end"),
        creation.PID_FILE,
        Flag(names=("process-label",), kind="text", help="SELinux label"),
        Flag(names=("apparmor",), kind="text", help="AppArmor profile"),
        Flag(names=("no-new-privs",), kind="switch", help="set no-new-privileges"),
        Flag(names=("cap", "c"), kind="list", help="capability to add"),
        creation.PRESERVE_FDS,
        Flag(names=("cgroup",), kind="text", help="run in this folder below the container's cgroup"),
        Flag(names=("ignore-paused",), kind="switch", help="also in a paused container"),
    ),
    description="The program begins with the environment, user, folder and capabilities of the container's own.\n"
                "Without --detach the exit status is the program's.")


def run(context: Context) -> int:
    """Runs it."""
    flags = context.flags
    if len(context.arguments) < 2 and not flags["process"]:
        raise InvalidArgument("process args cannot be empty")
    found = container.load(context.root, context.arguments[0])
    process = plan_process(flags, context.arguments[1:], found.saved.bundle)
    creation.check_terminal(process.terminal, flags["detach"], flags["console-socket"])
    listen = creation.listen_fds()
    if listen:
        process = process.replace(env=(*process.env, f"LISTEN_FDS={listen}", "LISTEN_PID=1"))
    if process.terminal and not flags["detach"]:
        import os

        from wherry.runtime.commands.foreground import open_tty

        os.close(open_tty())
    running = container.execute(found, container.ExecRequest(
        process=process, pid_file=flags["pid-file"], preserve_fds=flags["preserve-fds"] + listen,
        cgroup=parse_cgroup(flags["cgroup"]), ignore_paused=flags["ignore-paused"], mode="cold"))
    if flags["detach"]:
        if running.console is not None:
            creation.send_console(flags["console-socket"], running.console)
        return 0
    from wherry.runtime.commands.foreground import stay_with

    return stay_with(running.pidfd, running.console)


def plan_process(flags: Mapping[str, Any], arguments: tuple[str, ...], bundle: str) -> Process:
    """The process to run: from its file, or the container's own with what the flags change."""
    if flags["process"]:
        try:
            return Process.from_json(jsontext.loads(file.read(flags["process"])), "")
        except ValueError as error:
            raise InvalidArgument(f"{flags['process']}: {error}") from error
    process = read_config(bundle).process
    if process is None:
        raise InvalidArgument("process property must not be empty")
    process = process.replace(args=arguments, terminal=flags["tty"], env=(*process.env, *flags["env"]))
    if flags["cwd"]:
        process = process.replace(cwd=flags["cwd"])
    if flags["user"]:
        process = process.replace(user=parse_user(flags["user"], process.user))
    if flags["additional-gids"]:
        groups = tuple(_number(text) for text in flags["additional-gids"])
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
            ambient=own.ambient + more, inheritable=own.inheritable + (more if own.ambient else ())))
    return process


def parse_user(text: str, own: User) -> User:
    """uid[:gid], numbers only, as runc takes them."""
    uid, colon, gid = text.partition(":")
    return own.replace(uid=_number(uid), gid=_number(gid) if colon else own.gid)


def parse_cgroup(text: str) -> str:
    """The folder below the container's cgroup; one controller's alone is not supported."""
    if ":" in text:
        raise InvalidArgument(f"--cgroup {text}: a folder per controller is not supported")
    return text


def _number(text: str) -> int:
    if not text.isdigit():
        raise InvalidArgument(f'parsing "{text}": not a number')
    return int(text)
