"""What the engine asks of registries: pull, push, a look at a name, a check of credentials; one set of connections for all."""

from __future__ import annotations

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.image import Index, Manifest
from wherry.record import Record
from wherry.registry import failure
from wherry.registry.client import Repository
from wherry.registry.endpoint import (
    DOCKER_IO,
    DOCKER_IO_HOST,
    Credentials,
    Endpoint,
    RegistryConfig,
    endpoints,
    is_insecure,
)
from wherry.registry.pull import Puller, prepare
from wherry.registry.push import Pusher
from wherry.registry.token import REFUSED
from wherry.registry.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading

    from wherry.oci.image import Descriptor, Platform
    from wherry.oci.reference import Reference
    from wherry.registry.progress import Report
    from wherry.registry.pull import Pulled, Stores
    from wherry.registry.push import Pushed


class Inspected(Record):
    """What a registry has under a name: the manifest's descriptor, and the platforms that it is for."""

    descriptor: Descriptor
    platforms: tuple[Platform, ...]


class Registries:
    """All registries, seen from one data root. Synchronous; safe to share between threads."""

    def __init__(self, config: RegistryConfig, stores: Stores, user_agent: str, *, parallel_downloads: int = 3,
                 parallel_uploads: int = 5) -> None:
        prepare(stores.ingest)
        self._config = config
        self._transport = Transport(user_agent, config.certificates_folder)
        self._puller = Puller(self._transport, config, stores, parallel_downloads)
        self._pusher = Pusher(self._transport, config, stores, parallel_uploads)

    def pull(self, reference: Reference, platform: Platform, credentials: Credentials, report: Report,
             cancelled: threading.Event) -> Pulled:
        """See `Puller.pull`."""
        return self._puller.pull(reference, platform, credentials, report, cancelled)

    def tags(self, reference: Reference, credentials: Credentials) -> tuple[str, ...]:
        """All tags of a repository."""
        return self._puller.tags(reference, credentials)

    def push(self, reference: Reference, credentials: Credentials, report: Report, cancelled: threading.Event) -> Pushed:
        """See `Pusher.push`."""
        return self._pusher.push(reference, credentials, report, cancelled)

    def inspect(self, reference: Reference, credentials: Credentials) -> Inspected:
        """What `GET /distribution/{name}/json` answers with. Raises as a pull."""
        last: errors.WherryError | None = None
        for endpoint in endpoints(reference.domain, self._config):
            repository = Repository(self._transport, endpoint, reference.path, credentials, "pull")
            try:
                found = repository.manifest(reference.digest or reference.tag)
                if found.media_type in oci.INDEXES:
                    entries = Index.from_json(found.data).manifests
                    platforms = tuple(entry.platform for entry in entries if entry.platform is not None)
                else:
                    config = repository.blob(Manifest.from_json(found.data).config.digest, 8 << 20)
                    platforms = (oci.ImageConfig.from_json(config).platform,)
            except errors.Unavailable as problem:
                last = problem
                if repository.is_reached and not endpoint.mirror:
                    break
                continue
            except errors.WherryError as problem:
                raise failure.of_pull(reference, problem) from problem
            described = oci.Descriptor(media_type=found.media_type, digest=found.digest, size=len(found.data))
            return Inspected(descriptor=described, platforms=platforms)
        raise last or errors.Unavailable(f"no endpoint for {reference.domain}")

    def check(self, credentials: Credentials) -> str:
        """Whether a registry takes these credentials; an identity token to keep instead of the password, or "".

        Raises Unauthorized when it does not, Unavailable when it does not answer.
        """
        server = credentials.server_address.removeprefix("https://").removeprefix("http://").partition("/")[0]
        addresses: tuple[Endpoint, ...]
        if server in ("", "index.docker.io", DOCKER_IO, DOCKER_IO_HOST):
            addresses = (Endpoint(url=f"https://{DOCKER_IO_HOST}"),)
        elif credentials.server_address.startswith("http://"):
            addresses = (Endpoint(url=f"http://{server}", verify=False),)
        else:
            addresses = endpoints(server, self._config)
        last: errors.WherryError | None = None
        for endpoint in addresses:
            repository = Repository(self._transport, endpoint, "", credentials, "")
            try:
                repository.ping()
            except errors.Unavailable as problem:
                last = problem
                if repository.is_reached:
                    break
                continue
            except errors.Unauthorized as problem:
                url = f"{endpoint.url}/v2/"
                if problem.message == REFUSED:
                    raise errors.Unauthorized(f'Get "{url}": {REFUSED}') from problem
                raise errors.Unauthorized(f"login attempt to {url} failed with status: 401 Unauthorized") from problem
            return repository.identity_token()
        raise last or errors.Unavailable(f"no endpoint for {server}")

    def insecure(self, domain: str) -> bool:
        """Whether plain http is allowed for this registry (for `GET /info`)."""
        return is_insecure(domain, self._config)

    def close(self) -> None:
        """Ends the kept connections."""
        self._transport.close()
