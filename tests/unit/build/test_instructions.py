"""Instructions as values, settings and their comments, arguments: everything of a build that needs no disk."""

from __future__ import annotations

import pytest

from wherry.build.duration import parse_duration_ns
from wherry.build.errors import DockerfileError
from wherry.build.instructions import Command, Copy, From, Healthcheck, Run, instruction
from wherry.build.parser import parse
from wherry.build.settings import apply_setting
from wherry.build.state import Arguments, Stage, same_step
from wherry.oci.image import Platform


def one(text: str):  # type: ignore[no-untyped-def]
    return instruction(parse(text).nodes[0])


def stage() -> Stage:
    return Stage("", Platform(os="linux", architecture="amd64"))


def test_from() -> None:
    assert one("FROM --platform=linux/arm64 busybox:1 AS Base") == From(
        line=1, text="FROM --platform=linux/arm64 busybox:1 AS Base", image="busybox:1", name="base", platform="linux/arm64")


def test_shell_and_json_forms() -> None:
    run = one('RUN ["a", "b"]')
    assert isinstance(run, Run)
    assert (run.words, run.shell) == (("a", "b"), False)
    assert one("RUN [ -f x ]").shell
    assert one("CMD []") == Command(line=1, text="CMD []", kind="CMD", words=(), shell=False)


def test_copy() -> None:
    copy = one('COPY --from=0 --chown=1:2 --chmod=755 ["a b", "c"]')
    assert isinstance(copy, Copy)
    assert (copy.words, copy.source, copy.owner, copy.mode) == (("a b", "c"), "0", "1:2", "755")


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost")
    assert isinstance(check, Healthcheck)
    assert (check.test, check.interval_ns, check.retries) == (("CMD-SHELL", "curl -f localhost"), 90_000_000_000, 3)


@pytest.mark.parametrize(("text", "message"), [
    ("FOO x", "dockerfile parse error line 1: unknown instruction: FOO"),
    ("FROM", "FROM requires either one or three arguments"),
    ("FROM a b", "FROM requires either one or three arguments"),
    ("FROM a as 1x", "invalid name for build stage"),
    ("RUN", "RUN requires at least one argument"),
    ("RUN --mount=type=cache,target=/x y", "the --mount option requires BuildKit"),
    ("RUN --nonsense y", "unknown flag: nonsense"),
    ("COPY x", "COPY requires at least two arguments, but only one was provided"),
    ("COPY --from x y", "missing a value on flag: from"),
    ("COPY --from=a --from=b x y", "duplicate flag specified: from"),
    ("ENV a", "ENV must have two arguments"),
    ("ENV a=b c", "can't find = in"),
    ("LABEL =x", "LABEL names can not be blank"),
    ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ("SHELL /bin/sh", "SHELL requires the arguments to be in JSON form"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK curl", "Unknown type \"CURL\" in HEALTHCHECK"),
    ("HEALTHCHECK --interval=x CMD y", "invalid duration"),
    ("USER", "USER requires exactly one argument"),
    ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
])
def test_refused_with_the_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match="line 1") as caught:
        one(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "ns"), [("1s", 10**9), ("1.5s", 1_500_000_000), ("2m1ms", 120_001_000_000), ("0", 0), ("x", None), ("", None), ("-1s", -10**9)])
def test_durations(text: str, ns: int | None) -> None:
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize(("text", "comment", "field", "value"), [
    ("ENV a=1 b=\"two words\"", "ENV a=1 b=two words", "Env", ["a=1", "b=two words"]),
    ("ENV a two words", "ENV a=two words", "Env", ["a=two words"]),
    ("LABEL x=$base", "LABEL x=given", "Labels", {"x": "given"}),
    ("CMD echo hi", 'CMD ["/bin/sh" "-c" "echo hi"]', "Cmd", ["/bin/sh", "-c", "echo hi"]),
    ('ENTRYPOINT ["a"]', 'ENTRYPOINT ["a"]', "Entrypoint", ["a"]),
    ("EXPOSE 80 53/udp", "EXPOSE 53/udp 80", "ExposedPorts", {"53/udp": {}, "80/tcp": {}}),
    ("EXPOSE 8000-8002", "EXPOSE 8000-8002", "ExposedPorts", {"8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}),
    ("VOLUME /a /b", "VOLUME [/a /b]", "Volumes", {"/a": {}, "/b": {}}),
    ("USER nobody", "USER nobody", "User", "nobody"),
    ("WORKDIR a/../b", "WORKDIR /b", "WorkingDir", "/b"),
    ("STOPSIGNAL SIGUSR1", "STOPSIGNAL SIGUSR1", "StopSignal", "SIGUSR1"),
    ('SHELL ["/bin/ash", "-c"]', "SHELL [/bin/ash -c]", "Shell", ["/bin/ash", "-c"]),
    ("ONBUILD RUN x", "ONBUILD RUN x", "OnBuild", ["RUN x"]),
    ("HEALTHCHECK NONE", "HEALTHCHECK &{[\"NONE\"] \"0s\" \"0s\" \"0s\" '\\x00'}", "Healthcheck", {"Test": ["NONE"]}),
])
def test_settings(text: str, comment: str, field: str, value: object) -> None:
    arguments = Arguments({"base": "given"}, {})
    arguments.declare("base", None)
    current = stage()
    assert apply_setting(one(text), current, arguments, "\\") == comment
    assert current.config[field] == value


def test_entrypoint_forgets_an_inherited_command_only() -> None:
    inherited, own = stage(), stage()
    inherited.config["Cmd"] = ["old"]
    arguments = Arguments({}, {})
    apply_setting(one("ENTRYPOINT x"), inherited, arguments, "\\")
    assert inherited.config["Cmd"] is None
    apply_setting(one("CMD y"), own, arguments, "\\")
    apply_setting(one("ENTRYPOINT x"), own, arguments, "\\")
    assert own.config["Cmd"] == ["/bin/sh", "-c", "y"]


def test_arguments() -> None:
    arguments = Arguments({"version": "2", "lost": "x", "HTTP_PROXY": "p"}, {"TARGETARCH": "amd64"})
    arguments.declare_global("version", "1")
    arguments.declare_global("flavour", "plain")
    assert arguments.for_from() == {"version": "2", "flavour": "plain", "TARGETARCH": "amd64"}
    arguments.new_stage()
    assert arguments.declared() == {}
    for name in ("version", "flavour", "TARGETARCH", "unset"):
        arguments.declare(name, None)
    assert arguments.declared() == {"version": "2", "flavour": "plain", "TARGETARCH": "amd64"}
    assert arguments.unused() == ("lost",)
    assert arguments.proxies() == {"HTTP_PROXY": "p"}


def test_cache_compares_what_docker_compares() -> None:
    current = stage()
    made = current.image_config("2026-01-01T00:00:00Z", ("/bin/sh", "-c", "x"), "")
    wanted = {**current.config, "Cmd": ["/bin/sh", "-c", "x"]}
    assert same_step(made, wanted)
    assert same_step(made, {**wanted, "Env": None, "Labels": {}, "Hostname": "other"})
    assert not same_step(made, {**wanted, "User": "nobody"})
