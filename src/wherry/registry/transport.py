"""The connections to registries: one pool per way of verifying, proxies from the environment, certificates by host.

Nothing here knows what a registry is; failures come out as `errors.from_network` words them.
"""

from __future__ import annotations

import os
import threading
import urllib.request

import urllib3
from urllib3.util import Retry, Timeout

from wherry.registry import certificates
from wherry.registry import errors as wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wherry.registry.endpoint import Endpoint

CONNECT_S = 30.0
# A registry that sends nothing for this long is given up: a pull must not hang for ever without a word.
STALL_S = 60.0
REDIRECTS = 10


class Transport:
    """Sends requests; safe to share between threads. `close()` ends the kept connections."""

    def __init__(self, user_agent: str, certificates_folder: str = "/etc/docker/certs.d",
                 environment: Mapping[str, str] | None = None) -> None:
        self._user_agent = user_agent
        self._certificates = certificates_folder
        self._environment = os.environ if environment is None else environment
        self._pools: dict[tuple[object, ...], tuple[certificates.State, urllib3.PoolManager]] = {}
        self._lock = threading.Lock()

    def send(self, endpoint: Endpoint, method: str, url: str, *, headers: Mapping[str, str] | None = None,
             body: bytes | Iterable[bytes] | None = None, redirect: bool = True) -> urllib3.BaseHTTPResponse:
        """One request; the answer's body is not yet read, and the caller releases or closes it.

        Redirects are followed (without credentials to another host) unless the body is a stream. Raises
        Unavailable when there is no answer, Internal for certificates of ours that make no sense.
        """
        sent = {"User-Agent": self._user_agent, **(headers or {})}
        retries = Retry(total=REDIRECTS, connect=0, read=0, status=0, other=0, redirect=REDIRECTS if redirect else 0,
                        raise_on_redirect=redirect, raise_on_status=False)
        try:
            return self._pool(endpoint, url).request(
                method, url, headers=sent, body=body, preload_content=False, decode_content=False,
                redirect=redirect, retries=retries, timeout=Timeout(connect=CONNECT_S, read=STALL_S))
        except (urllib3.exceptions.HTTPError, OSError) as failure:
            raise wording.from_network(method, url, failure) from failure

    def close(self) -> None:
        """Ends all idle connections; requests under way are not disturbed."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for _, pool in pools:
            pool.clear()

    def _pool(self, endpoint: Endpoint, url: str) -> urllib3.PoolManager:
        parts = urllib3.util.parse_url(url)
        host = parts.netloc or ""
        proxy = self._proxy(parts.scheme or "", parts.host or "", host)
        folder = os.path.join(self._certificates, host)
        found = certificates.state(folder) if endpoint.verify else ()
        key = (endpoint.verify, proxy, folder if found else "", endpoint.authorities, endpoint.identities)
        with self._lock:
            before, pool = self._pools.get(key, ((), None))
            if pool is None or before != found:
                context = certificates.context(folder) if endpoint.verify else certificates.unverified()
                certificates.add(context, endpoint.authorities, endpoint.identities)
                pool = (
                    urllib3.ProxyManager(proxy, ssl_context=context, maxsize=8) if proxy
                    else urllib3.PoolManager(ssl_context=context, maxsize=8))
                self._pools[key] = found, pool
            return pool

    def _proxy(self, scheme: str, host: str, netloc: str) -> str:
        """The proxy for this address by HTTP_PROXY, HTTPS_PROXY, NO_PROXY; "" for none. Loopback never has one (as in Go)."""
        environment = {name.lower(): value for name, value in self._environment.items()}
        proxy = environment.get(f"{scheme}_proxy", "")
        if not proxy or host == "localhost" or host.startswith("127.") or host == "[::1]":
            return ""
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it
        if bypass(netloc, {"no": environment.get("no_proxy", "")}):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

