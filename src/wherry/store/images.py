"""Images: configurations by their id, with the parent and the time of the last tag beside them.

imagedb/content/sha256/<id>                the configuration, byte for byte: its SHA-256 is its name
imagedb/metadata/sha256/<id>/parent        the id of the image it was built or committed from
imagedb/metadata/sha256/<id>/lastUpdated   when it was last tagged, RFC 3339
"""

from __future__ import annotations

import os
import threading

from wherry import trace
from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.linux.file import read, replace, replace_durably, sweep
from wherry.oci.digest import digest_of, hex_of, is_hex_id
from wherry.oci.image import ImageConfig
from wherry.record import Record
from wherry.store.timestamps import format_time, parse_time
from wherry.store.tree import remove_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.layers import Layer, LayerStore
    from wherry.store.root import DataRoot


class Image(Record):
    """An image. `id` is `sha256:…` of `raw`; `parent` an image id or ""; `last_tagged_ns` 0 when never tagged."""

    id: str
    config: ImageConfig
    raw: bytes
    parent: str = ""
    last_tagged_ns: int = 0


class ImageStore:
    """All images of a data root. Safe to use from several threads.

    `damaged` names the files of images that cannot be used: their content is not what their name says, or a layer is
    missing. They are left alone.
    """

    def __init__(self, root: DataRoot, layers: LayerStore) -> None:
        self._content = f"{root.imagedb}/content/sha256"
        self._metadata = f"{root.imagedb}/metadata/sha256"
        self._layers = layers
        self._lock = threading.RLock()
        self._images: dict[str, Image] = {}
        damaged = []
        sweep(self._content)
        for name in sorted(os.listdir(self._content)):
            if not is_hex_id(name):
                continue
            try:
                self._load(name)
            except (OSError, InvalidArgument, NotFound):
                damaged.append(f"{self._content}/{name}")
        self.damaged = tuple(damaged)
        for name in set(os.listdir(self._metadata)) - set(os.listdir(self._content)):
            remove_path(f"{self._metadata}/{name}")  # of an image that a crash kept from being, or from going entirely

    def _load(self, name: str) -> None:
        raw = read(f"{self._content}/{name}")
        if digest_of(raw) != f"sha256:{name}":
            raise InvalidArgument(f"image sha256:{name} is damaged")
        config = ImageConfig.from_json(raw)
        sweep(f"{self._metadata}/{name}")
        if config.chain_id:
            self._layers.retain(config.chain_id)
        tagged = self._note(name, "lastUpdated")
        self._images[f"sha256:{name}"] = Image(
            id=f"sha256:{name}", config=config, raw=raw, parent=self._note(name, "parent"),
            last_tagged_ns=parse_time(tagged) if tagged else 0)  # fmt: skip

    def _note(self, name: str, file: str) -> str:
        try:
            return read(f"{self._metadata}/{name}/{file}").decode().strip()
        except FileNotFoundError:
            return ""

    def create(self, config: bytes, *, parent: str = "") -> str:
        """Keeps the configuration and its layers; its id. The layers must be there (hold a lease until this returned).

        The same configuration again is the same image. Raises InvalidArgument for what is not an image config, NotFound
        for a missing layer or parent.
        """
        parsed = ImageConfig.from_json(config)
        image_id = digest_of(config)
        name = hex_of(image_id)
        with self._lock:
            if image_id in self._images:
                return image_id
            if parent:
                self.get(parent)
            if parsed.chain_id:
                self._layers.retain(parsed.chain_id)
            try:
                trace.step("image create", image_id)
                if parent:
                    self._write_note(name, "parent", parent)
                # The content is what makes it an image: last.
                replace_durably(f"{self._content}/{name}", config)
                trace.step("image created", image_id)
            except BaseException:
                if parsed.chain_id:
                    self._layers.release(parsed.chain_id)
                remove_path(f"{self._metadata}/{name}")
                raise
            self._images[image_id] = Image(id=image_id, config=parsed, raw=config, parent=parent)
        return image_id

    def get(self, image_id: str) -> Image:
        """Raises NotFound: `No such image: <id>`."""
        image = self._images.get(image_id)
        if image is None:
            raise NotFound(f"No such image: {image_id}")
        return image

    def list(self) -> tuple[Image, ...]:
        """All images, newest `created` first."""
        with self._lock:
            images = tuple(self._images.values())
        return tuple(sorted(images, key=lambda image: (-created_ns(image.config), image.id)))

    def remove(self, image_id: str) -> tuple[Layer, ...]:
        """Forgets the image; the layers that went with it, topmost first. Its children lose their parent. Raises NotFound.

        Whether a reference or a container still uses it is for the engine to ask first.
        """
        name = hex_of(image_id)
        with self._lock:
            image = self.get(image_id)
            before = self._layers.chain(image.config.chain_id)
            with self._layers.releasing(image.config.chain_id):
                trace.step("image remove", image_id)
                os.unlink(f"{self._content}/{name}")
                trace.step("image removed", image_id)
                del self._images[image_id]
                for child in self.children(image_id):
                    remove_path(f"{self._metadata}/{hex_of(child)}/parent")
                    self._images[child] = self._images[child].replace(parent="")
                remove_path(f"{self._metadata}/{name}")
        left = set(self._layers.list())
        return tuple(layer for layer in reversed(before) if layer not in left)

    def search(self, prefix: str) -> str:
        """The full id for a short one (hexadecimal, with or without `sha256:`).

        Raises NotFound, or Conflict when ambiguous.
        """
        short = prefix.removeprefix("sha256:")
        with self._lock:
            found = [one for one in self._images if hex_of(one).startswith(short)] if short else []
        if not found:
            raise NotFound(f"No such image: {prefix}")
        if len(found) > 1:
            raise Conflict(f"multiple IDs found with provided prefix: {prefix}")
        return found[0]

    def children(self, image_id: str) -> tuple[str, ...]:
        """Ids of the images whose parent is this one."""
        with self._lock:
            return tuple(image.id for image in self._images.values() if image.parent == image_id)

    def set_last_tagged(self, image_id: str, at_ns: int) -> None:
        """Notes when the image was last tagged (nanoseconds since 1970). Raises NotFound."""
        with self._lock:
            image = self.get(image_id)
            self._write_note(hex_of(image_id), "lastUpdated", format_time(at_ns))
            self._images[image_id] = image.replace(last_tagged_ns=at_ns)

    def size(self, image_id: str) -> int:
        """Bytes in the files of all its layers."""
        return self._layers.size(self.get(image_id).config.chain_id)

    def _write_note(self, name: str, file: str, content: str) -> None:
        os.makedirs(f"{self._metadata}/{name}", 0o700, exist_ok=True)
        replace(f"{self._metadata}/{name}/{file}", content.encode())


def created_ns(config: ImageConfig) -> int:
    """When the image was made, nanoseconds since 1970; 0 where its configuration does not say, or not sensibly."""
    try:
        return parse_time(config.created) if config.created else 0
    except InvalidArgument:
        return 0
