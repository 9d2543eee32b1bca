"""What `--log-driver` and `--log-opt` mean: checked at create, turned into the shim's options at start.

`json-file` and `none` are done; Docker's other drivers are refused by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wherry.engine.model import LogConfig
from wherry.errors import InvalidArgument, Unsupported
from wherry.shim.protocol import LogOptions

if TYPE_CHECKING:
    from wherry.engine.model import HostConfig
    from wherry.engine.options import EngineOptions
    from wherry.engine.records import Record

NOT_DONE = ("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "local", "logentries", "splunk", "syslog")
JSON_FILE_OPTIONS = ("max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag")
# Options that say how output is handed to the driver, not what the driver does with it.
_COMMON = ("mode", "max-buffer-size", "cache-disabled", "cache-max-file", "cache-max-size", "cache-compress")

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def resolve(host: HostConfig, options: EngineOptions) -> LogConfig:
    """A container's log configuration with the daemon's defaults filled in. Raises InvalidArgument and Unsupported."""
    given = host.log_config
    driver = given.type or options.log_driver
    config = {**(options.log_options if driver == options.log_driver else {}), **(given.config or {})}
    check(driver, config)
    return LogConfig(type=driver, config=config)


def check(driver: str, config: dict[str, str]) -> None:
    """Raises InvalidArgument for an unknown driver or option, Unsupported for those not done."""
    if driver in NOT_DONE:
        raise Unsupported(f"the log driver {driver!r} is not supported")
    if driver not in ("json-file", "none"):
        raise InvalidArgument(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    if driver == "none":
        return
    for name, value in config.items():
        if name in _COMMON:
            if name == "mode" and value not in ("blocking", "non-blocking"):
                raise InvalidArgument(f"logger: logging mode not supported: {value}")
            if (name, value) != ("mode", "blocking"):
                raise Unsupported(f"the log option '{name}={value}' is not supported")
        elif name not in JSON_FILE_OPTIONS:
            raise InvalidArgument(f"unknown log opt '{name}' for json-file log driver")
    size, files = size_bytes(config.get("max-size", "-1")), _files(config.get("max-file", "1"))
    if _compress(config) and (size < 0 or files < 2):
        raise InvalidArgument('compress cannot be true when max-file is less than 2 or max-size is not set')
    for name in ("labels-regex", "env-regex"):
        _pattern(config.get(name, ""))


def log_options(record: Record, host: HostConfig, path: str) -> LogOptions:
    """What the shim is told of a container's log."""
    config = host.log_config.config or {}
    if host.log_config.type == "none":
        return LogOptions(driver="none")
    return LogOptions(
        driver="json-file",
        path=path,
        max_size_bytes=size_bytes(config.get("max-size", "-1")),
        max_file=_files(config.get("max-file", "1")),
        compress=_compress(config),
        attributes=tuple(attributes(record, config).items()),
    )


def attributes(record: Record, config: dict[str, str]) -> dict[str, str]:
    """The labels and environment variables that the options name, and the tag: they go into each log record."""
    labels = record.config.labels or {}
    environment = dict(text.partition("=")[::2] for text in record.config.env or ())
    found: dict[str, str] = {}
    for source, option in ((labels, "labels"), (environment, "env")):
        names = [name.strip() for name in config.get(option, "").split(",") if name.strip()]
        pattern = _pattern(config.get(f"{option}-regex", ""))
        found |= {name: value for name, value in source.items() if name in names or (pattern and pattern.search(name))}
    if tag := config.get("tag"):
        found["tag"] = _tag(tag, record)
    return found


def size_bytes(text: str) -> int:
    """`10m` in bytes, decimal as Docker counts it; -1 is no limit. Raises InvalidArgument."""
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text)
    if not match or not float(match[1]):
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(float(match[1]) * 1000 ** ("", "k", "m", "g", "t", "p").index(match[2].lower()))


def _files(text: str) -> int:
    if not text.lstrip("-").isdecimal():
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    return int(text)


def _compress(config: dict[str, str]) -> bool:
    text = config.get("compress", "false").lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidArgument(f'strconv.ParseBool: parsing "{config["compress"]}": invalid syntax')
    return text in ("true", "1", "t")


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InvalidArgument(f"error parsing regexp: {error}: `{text}`") from error


_TAG_FIELDS = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def _tag(template: str, record: Record) -> str:
    """The tag with its fields filled in. Raises Unsupported for templates with more than fields."""
    fields = {"ID": record.id[:12], "FullID": record.id, "Name": record.name.removeprefix("/"), "ImageName": record.config.image,
              "ImageID": record.image.removeprefix("sha256:")[:12], "ImageFullID": record.image, "DaemonName": "docker"}

    def fill(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise Unsupported(f"the log tag template field {match[1]!r} is not supported")
        return fields[match[1]]

    text = _TAG_FIELDS.sub(fill, template)
    if "{{" in text:
        raise Unsupported(f"the log tag template {template!r} is not supported")
    return text
