"""The program `wherry-shim`."""

import pytest

from wherry.shim.main import main


def test_it_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: wherry-shim")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("wherry-shim version ")


@pytest.mark.parametrize("arguments", [["-namespace", "n", "-id", "i", "start"], ["--nonsense"]])
def test_what_it_cannot_do_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 125
    assert f"unknown argument: {arguments[0]}" in capsys.readouterr().err
