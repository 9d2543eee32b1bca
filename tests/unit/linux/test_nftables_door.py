"""nftables: which errno its words mean. That rules work, the system tests show."""

from __future__ import annotations

import errno

import pytest

from wherry.linux import nftables


@pytest.mark.parametrize(("words", "number"), [
    ("Error: No such file or directory\nadd element ip x y\n", errno.ENOENT),
    ("internal:0:0-0: Error: Could not process rule: File exists\n", errno.EEXIST),
    ("Error: Could not process rule: Operation not permitted", errno.EPERM),
    ("Error: syntax error, unexpected newline, expecting string", errno.EINVAL),
    ("", errno.EINVAL),
])
def test_failures(words: str, number: int) -> None:
    error = nftables._failure(words)
    assert error.errno == number
    assert str(error.strerror).startswith("nftables: ")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "LIBRARY", "libnftables-is-missing.so.9")
    with pytest.raises(OSError, match="cannot be loaded") as caught:
        nftables.Nftables.open()
    assert caught.value.errno == errno.ENOSYS
