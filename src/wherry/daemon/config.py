"""What was asked for: flags and daemon.json brought together, in dockerd's words where they do not fit.

Pure but for reading the file: text in, one dictionary by flag name out. What the values mean is `settings.py`'s business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.cli.values import COLLECTING, ram_bytes
from wherry.daemon.flags import BY_KEY, REFUSED_KEYS, SETTINGS, Setting, is_of_kind
from wherry.errors import InvalidArgument, NotFound, Unsupported

if TYPE_CHECKING:
    from wherry.cli.flags import Options

Values = dict[str, Any]
"""By flag name, only what was given."""

_POSITION = re.compile(r" \(byte \d+\)$")
# Go marshals what it read; names of JSON's types as its messages have them.
_JSON_TYPES = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
_GO_TYPES = {"bool": "bool", "int": "int", "bytes": "opts.MemBytes", "map": "map[string]string"}


def of_flags(options: Options) -> Values:
    """The flags that were on the command line. Raises Unsupported, naming it, for one that is not done."""
    given: Values = {}
    for setting in SETTINGS:
        if not options.given(setting.name):
            continue
        value = options.value(setting.name)
        if setting.refused and value != setting.default:
            raise Unsupported(f"the flag --{setting.name} is not supported")
        if not setting.refused:
            given[setting.name] = value
    return given


def of_file(text: bytes) -> Values:
    """What daemon.json sets, by flag name. Raises InvalidArgument in dockerd's words, Unsupported for what is not done."""
    try:
        found = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = _POSITION.sub("", str(error).removeprefix("JSON is malformed: "))
        raise InvalidArgument("unexpected EOF" if "truncated" in reason else reason) from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"json: cannot unmarshal {_JSON_TYPES.get(type(found), 'null')} into Go value of type "
                              "map[string]interface {}")
    unknown = sorted(key for key in found if key not in BY_KEY and key not in REFUSED_KEYS)
    if unknown:
        raise InvalidArgument(f"the following directives don't match any configuration option: {', '.join(unknown)}")
    values: Values = {}
    for key, value in found.items():
        if key in REFUSED_KEYS:
            if value:
                raise Unsupported(f"the directive \"{key}\" is not supported")
            continue
        setting = BY_KEY[key]
        if not is_of_kind(setting, value):
            kind = _GO_TYPES.get(setting.flag.kind, "[]string" if setting.flag.kind in COLLECTING else "string")
            raise InvalidArgument(f"json: cannot unmarshal {_JSON_TYPES[type(value)]} into Go struct field Config.{key} of "
                                  f"type {kind}")
        if value is None or (setting.refused and (value == setting.default or not value)):
            continue
        if setting.refused:
            raise Unsupported(f"the directive \"{key}\" is not supported")
        values[setting.name] = _as_flag(setting, value)
    return values


def merge(flags: Values, file: Values) -> Values:
    """Both together. Raises InvalidArgument for what is in both, as dockerd, whatever the two values are."""
    conflicts = []
    for name in file:
        if name in flags:
            setting = next(one for one in SETTINGS if one.name == name)
            conflicts.append(f"{setting.key}: (from flag: {_shown(flags[name])}, from file: {_shown(file[name])})")
    if conflicts:
        raise InvalidArgument("the following directives are specified both as a flag and in the configuration file: "
                              + ", ".join(sorted(conflicts)))
    return {**file, **flags}


def read(options: Options, default_path: str) -> Values:
    """Flags and file together. A file that was not asked for need not be there.

    Raises InvalidArgument `unable to configure the Docker daemon with file …`, Unsupported.
    """
    flags = of_flags(options)
    path = str(flags.get("config-file") or default_path)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError as error:
        if "config-file" in flags:
            raise NotFound(f"{_UNABLE} {path}: open {path}: no such file or directory") from error
        return flags
    except OSError as error:
        raise InvalidArgument(f"{_UNABLE} {path}: open {path}: {(error.strerror or str(error)).lower()}") from error
    try:
        return merge(flags, of_file(text))
    except InvalidArgument as error:
        raise InvalidArgument(f"{_UNABLE} {path}: {error.message}") from error
    except Unsupported as error:
        raise Unsupported(f"{_UNABLE} {path}: {error.message}") from error


_UNABLE = "unable to configure the Docker daemon with file"


def _as_flag(setting: Setting, value: Any) -> Any:
    """A value of the file as the flag would have given it; objects stay what they are."""
    if setting.flag.kind == "bytes" and isinstance(value, str):
        try:
            return ram_bytes(value)
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
    if setting.flag.kind == "map" and not setting.is_object:
        return list(value.items())
    return value


def _shown(value: Any) -> str:
    """As Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        if value and isinstance(value[0], tuple):
            return "map[" + " ".join(f"{key}:{one}" for key, one in value) + "]"
        return "[" + " ".join(str(one) for one in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_shown(one)}" for key, one in value.items()) + "]"
    return str(value)
