"""The tree of commands as data: names, the module that holds each, and the one line for the lists.

Only literals stand here, so that a cold start pays one constant, not a record for each command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# (group or "", names, module of `commands` and the name of its Command; "" for a group, one line), in the order of help.
TREE: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("", ("plugins", "plugin"), "", "look at containerd's plugins"),
    ("", ("version",), "version:VERSION", "print the versions of client and server"),
    ("", ("containers", "c", "container"), "", "manage containers"),
    ("", ("content",), "", "manage content"),
    ("", ("events", "event"), "events:EVENTS", "print what happens in containerd"),
    ("", ("images", "image", "i"), "", "manage images"),
    ("", ("leases",), "", "manage leases"),
    ("", ("namespaces", "namespace", "ns"), "", "manage namespaces"),
    ("", ("pprof",), "", "fetch profiles of containerd's own program"),
    ("", ("run",), "run:RUN", "make a container and run it"),
    ("", ("snapshots", "snapshot"), "", "manage snapshots"),
    ("", ("tasks", "t", "task"), "", "manage tasks: the processes of containers"),
    ("", ("install",), "install:INSTALL", "install the programs of an image on this machine"),
    ("", ("oci",), "", "tools around the OCI specifications"),
    ("", ("shim",), "", "talk to a shim without containerd"),
    ("plugins", ("list", "ls"), "plugins:LIST", "list containerd's plugins"),
    ("containers", ("create",), "container_create:CREATE", "make a container"),
    ("containers", ("delete", "del", "remove", "rm"), "containers:DELETE", "delete containers"),
    ("containers", ("info",), "containers:INFO", "print a container's record"),
    ("containers", ("list", "ls"), "containers:LIST", "list containers"),
    ("containers", ("label",), "containers:LABEL", "set and clear a container's labels"),
    ("containers", ("checkpoint",), "checkpoint:CHECKPOINT", "write a container to an image"),
    ("containers", ("restore",), "checkpoint:RESTORE", "make a container from a checkpoint's image"),
    ("content", ("active",), "content:ACTIVE", "list content on its way into the store"),
    ("content", ("delete", "del", "remove", "rm"), "content:DELETE", "delete blobs for good"),
    ("content", ("edit",), "content_edit:EDIT", "edit a blob and print the digest of the result"),
    ("content", ("fetch",), "content_fetch:FETCH", "fetch an image's content from a registry"),
    ("content", ("fetch-object",), "content_fetch:FETCH_OBJECT", "print an object of a registry"),
    ("content", ("get",), "content:GET", "print a blob"),
    ("content", ("ingest",), "content:INGEST", "store what comes on stdin"),
    ("content", ("list", "ls"), "content:LIST", "list the blobs in the store"),
    ("content", ("push-object",), "content_fetch:PUSH_OBJECT", "send a blob to a registry"),
    ("content", ("label",), "content:LABEL", "set and clear a blob's labels"),
    ("content", ("prune",), "", "take back what holds content that nothing needs"),
    ("content prune", ("references",), "content_prune:REFERENCES", "clear the labels that hold layers which are unpacked"),
    ("images", ("check",), "images_check:CHECK", "tell whether all content of images is here"),
    ("images", ("export",), "images_archive:EXPORT", "write images to an archive"),
    ("images", ("import",), "images_archive:IMPORT", "read images from an archive"),
    ("images", ("list", "ls"), "images:LIST", "list images"),
    ("images", ("mount",), "images_mount:MOUNT", "mount an image at a folder"),
    ("images", ("unmount",), "images_mount:UNMOUNT", "unmount an image"),
    ("images", ("pull",), "images_pull:PULL", "fetch an image from a registry and unpack it"),
    ("images", ("push",), "images_push:PUSH", "send an image to a registry"),
    ("images", ("delete", "del", "remove", "rm"), "images:DELETE", "remove images by name"),
    ("images", ("tag",), "images:TAG", "give an image further names"),
    ("images", ("label",), "images:LABEL", "set and clear an image's labels"),
    ("images", ("convert",), "images_convert:CONVERT", "make an image of another format from an image"),
    ("leases", ("list", "ls"), "leases:LIST", "list leases"),
    ("leases", ("create",), "leases:CREATE", "make a lease"),
    ("leases", ("delete", "del", "remove", "rm"), "leases:DELETE", "delete leases"),
    ("namespaces", ("create", "c"), "namespaces:CREATE", "make a namespace"),
    ("namespaces", ("list", "ls"), "namespaces:LIST", "list namespaces"),
    ("namespaces", ("remove", "rm"), "namespaces:REMOVE", "remove namespaces"),
    ("namespaces", ("label",), "namespaces:LABEL", "set and clear a namespace's labels"),
    ("pprof", ("block",), "pprof:BLOCK", "where goroutines block"),
    ("pprof", ("goroutines",), "pprof:GOROUTINES", "the stacks of all goroutines"),
    ("pprof", ("heap",), "pprof:HEAP", "what is on the heap"),
    ("pprof", ("profile",), "pprof:PROFILE", "where processor time goes"),
    ("pprof", ("threadcreate",), "pprof:THREADCREATE", "what made threads"),
    ("pprof", ("trace",), "pprof:TRACE", "a trace of the program"),
    ("snapshots", ("commit",), "snapshots:COMMIT", "make a committed snapshot of an active one"),
    ("snapshots", ("diff",), "snapshots_diff:DIFF", "print the layer between two snapshots, or a snapshot and its parent"),
    ("snapshots", ("info",), "snapshots:INFO", "print a snapshot's record"),
    ("snapshots", ("list", "ls"), "snapshots:LIST", "list snapshots"),
    ("snapshots", ("mounts", "m", "mount"), "snapshots:MOUNTS", "print the commands that mount a snapshot"),
    ("snapshots", ("prepare",), "snapshots:PREPARE", "make an active snapshot on a committed one"),
    ("snapshots", ("delete", "del", "remove", "rm"), "snapshots:DELETE", "remove snapshots"),
    ("snapshots", ("label",), "snapshots:LABEL", "set and clear a snapshot's labels"),
    ("snapshots", ("tree",), "snapshots:TREE", "print snapshots with their children"),
    ("snapshots", ("unpack",), "snapshots_diff:UNPACK", "unpack the layers of a manifest into snapshots"),
    ("snapshots", ("usage",), "snapshots:USAGE", "print what snapshots use on disk"),
    ("snapshots", ("view",), "snapshots:VIEW", "make a read-only snapshot on a committed one"),
    ("tasks", ("attach",), "task_attach:ATTACH", "connect this terminal to a running container"),
    ("tasks", ("checkpoint",), "checkpoint:TASK_CHECKPOINT", "write the state of a container's processes"),
    ("tasks", ("delete", "del", "remove", "rm"), "tasks:DELETE", "delete tasks"),
    ("tasks", ("exec",), "task_exec:EXEC", "run another process in a running container"),
    ("tasks", ("list", "ls"), "tasks:LIST", "list tasks"),
    ("tasks", ("kill",), "tasks:KILL", "send a signal to a container (SIGTERM unless told otherwise)"),
    ("tasks", ("pause",), "tasks:PAUSE", "freeze a container"),
    ("tasks", ("ps",), "tasks:PS", "list the processes of a container"),
    ("tasks", ("resume",), "tasks:RESUME", "let a frozen container go on"),
    ("tasks", ("start",), "task_start:START", "start a container that has been made"),
    ("tasks", ("metrics", "metric"), "metrics:METRICS", "print what a container uses"),
    ("oci", ("spec",), "oci:SPEC", "print the default runtime configuration"),
    ("shim", ("delete",), "shim:DELETE", "delete a container and its task"),
    ("shim", ("exec",), "shim:EXEC", "run another process in the task's container"),
    ("shim", ("start",), "shim:START", "start the container and its task"),
    ("shim", ("state",), "shim:STATE", "print the state of the task's processes"),
)


def find(group: str, word: str) -> tuple[str, str, str] | None:
    """(first name, module and Command, line) of what a word means in a group."""
    for where, names, module, line in TREE:
        if where == group and word in names:
            return names[0], module, line
    return None


def members(group: str) -> Sequence[tuple[str, str]]:
    """(names, line) of each command in a group, in the order of help."""
    return [(", ".join(names), line) for where, names, _, line in TREE if where == group]
