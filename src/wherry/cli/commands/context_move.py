"""`context export` and `import`: a context as an archive."""

from __future__ import annotations

import os

from wherry.cli.command import Command, CommandFailed, Invocation
from wherry.cli.commands.context import store
from wherry.cli.contexts import TLS_NAMES, check_name
from wherry.cli.jsontext import dumps, loads
from wherry.cli.words import os_error
from wherry.console.streams import write_all

TYPE_CHECKING = False

LIMIT = 10 << 20


def export(call: Invocation) -> int:
    """Writes `<name>.dockercontext`, the file that was named, or stdout for `-`."""
    import io
    import tarfile

    name = call.arguments[0]
    target = call.arguments[1] if len(call.arguments) > 1 else f"{name}.dockercontext"
    contexts = store(call)
    check_name(name)
    meta = contexts.get(name)
    if target == "-" and call.streams.stdout_is_terminal:
        raise CommandFailed("cowardly refusing to export to a terminal, specify a file path")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        members: list[tuple[str, bytes | None]] = [("meta.json", dumps(meta).encode())]
        held = contexts.tls(name)
        if held:
            members += [("tls", None), ("tls/docker", None), *((f"tls/docker/{file}", data) for file, data in held.items())]
        for path, data in members:
            member = tarfile.TarInfo(path)
            member.mode = 0o644 if data is not None and not path.startswith("tls") else 0o600 if data is not None else 0o700
            if data is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    if target == "-":
        write_all(call.streams.stdout, buffer.getvalue())
        return 0
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as wrong:
        raise CommandFailed(os_error(wrong)) from None
    try:
        write_all(fd, buffer.getvalue())
    finally:
        os.close(fd)
    call.streams.error_line(f'Written file "{target}"')
    return 0


def import_context(call: Invocation) -> int:
    """Reads a context that was exported, here or by docker."""
    import io
    import tarfile
    import zipfile

    name, source = call.arguments
    check_name(name)
    contexts = store(call)
    if name in contexts.names():
        raise CommandFailed(f'context "{name}" already exists')
    try:
        with open(call.streams.stdin if source == "-" else source, "rb", closefd=source != "-") as file:
            data = file.read(LIMIT + 1)
    except OSError as wrong:
        raise CommandFailed(os_error(wrong)) from None
    if len(data) > LIMIT:
        raise CommandFailed("read exceeds the defined limit")
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            files = {one.filename: packed.read(one) for one in packed.infolist() if not one.is_dir() and one.file_size <= LIMIT}
    else:
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                files = {one.name: (archive.extractfile(one) or io.BytesIO()).read() for one in archive if one.isfile()}
        except tarfile.TarError as wrong:
            raise CommandFailed(f"unexpected context file: {wrong}") from None
    if "meta.json" not in files:
        raise CommandFailed("invalid context: no metadata found")
    for path in files:
        if path != "meta.json" and not path.startswith("tls/"):
            raise CommandFailed(f"{path}: unexpected context file")
    meta = loads(files["meta.json"])
    meta["Name"] = name
    tls = {one: files[f"tls/docker/{one}"] for one in TLS_NAMES if f"tls/docker/{one}" in files}
    contexts.save(name, meta, tls)
    call.streams.line(name)
    call.streams.error_line(f'Successfully imported context "{name}"')
    return 0


EXPORT = Command(usage="[OPTIONS] CONTEXT [FILE|-]", action=export, least=1, most=2)
IMPORT = Command(usage="CONTEXT FILE|-", action=import_context, least=2, most=2)
