"""The steps that only change the configuration: ENV, CMD, EXPOSE and their like. Each says what the history shows."""

from __future__ import annotations

import json
import posixpath

from wherry.build.duration import duration_text
from wherry.build.instructions import Command, Healthcheck, Onbuild, Pairs, Shell, Single, Words
from wherry.build.words import expand, expand_words
from wherry.errors import InvalidArgument
from wherry.linux.signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.build.instructions import Instruction
    from wherry.build.state import Arguments, Stage


def apply_setting(step: Instruction, stage: Stage, arguments: Arguments, escape: str) -> str:
    """Changes the stage's configuration; the comment for history and cache. Raises InvalidArgument."""
    variables = {**arguments.declared(), **stage.environment()}

    def meant(text: str) -> str:
        return expand(text, variables, escape)

    match step:
        case Pairs():
            return _pairs(step, stage, arguments, meant)
        case Command():
            return _command(step, stage)
        case Single():
            return _single(step, stage, meant)
        case Words(kind="EXPOSE"):
            words = [one for word in step.words for one in expand_words(word, variables, escape)]
            return _expose(words, stage)
        case Words():
            volumes = [meant(word) for word in step.words]
            stage.config["Volumes"] = {**(stage.config.get("Volumes") or {}), **{one: {} for one in volumes}}
            return f"VOLUME [{' '.join(volumes)}]"
        case Shell():
            stage.config["Shell"] = list(step.words)
            return f"SHELL [{' '.join(step.words)}]"
        case Onbuild():
            stage.config["OnBuild"] = [*(stage.config.get("OnBuild") or ()), step.trigger]
            return f"ONBUILD {step.trigger}"
        case Healthcheck():
            return _healthcheck(step, stage)
        case _:
            raise InvalidArgument(f"no build step can do {step.text}")


def _pairs(step: Pairs, stage: Stage, arguments: Arguments, meant: Callable[[str], str]) -> str:
    if step.kind == "ARG":
        said = []
        for name, value in step.pairs:
            default = None if value is None else meant(value)
            arguments.declare(name, default)
            said.append(name if default is None else f"{name}={default}")
        return f"ARG {' '.join(said)}"
    pairs = [(name, value or "") if step.literal else (meant(name), meant(value or "")) for name, value in step.pairs]
    for name, value in pairs:
        if step.kind == "ENV":
            stage.set_environment(name, value)
        else:
            stage.config["Labels"] = {**(stage.config.get("Labels") or {}), name: value}
    return f"{step.kind} " + " ".join(f"{name}={value}" for name, value in pairs)


def _quoted(words: list[str]) -> str:
    """A list as Go's %q prints it, which is how Docker's history shows commands."""
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _command(step: Command, stage: Stage) -> str:
    words = [*stage.shell, *step.words] if step.shell else list(step.words)
    if step.kind == "CMD":
        stage.config["Cmd"] = words
        stage.command_set = True
    else:
        stage.config["Entrypoint"] = words or None
        if not stage.command_set:  # an inherited CMD was meant for the inherited ENTRYPOINT
            stage.config["Cmd"] = None
    return f"{step.kind} {_quoted(words)}"


def _single(step: Single, stage: Stage, meant: Callable[[str], str]) -> str:
    value = meant(step.value) if step.kind != "MAINTAINER" else step.value
    match step.kind:
        case "WORKDIR":
            if not value:
                raise InvalidArgument("WORKDIR requires exactly one argument")
            stage.config["WorkingDir"] = value = posixpath.normpath(posixpath.join(stage.working_dir, value))
        case "USER":
            stage.config["User"] = value
        case "STOPSIGNAL":
            stage.config["StopSignal"] = _signal(value)
        case _:
            stage.author = value
    return f"{step.kind} {value}"


def _signal(text: str) -> str:
    if signal_number(text) is None:
        raise InvalidArgument(f"Invalid signal: {text}")
    return text


def _expose(words: list[str], stage: Stage) -> str:
    ports = [port for word in words for port in _ports(word)]
    stage.config["ExposedPorts"] = {**(stage.config.get("ExposedPorts") or {}), **{port: {} for port in sorted(ports)}}
    return f"EXPOSE {' '.join(sorted(words))}"


def _ports(word: str) -> list[str]:
    """`80`, `80/udp`, `8000-8010/tcp` → ports with their protocol."""
    numbers, _, protocol = word.partition("/")
    protocol = protocol.lower() or "tcp"
    first, _, last = numbers.partition("-")
    last = last or first
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f"Invalid proto: {protocol}")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) <= 65535):
        raise InvalidArgument(f"Invalid containerPort: {word}")
    return [f"{port}/{protocol}" for port in range(int(first), int(last) + 1)]


def _healthcheck(step: Healthcheck, stage: Stage) -> str:
    check: dict[str, object] = {"Test": list(step.test)}
    numbers = {"Interval": step.interval_ns, "Timeout": step.timeout_ns, "StartPeriod": step.start_period_ns,
               "StartInterval": step.start_interval_ns, "Retries": step.retries}
    stage.config["Healthcheck"] = check | {field: value for field, value in numbers.items() if value}
    times = [step.interval_ns, step.timeout_ns, step.start_period_ns]
    if step.start_interval_ns:
        times.append(step.start_interval_ns)
    said = " ".join(f'"{duration_text(one)}"' for one in times)
    retries = chr(step.retries) if 32 < step.retries < 127 else f"\\x{step.retries:02x}"
    return f"HEALTHCHECK &{{{_quoted(list(step.test))} {said} '{retries}'}}"
