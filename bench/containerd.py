"""What is measured of containerd's API and of its client; like cases.py. The calls are made by wherry's own client, on every daemon."""

import itertools
import json
import threading
import time

from cases import Meter, case
from peers import IMG, NotAble, pss, sh

CALLS = 500
EVENTS = 2000


def connect(peer):
    """A connection in ctr's namespace."""
    if not getattr(peer, "containerd_address", None):
        raise NotAble("no API of containerd")
    try:
        from wherry.ctr.client import Client
        return Client(peer.containerd_address, "default")
    except ImportError as error:
        raise NotAble(f"needs wherry[containerd] in the Python that runs this: {error}") from None


@case("ctr-run", "ctr run --rm IMG true, to its end", rounds=20)
def ctr_run(peer):
    if not getattr(peer, "containerd_address", None):
        raise NotAble("no API of containerd")
    argv = peer.run_true()
    yield lambda: sh(argv)


class Lives:
    """Whole lives of containers by calls alone; the spec is that which ctr writes."""

    def __init__(self, peer):
        self.client = connect(peer)
        self.numbers = itertools.count()
        base = f"base-{peer.name}"
        sh([*peer.ctr, "container", "create", IMG, base, "true"])
        made = self.client.containers.Get(id=base).container
        self.spec = json.loads(made.spec.value)
        self.type_url = made.spec.type_url
        sh([*peer.ctr, "container", "rm", base])
        committed = self._committed()
        self.parent = next(name for name in committed if name not in committed.values())

    def _committed(self):
        """Committed snapshots, each with its parent."""
        found = {}
        for answer in self.client.snapshots.List(snapshotter="overlayfs"):
            found.update({info.name: info.parent for info in answer.info if info.kind == 3})
        return found

    def one(self):
        """Create, start, wait, delete."""
        call, name = self.client, f"life-{next(self.numbers)}-{time.monotonic_ns()}"
        self.spec["linux"]["cgroupsPath"] = f"/default/{name}"
        spec = {"type_url": self.type_url, "value": json.dumps(self.spec).encode()}
        mounts = call.snapshots.Prepare(snapshotter="overlayfs", key=name, parent=self.parent,
                                        labels={"containerd.io/gc.root": "2026-01-01T00:00:00Z"}).mounts  # collected by nobody
        call.containers.Create(container={"id": name, "image": IMG, "spec": spec, "snapshotter": "overlayfs", "snapshot_key": name,
                                          "runtime": {"name": "io.containerd.runc.v2"}})
        call.tasks.Create(container_id=name, rootfs=mounts)
        call.tasks.Start(container_id=name)
        if call.tasks.Wait(container_id=name).exit_status:
            raise NotAble("the container failed")
        call.tasks.Delete(container_id=name)
        call.containers.Delete(id=name)
        call.snapshots.Remove(snapshotter="overlayfs", key=name)


@case("ctr-api-run", "containerd's API: prepare, create, start, wait, delete", rounds=20)
def ctr_api_run(peer):
    lives = Lives(peer)
    yield lives.one


@case("ctr-calls", "containerd's API: Version on one connection, one at a time", "calls/s", rounds=7)
def ctr_calls(peer):
    client = connect(peer)

    def sample():
        begin = time.perf_counter()
        for _ in range(CALLS):
            client.version.Version()
        return CALLS / (time.perf_counter() - begin)
    yield sample


@case("ctr-events", "containerd's API: events published one by one, until a subscriber has all", "events/s", rounds=5)
def ctr_events(peer):
    speaker, listener = connect(peer), connect(peer)

    def sample():
        topic, seen, ready = f"/bench/{time.monotonic_ns()}", 0, threading.Event()
        stream = listener.events.Subscribe(filters=[f'topic=="{topic}"'])

        def listen():
            nonlocal seen
            for _ in stream:
                seen += 1
                ready.set()
                if seen > EVENTS:
                    return
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        event = {"type_url": "containerd.events.TaskExit", "value": b""}
        while not ready.wait(0.05):  # the subscription is known once something came
            speaker.events.Publish(topic=topic, event=event)
        begin, before = time.perf_counter(), seen
        for _ in range(EVENTS + 1 - before):
            speaker.events.Publish(topic=topic, event=event)
        thread.join(60)
        if thread.is_alive():
            raise NotAble(f"only {seen} of {EVENTS} events came")
        return (EVENTS + 1 - before) / (time.perf_counter() - begin)
    yield sample


@case("ctr-idle-pss", "PSS of the idle daemon with a client connected (containerd alone; wherryd with Docker's API too)", "MiB", rounds=3)
def ctr_idle_pss(peer):
    client = connect(peer)
    client.version.Version()
    yield lambda: pss(peer.daemon_pids())


@case("ctr-container-pss", "PSS that one more container adds, mean of 20 running", "MiB", rounds=1)
def ctr_container_pss(peer):
    connect(peer).version.Version()

    def sample():
        before = pss(peer.daemon_pids())
        names = [f"held-{peer.name}-{number}" for number in range(20)]
        try:
            for name in names:
                sh([*peer.ctr, "run", "-d", IMG, name, "sleep", "3600"])
            return (pss({*peer.daemon_pids(), *peer.shims(names)}) - before) / 20
        finally:
            for name in names:
                sh([*peer.ctr, "task", "rm", "-f", name], check=False)
                sh([*peer.ctr, "container", "rm", name], check=False)
    yield sample
