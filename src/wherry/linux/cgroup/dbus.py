"""As much of D-Bus as it takes to ask systemd for a unit: marshalling, and one blocking connection.

Values are Python's, types are D-Bus signatures; a variant is a pair `(signature, value)`, a structure a tuple, an array a list.
`marshal` and `unmarshal` are pure; `Connection` owns the socket.

Sources: the D-Bus Specification «Type System», «Message Protocol», «Authentication Protocol».
"""

from __future__ import annotations

import _socket
import os
import struct
import time

from wherry.errors import WherryError
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIXED = {"y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4), "x": ("q", 8),
          "t": ("Q", 8), "d": ("d", 8), "h": ("I", 4)}
_ALIGNMENT = {**{code: size for code, (_, size) in _FIXED.items()}, "s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8, "{": 8}
MAX_MESSAGE_BYTES = 1 << 20


class DBusError(WherryError):
    """The other side's refusal; `name` is D-Bus's name of the error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name


class Message(Record):
    """A message as it was received."""

    kind: int
    serial: int
    headers: dict[int, Any]
    body: tuple[Any, ...]


def split_signature(signature: str) -> list[str]:
    """The complete types that a signature is made of. Raises ValueError for a broken one."""
    found = []
    while signature:
        length = _type_length(signature)
        found.append(signature[:length])
        signature = signature[length:]
    return found


def _type_length(signature: str) -> int:
    if not signature:
        raise ValueError("D-Bus signature ends too early")
    if signature[0] == "a":
        return 1 + _type_length(signature[1:])
    if signature[0] in "({":
        depth = 0
        for index, letter in enumerate(signature):
            depth += (letter in "({") - (letter in ")}")
            if depth == 0:
                return index + 1
        raise ValueError(f"D-Bus signature {signature!r} is not closed")
    if signature[0] not in _ALIGNMENT:
        raise ValueError(f"D-Bus type {signature[0]!r} is unknown")
    return 1


def marshal(signature: str, values: tuple[Any, ...], out: bytearray | None = None) -> bytearray:
    """The values one after the other, little endian, appended to `out` (alignment counts from its beginning)."""
    out = bytearray() if out is None else out
    for one, value in zip(split_signature(signature), values, strict=True):
        _marshal_one(one, value, out)
    return out


def _pad(out: bytearray, alignment: int) -> None:
    out += bytes(-len(out) % alignment)


def _marshal_one(kind: str, value: Any, out: bytearray) -> None:
    _pad(out, _ALIGNMENT[kind[0]])
    if kind in _FIXED:
        out += struct.pack("<" + _FIXED[kind][0], value)
    elif kind in ("s", "o"):
        text = value.encode()
        out += struct.pack("<I", len(text)) + text + b"\0"
    elif kind == "g":
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif kind == "v":
        _marshal_one("g", value[0], out)
        _marshal_one(value[0], value[1], out)
    elif kind[0] == "a":
        place = len(out)
        out += bytes(4)
        _pad(out, _ALIGNMENT[kind[1]])
        begin = len(out)
        for item in value.items() if kind[1] == "{" and isinstance(value, dict) else value:
            _marshal_one(kind[1:], item, out)
        out[place : place + 4] = struct.pack("<I", len(out) - begin)
    else:
        marshal(kind[1:-1], tuple(value), out)


def unmarshal(signature: str, data: bytes, order: str = "<") -> tuple[Any, ...]:
    """The values of a body. Raises ValueError for data that is cut or broken."""
    place = 0
    values = []
    try:
        for one in split_signature(signature):
            value, place = _unmarshal_one(one, data, place, order)
            values.append(value)
    except struct.error as error:
        raise ValueError(f"D-Bus message is cut: {error}") from error
    return tuple(values)


def _unmarshal_one(kind: str, data: bytes, place: int, order: str) -> tuple[Any, int]:
    place += -place % _ALIGNMENT[kind[0]]
    if kind in _FIXED:
        code, size = _FIXED[kind]
        value = struct.unpack_from(order + code, data, place)[0]
        return (bool(value) if kind == "b" else value), place + size
    if kind in ("s", "o", "g"):
        if kind == "g":
            length, place = data[place] if place < len(data) else len(data), place + 1
        else:
            length, place = struct.unpack_from(order + "I", data, place)[0], place + 4
        if place + length >= len(data) + (kind == "g"):
            raise ValueError("D-Bus message is cut: a text is longer than the rest")
        return data[place : place + length].decode(errors="replace"), place + length + 1
    if kind == "v":
        inner, place = _unmarshal_one("g", data, place, order)
        if _type_length(inner) != len(inner):
            raise ValueError(f"D-Bus variant of {inner!r}")
        return _unmarshal_one(inner, data, place, order)
    if kind[0] == "a":
        length = struct.unpack_from(order + "I", data, place)[0]
        place += 4
        place += -place % _ALIGNMENT[kind[1]]
        end = place + length
        if end > len(data):
            raise ValueError("D-Bus message is cut: an array is longer than the rest")
        items = []
        while place < end:
            item, place = _unmarshal_one(kind[1:], data, place, order)
            items.append(item)
        return (dict(items) if kind[1] == "{" else items), place
    members = []
    for one in split_signature(kind[1:-1]):
        value, place = _unmarshal_one(one, data, place, order)
        members.append(value)
    return tuple(members), place


def encode(kind: int, serial: int, headers: dict[int, tuple[str, Any]], signature: str = "", body: tuple[Any, ...] = ()) -> bytes:
    """A whole message."""
    content = marshal(signature, body)
    fields = [*headers.items(), *([(_SIGNATURE, ("g", signature))] if signature else [])]
    out = marshal("yyyyuua(yv)", (ord("l"), kind, 0, 1, len(content), serial, fields))
    _pad(out, 8)
    return bytes(out + content)


def message_size(head: bytes) -> int:
    """How long the message is that begins with these 16 bytes. Raises ValueError for one that is too long or none."""
    order = {ord("l"): "<", ord("B"): ">"}.get(head[0])
    if order is None or head[3] != 1:
        raise ValueError("no D-Bus message")
    body, _, fields = struct.unpack_from(order + "III", head, 4)
    size: int = 16 + fields + (-fields % 8) + body
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"D-Bus message of {size} bytes")
    return size


def decode(data: bytes) -> Message:
    """A whole message's values. Raises ValueError for a broken one."""
    order = "<" if data[0] == ord("l") else ">"
    _, kind, _, _, body_size, serial, fields = unmarshal("yyyyuua(yv)", data, order)
    headers = dict(fields)
    body = data[len(data) - body_size :] if body_size else b""
    return Message(kind=kind, serial=serial, headers=headers, body=unmarshal(headers.get(_SIGNATURE, ""), body, order))


class Connection:
    """A connection to a bus. Calls and waiting for signals end after `timeout_s` with TimeoutError."""

    def __init__(self, path: str, timeout_s: float = 30.0) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._serial = 0
        self._pending: list[Message] = []
        self._deadline = time.monotonic() + timeout_s
        try:
            self._socket.settimeout(timeout_s)
            try:
                self._socket.connect(path)
            except OSError as error:
                raise OSError(error.errno, f"cannot reach the D-Bus: {error.strerror}", path) from None
            self._authenticate()
            self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _authenticate(self) -> None:
        uid = str(os.getuid()).encode().hex()
        self._socket.sendall(b"\0AUTH EXTERNAL " + uid.encode() + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            part = self._socket.recv(512)
            if not part or len(answer) > 4096:
                raise DBusError("auth", "the D-Bus closed the connection")
            answer += part
        if not answer.startswith(b"OK "):
            raise DBusError("auth", f"the D-Bus refuses us: {answer.decode(errors='replace').strip()}")
        self._socket.sendall(b"BEGIN\r\n")

    def call(self, destination: str, path: str, interface: str, member: str, signature: str = "", *body: Any) -> tuple[Any, ...]:
        """Calls a method and gives what it returns. Raises DBusError for its refusal, TimeoutError, OSError."""
        self._serial += 1
        headers = {_PATH: ("o", path), _INTERFACE: ("s", interface), _MEMBER: ("s", member), _DESTINATION: ("s", destination)}
        self._socket.sendall(encode(METHOD_CALL, self._serial, headers, signature, body))
        while True:
            message = self._receive()
            if message.headers.get(_REPLY_SERIAL) == self._serial:
                if message.kind == ERROR:
                    raise DBusError(message.headers.get(_ERROR_NAME, ""), str(message.body[0]) if message.body else "")
                return message.body
            if message.kind == SIGNAL:
                self._pending.append(message)

    def wait_signal(self, member: str, argument: int, value: Any) -> tuple[Any, ...]:
        """The body of the first signal of this name whose argument has this value, also one that came during a call."""
        while True:
            message = self._pending.pop(0) if self._pending else self._receive()
            body = message.body
            if message.kind == SIGNAL and message.headers.get(_MEMBER) == member and body[argument : argument + 1] == (value,):
                return body

    def _receive(self) -> Message:
        head = self._read(16)
        return decode(head + self._read(message_size(head) - 16))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the D-Bus does not answer")
            self._socket.settimeout(left)
            part = self._socket.recv(size - len(data))
            if not part:
                raise DBusError("disconnected", "the D-Bus closed the connection")
            data += part
        return data
