"""Checks of single values of `run` and `create`, made while the arguments are read, with docker's words."""

from __future__ import annotations

from wherry.cli.values import csv_fields, integer, ram_bytes, unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    from _socket import inet_pton

    for family in (2, 10):
        try:
            inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return not any(len(part) > 1 and part[0] == "0" for part in text.split(".")) or family == 10
    return False


def address(text: str) -> str:
    """An address as `--dns` takes it."""
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def extra_host(text: str) -> str:
    """`host:ip` or `host=ip`; kept as `host:ip`."""
    from wherry.cli.values import go_quote

    equals, colon = text.find("="), text.find(":")
    at = equals if equals >= 0 and (colon < 0 or equals < colon) else colon
    if at <= 0:
        raise ValueError(f"bad format for add-host: {go_quote(text)}")
    name, value = text[:at], text[at + 1 :]
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if value != "host-gateway" and not is_address(bare):
        raise ValueError(f"invalid IP address in add-host: {go_quote(value)}")
    return f"{name}:{bare}"


def search_domain(text: str) -> str:
    """A domain, or `.` for none."""
    domain = text.strip()
    if domain == ".":
        return domain
    labels = domain.rstrip(".").split(".")
    if not domain or len(domain) > 255 or not any(one.isalpha() for one in domain) or not all(_label_fits(one) for one in labels):
        raise ValueError(f"{text} is not a valid domain")
    return domain


def _label_fits(label: str) -> bool:
    return (
        bool(label)
        and all(one.isascii() and (one.isalnum() or one in "-_") for one in label)
        and label[0] != "-"
        and label[-1] != "-"
    )


def label(text: str) -> str:
    """`name=value` or `name`."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def loose_pair(text: str) -> tuple[str, str]:
    """`name=value`, or a name alone with an empty value."""
    name, _, value = text.partition("=")
    return name, value


SYSCTLS = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)


def sysctl(text: str) -> tuple[str, str]:
    """A kernel parameter that has a value per namespace."""
    name, equals, value = text.partition("=")
    if not equals or not (name in SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def stream(text: str) -> str:
    """STDIN, STDOUT or STDERR."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def device_rule(text: str) -> str:
    """`c 42:* rmw`."""
    words = text.split(" ")
    kinds, modes = "abc", "rwm"
    if len(words) == 3 and words[0] in kinds and words[2] and all(one in modes for one in words[2]) and len(words[2]) <= 3:
        major, colon, minor = words[1].partition(":")
        if colon and all(one == "*" or one.isdecimal() for one in (major, minor)):
            return text
    raise ValueError(f"invalid device cgroup format '{text}'")


def _device_and_number(text: str, shape: str = "bad format: {}") -> tuple[str, str]:
    path, colon, value = text.rpartition(":")
    if not colon or ":" in path:
        raise ValueError(shape.format(text))
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def weight_device(text: str) -> dict[str, Any]:
    """`device:weight`, 10 to 1000."""
    path, value = _device_and_number(text)
    try:
        weight = unsigned(value, 16, 10)
    except ValueError:
        raise ValueError(f"invalid weight for device: {text}") from None
    if weight and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": weight}


def rate_bytes(text: str) -> dict[str, Any]:
    """`device:rate` with a unit."""
    path, value = _device_and_number(text)
    try:
        rate = ram_bytes(value)
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None
    return {"Path": path, "Rate": rate}


def rate_count(text: str) -> dict[str, Any]:
    """`device:rate` in operations per second."""
    path, value = _device_and_number(text)
    try:
        rate = unsigned(value, 64, 10)
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        ) from None
    return {"Path": path, "Rate": rate}


ULIMITS = frozenset(
    (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)


def ulimit(text: str) -> dict[str, Any]:
    """`type=soft[:hard]`."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft = integer(parts[0], 64, 10)
    hard = integer(parts[1], 64, 10) if len(parts) > 1 else soft
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            if soft != -1
            else f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
        )
    return {"Name": name, "Hard": hard, "Soft": soft}


def gpus(text: str) -> dict[str, Any]:
    """`all`, a number, or `key=value` fields."""
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": None, "Options": {}}
    seen: set[str] = set()
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not equals:
            seen.add("count")
            request["Count"] = _gpu_count(key)
        elif key == "driver":
            request["Driver"] = value
        elif key == "count":
            request["Count"] = _gpu_count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(one.partition("=")[::2] for one in csv_fields(value))
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    if request["Capabilities"] is None:
        request["Capabilities"] = [["gpu"]]
    return request


def _gpu_count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return integer(text, 64, 10)
    except ValueError as wrong:
        reason = str(wrong).rpartition(": ")[2]
        raise ValueError(f'invalid count ({text}): value must be either "all" or an integer: {reason}') from None
