"""What is executed in the end, and as whom: the plan that an init and a further process have in common. `become` applies it."""

from __future__ import annotations

from wherry.record import Record
from wherry.runtime.credentials import plan_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.linux.seccomp import Program
    from wherry.oci.runtime import Process
    from wherry.runtime.container import CreateRequest
    from wherry.runtime.credentials import Credentials
    from wherry.runtime.scheduling import Scheduling


class ProgramPlan(Record):
    """What is executed in the end, by an init or by a further process: `program`, or the first of the arguments."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    credentials: Credentials
    terminal: bool
    console_size: tuple[int, int] | None
    stdio: tuple[int, int, int] | None
    preserve_fds: int
    apparmor_profile: str
    selinux_label: str
    seccomp: Program | None
    scheduling: Scheduling | None = None
    program: str = ""


def plan_program(request: CreateRequest, config: Process, program_filter: Program | None) -> ProgramPlan:
    """What the init executes."""
    env = config.env
    if request.listen_fds:
        env = (*env, f"LISTEN_FDS={request.listen_fds}", "LISTEN_PID=1")
    if request.notify:
        from wherry.runtime.notify import inside

        env = (*env, f"NOTIFY_SOCKET={inside(request.notify)}")
    who = plan_credentials(config)
    return ProgramPlan(
        args=config.args, env=env, cwd=config.cwd, credentials=who.replace(groups=None) if request.keep_groups else who,
        terminal=request.console or config.terminal, console_size=config.console_size, stdio=request.stdio,
        preserve_fds=request.preserve_fds, apparmor_profile=config.apparmor_profile, selinux_label=config.selinux_label,
        seccomp=program_filter)
