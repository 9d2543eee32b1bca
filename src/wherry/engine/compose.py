"""The composition root: builds the engine's rooms and gives each what it needs.

An `Engine` only holds them. There is one per data root; the root's lock is held until `close`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.image_removal import ImageRemoval
    from wherry.engine.image_transfer import ImageTransfer
    from wherry.engine.images import Images
    from wherry.engine.info import Info
    from wherry.engine.listing import Listing
    from wherry.engine.memberships import Memberships
    from wherry.engine.networks import Networks
    from wherry.engine.options import EngineOptions
    from wherry.engine.pool import Pool
    from wherry.engine.volumes import Volumes


class Engine:
    """The rooms of one engine, by name; it does nothing itself but open and close them."""

    options: EngineOptions
    pool: Pool
    events: Events
    containers: Containers
    listing: Listing
    images: Images
    image_removal: ImageRemoval
    transfer: ImageTransfer
    volumes: Volumes
    networks: Networks
    memberships: Memberships
    info: Info

    @classmethod
    async def open(cls, options: EngineOptions) -> Self:
        """Opens the data root, starts the zygote, takes over running containers and does the restarts due."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends as dockerd does: stops all containers unless `live_restore`, then gives the root back."""

    def reload(self, options: EngineOptions) -> None:
        """Takes over options that may change while it runs: labels, live restore, registries, the shutdown's patience."""
        self.options = options
        self.info.reload(options)
        self.transfer.reload()
