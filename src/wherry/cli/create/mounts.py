"""The grammars of `--mount` and `-v`."""

from __future__ import annotations

import os

from wherry.cli.values import FALSE, TRUE, csv_fields, ram_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Mount = dict[str, Any]


def _truth(key: str, value: str) -> bool:
    if value not in TRUE and value not in FALSE:
        raise ValueError(f"invalid value for {key}: {value}")
    return value in TRUE


def parse_mount(text: str) -> Mount:
    """One `--mount` as the API's Mount, with fields in the API's order. Raises ValueError."""
    plain: dict[str, Any] = {"Type": "volume"}
    options: dict[str, dict[str, Any]] = {"bind": {}, "volume": {}, "image": {}, "tmpfs": {}}
    recursive = ""
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"):
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        if key == "bind-recursive":
            recursive = value
        _field(plain, options, key, value, field)
    _recursive(plain, options["bind"], recursive)
    if not plain.get("Target"):
        raise ValueError("target is required")
    for kind, group in options.items():
        if group and plain["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{plain['Type']}'")
    return _ordered(plain, options, recursive)


def _field(plain: dict[str, Any], options: dict[str, dict[str, Any]], key: str, value: str, field: str) -> None:
    """Puts one field where it belongs. Raises ValueError."""
    if key in _PLACES:
        group, name, read = _PLACES[key]
        (options[group] if group else plain)[name] = read(key, value)
        return
    name, _, content = value.partition("=")
    volume = options["volume"]
    if key == "bind-recursive":
        _recursive_words(options["bind"], value)
    elif key == "volume-label":
        volume.setdefault("Labels", {})[name] = content
    elif key == "volume-driver":
        volume.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        volume.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = content
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _as_is(_key: str, value: str) -> str:
    return value


def _lower(_key: str, value: str) -> str:
    return value.lower()


def _source(_key: str, value: str) -> str:
    return os.path.abspath(value) if value.startswith(("./", "../")) or value in (".", "..") else value


def _size(key: str, value: str) -> int:
    try:
        return ram_bytes(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _octal(key: str, value: str) -> int:
    if not value or any(one not in "01234567" for one in value):
        raise ValueError(f"invalid value for {key}: {value}")
    return int(value, 8)


# key of the option: (group, or "" for the mount itself, name of the field in the API, how its value is read)
_PLACES: dict[str, tuple[str, str, Callable[[str, str], Any]]] = {
    "type": ("", "Type", _lower),
    "source": ("", "Source", _source),
    "src": ("", "Source", _source),
    "target": ("", "Target", _as_is),
    "dst": ("", "Target", _as_is),
    "destination": ("", "Target", _as_is),
    "readonly": ("", "ReadOnly", _truth),
    "ro": ("", "ReadOnly", _truth),
    "consistency": ("", "Consistency", _lower),
    "bind-propagation": ("bind", "Propagation", _lower),
    "bind-nonrecursive": ("bind", "NonRecursive", _truth),
    "bind-create-src": ("bind", "CreateMountpoint", _truth),
    "volume-subpath": ("volume", "Subpath", _as_is),
    "volume-nocopy": ("volume", "NoCopy", _truth),
    "image-subpath": ("image", "Subpath", _as_is),
    "tmpfs-size": ("tmpfs", "SizeBytes", _size),
    "tmpfs-mode": ("tmpfs", "Mode", _octal),
}


def _recursive_words(bind: dict[str, Any], value: str) -> None:
    if value == "disabled":
        bind["NonRecursive"] = True
    elif value == "writable":
        bind["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        bind["ReadOnlyForceRecursive"] = True
    elif value not in ("enabled", ""):
        if value in TRUE or value in FALSE:
            if value in FALSE:
                bind["NonRecursive"] = True
            return
        raise ValueError(f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")')


def _recursive(plain: dict[str, Any], bind: dict[str, Any], value: str) -> None:
    if value not in ("writable", "readonly"):
        return
    if not plain.get("ReadOnly"):
        raise ValueError(f"option 'bind-recursive={value}' requires 'readonly' to be specified in conjunction")
    if value == "readonly" and bind.get("Propagation") != "rprivate":
        raise ValueError("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")


_ORDER = {
    "bind": ("Propagation", "NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive"),
    "volume": ("NoCopy", "Labels", "Subpath", "DriverConfig"),
    "image": ("Subpath",),
    "tmpfs": ("SizeBytes", "Mode"),
}


def _ordered(plain: dict[str, Any], options: dict[str, dict[str, Any]], recursive: str) -> Mount:
    mount = {name: plain[name] for name in ("Type", "Source", "Target", "ReadOnly", "Consistency") if plain.get(name)}
    for kind, name in (
        ("bind", "BindOptions"),
        ("volume", "VolumeOptions"),
        ("image", "ImageOptions"),
        ("tmpfs", "TmpfsOptions"),
    ):
        given = options[kind]
        if given or (kind == "bind" and recursive and plain["Type"] == "bind"):
            mount[name] = {key: given[key] for key in _ORDER[kind] if given.get(key)}
    return mount


def parse_volume(text: str) -> tuple[str, str]:
    """One `-v`: («bind», the text for HostConfig.Binds) or («volume», the path of an anonymous one). Raises ValueError.

    A letter before a colon is taken for a Windows drive, as docker does on every system.
    """
    if not text:
        raise ValueError("invalid empty volume spec")
    if len(text) <= 2:
        return "volume", text
    fields: list[str] = []
    buffer = ""
    for one in text:
        if one == ":" and not (len(buffer) == 1 and buffer.isalpha()):
            if not buffer:
                raise ValueError(f"invalid spec: {text}: empty section between colons")
            fields.append(buffer)
            buffer = ""
        else:
            buffer += one
    if not buffer:
        raise ValueError(f"invalid spec: {text}: empty section between colons")
    fields.append(buffer)
    if len(fields) > 3:
        raise ValueError(f"invalid spec: {text}: too many colons")
    if len(fields) == 1:
        return "volume", text
    host, _, target = text.partition(":")
    if fields[0][0] in "./~" and host.startswith("."):
        return "bind", f"{os.path.abspath(host)}:{target}"
    return "bind", text
