"""`login` and `logout`."""

from __future__ import annotations

import os

from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.credentials import HUB, erase, login_for, save
from wherry.errors import WherryError

TYPE_CHECKING = False


def _server(call: Invocation) -> str:
    server = call.arguments[0] if call.arguments else ""
    if server in ("", "docker.io", "index.docker.io", "registry-1.docker.io", HUB):
        return HUB
    return server.removeprefix("https://").removeprefix("http://").rstrip("/")


def _ask(call: Invocation, prompt: str, *, hidden: bool = False) -> str:
    """A line from the terminal; a hidden one is not shown while it is typed."""
    fd = call.streams.stdin
    restore = None
    if hidden:
        import termios

        restore = termios.tcgetattr(fd)
        mode = [*restore]
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(fd, termios.TCSAFLUSH, mode)
    try:
        call.streams.out(prompt)  # only now: who types at once is neither shown nor lost
        line = b""
        while not line.endswith(b"\n"):
            piece = os.read(fd, 1)
            if not piece:
                break
            line += piece
    finally:
        if restore is not None:
            import termios

            termios.tcsetattr(fd, termios.TCSAFLUSH, restore)
            call.streams.out("\n")
    return line.decode("utf-8", "surrogateescape").strip()


def _password_from_stdin(call: Invocation) -> str:
    data = b""
    while piece := os.read(call.streams.stdin, 1 << 16):
        data += piece
    return data.decode("utf-8", "surrogateescape").rstrip("\r\n")


def login(call: Invocation) -> int:
    """Asks the daemon whether the registry takes the login, and keeps it."""
    options, streams = call.options, call.streams
    user, password = options.text("username"), options.text("password")
    if options.given("password"):
        if options.on("password-stdin"):
            raise CommandFailed("conflicting options: cannot specify both --password and --password-stdin")
        streams.error_line("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if options.on("password-stdin"):
        if not user:
            raise CommandFailed("the --password-stdin option requires --username to be set")
        password = _password_from_stdin(call)
    server = _server(call)
    known = login_for(call.config, server) if not (user or password) else {}
    if known.get("identitytoken") or (known.get("username") and known.get("password")):
        streams.line("Authenticating with existing credentials...")
        auth = {**known, "serveraddress": server}
        user, password = auth.get("username", ""), auth.get("password", "")
    else:
        if not user or not password:
            if not streams.stdin_is_terminal:
                raise CommandFailed("Error: Cannot perform an interactive login from a non TTY device")
            user = user or _ask(call, "Username: ")
            if not user:
                raise CommandFailed("Error: Non-null Username Required")
            password = password or _ask(call, "Password: ", hidden=True)
            if not password:
                raise CommandFailed("Error: Password Required")
        auth = {"username": user, "password": password, "serveraddress": server}
    answer = call.client.post("/auth", auth) or {}
    if answer.get("IdentityToken"):
        auth = {"username": user, "password": "", "identitytoken": answer["IdentityToken"]}
    helper = save(call.config, server, auth)
    if not helper:
        streams.error_line(
            f"\nWARNING! Your credentials are stored unencrypted in '{call.config.path}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n"
        )
    streams.line(answer.get("Status") or "Login Succeeded")
    return 0


def logout(call: Invocation) -> int:
    """Forgets the login."""
    server = _server(call)
    call.streams.line(f"Removing login credentials for {server}")
    try:
        erase(call.config, server)
    except WherryError as wrong:
        call.streams.error_line(f"WARNING: could not erase credentials:\n{server}: {wrong.message}")
    return 0


LOGIN = Command(
    usage="[OPTIONS] [SERVER]",
    action=login,
    most=1,
    summary="Log in to a registry.\nWithout a server: Docker Hub.",
    flags=(
        Flag(name="password", short="p", kind="string", help="Password or personal access token"),
        Flag(name="password-stdin", help="Read the password or token from stdin"),
        Flag(name="username", short="u", kind="string", help="User"),
    ),
)
LOGOUT = Command(usage="[SERVER]", action=logout, most=1, summary="Log out from a registry.\nWithout a server: Docker Hub.")
