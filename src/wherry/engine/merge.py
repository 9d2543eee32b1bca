"""An image's defaults under what was asked for: the rules of `docker run` about CMD, ENTRYPOINT, ENV and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from wherry.engine.model import ContainerConfig, HealthConfig


def merged(asked: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """The container's configuration. Raises InvalidArgument when nobody names a command.

    A given entrypoint drops the image's command; the entrypoint [""] drops the image's entrypoint.
    """
    entrypoint, cmd = asked.entrypoint, asked.cmd
    if not entrypoint:
        cmd = cmd or image.cmd
        entrypoint = image.entrypoint if entrypoint is None else entrypoint
    if entrypoint == ("",):
        entrypoint = None
    if not entrypoint and not cmd:
        raise InvalidArgument("No command specified")
    return replace(
        asked,
        user=asked.user or image.user,
        exposed_ports={**(image.exposed_ports or {}), **(asked.exposed_ports or {})} or asked.exposed_ports,
        env=environment(asked.env, image.env),
        labels={**(image.labels or {}), **(asked.labels or {})},
        cmd=cmd,
        entrypoint=entrypoint,
        working_dir=asked.working_dir or image.working_dir,
        volumes={**(image.volumes or {}), **(asked.volumes or {})} or None,
        stop_signal=asked.stop_signal or image.stop_signal,
        stop_timeout=asked.stop_timeout if asked.stop_timeout is not None else image.stop_timeout,
        shell=asked.shell or image.shell,
        healthcheck=_health(asked.healthcheck, image.healthcheck),
        on_build=asked.on_build,
    )


def environment(asked: tuple[str, ...] | None, image: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What was asked for, then what only the image sets; `NAME` without a value takes the image's away."""
    if not image:
        return asked
    named = {text.partition("=")[0] for text in asked or ()}
    return (*(asked or ()), *(text for text in image if text.partition("=")[0] not in named))


def _health(asked: HealthConfig | None, image: HealthConfig | None) -> HealthConfig | None:
    if asked is None or image is None:
        return asked or image
    return replace(
        asked,
        test=asked.test or image.test,
        interval=asked.interval or image.interval,
        timeout=asked.timeout or image.timeout,
        start_period=asked.start_period or image.start_period,
        start_interval=asked.start_interval or image.start_interval,
        retries=asked.retries or image.retries,
    )
