"""What a build asks of the house around it: an image by name, and a command run in a container. It knows no engine."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from wherry.oci.image import Platform
    from wherry.store.images import Image


class RunRequest(Record):
    """A command to run. `config` has Docker's ContainerConfig fields, `host` its HostConfig's, both as JSON values."""

    image_id: str
    config: Mapping[str, Any]
    host: Mapping[str, Any]


class BuildOptions(Record):
    """What `POST /build` asks for. `host` has the HostConfig fields for RUN (Memory, NetworkMode, ShmSize, ExtraHosts …)."""

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    target: str = ""
    arguments: Mapping[str, str | None] = {}  # never written to
    labels: Mapping[str, str] = {}
    host: Mapping[str, Any] = {}
    platform: Platform | None = None
    no_cache: bool = False
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    quiet: bool = False


if TYPE_CHECKING:

    class Host(Protocol):
        """The house. Its methods are called from the build's own thread."""

        def image(self, name: str, platform: Platform | None, *, pull: bool) -> Image:
            """The image under a name, pulled if it is missing or `pull` says so. Raises NotFound and what a pull raises."""

        def create(self, request: RunRequest) -> str:
            """Creates a container for a command; its id. Raises what creating raises."""

        def run(self, container_id: str, output: Callable[[int, bytes], None]) -> int:
            """Starts the container, passes on what it prints (1 stdout, 2 stderr; bytes), and waits; its exit code.

            Raises Cancelled when the build is.
            """

        def release(self, container_id: str) -> None:
            """Removes the container with its writable layer; never raises for one that is gone."""
