"""Help pages: of the program, and of each command."""

from __future__ import annotations

from wherry.runtime.flags import help_of_command, help_of_flags


def page(name: str) -> str:
    """The help page of a command; of the program for an empty or unknown name."""
    from wherry.runtime.main import COMMANDS, GLOBAL_FLAGS, load

    if name in COMMANDS:
        return help_of_command(load(name)[0])
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"   {one.ljust(width)}  {load(one)[0].usage}" for one in COMMANDS)
    return (
        "NAME:\n   wherry-runc - Open Container Initiative runtime\n\n"
        "USAGE:\n   wherry-runc [global options] command [command options] [arguments...]\n\n"
        "DESCRIPTION:\n"
        "   A bundle is a folder with config.json (wherry-runc spec writes one) and a root filesystem. For example:\n\n"
        "       wherry-runc run --bundle /path/to/bundle mycontainer\n\n"
        f"COMMANDS:\n{commands}\n\n"
        f"GLOBAL OPTIONS:\n{help_of_flags(GLOBAL_FLAGS)}\n")
