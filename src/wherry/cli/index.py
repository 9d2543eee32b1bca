"""The tree of commands as data: where each one is, what else it is called, which module holds it, and its one line for the lists.

Only literals stand here, so that a cold start pays one constant, not a record for each command.
"""

from __future__ import annotations

# place, other names, module of `commands` and the name of its Command, one line.
# The first word of a place is a group or the command itself.
PLACES: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("container attach", ("attach",), "attach:ATTACH", "Connect this terminal to a running container"),
    ("container commit", ("commit",), "commit:COMMIT", "Make an image of a container's changes"),
    ("container cp", ("cp",), "cp:CP", "Copy files between a container and this machine"),
    ("container create", ("create",), "create:CREATE", "Make a container without starting it"),
    ("container diff", ("diff",), "diff:DIFF", "List what changed in a container's file system"),
    ("container exec", ("exec",), "exec:EXEC", "Run another command in a running container"),
    ("container export", ("export",), "export:EXPORT", "Write a container's file system as a tar archive"),
    ("container inspect", (), "inspect:CONTAINER", "Show everything about one or more containers"),
    ("container kill", ("kill",), "kill:KILL", "Send a signal to one or more containers"),
    ("container logs", ("logs",), "logs:LOGS", "Show what a container has written"),
    ("container ls", ("container list", "container ps", "ps"), "ps:LS", "List containers"),
    ("container pause", ("pause",), "pause:PAUSE", "Freeze all processes of one or more containers"),
    ("container port", ("port",), "port:PORT", "List a container's published ports, or look one up"),
    ("container prune", (), "prune:CONTAINERS", "Remove all containers that do not run"),
    ("container rename", ("rename",), "rename:RENAME", "Give a container another name"),
    ("container restart", ("restart",), "restart:RESTART", "Stop and start one or more containers"),
    ("container rm", ("container remove", "rm"), "rm:RM", "Remove one or more containers"),
    ("container run", ("run",), "run:RUN", "Make a container from an image and start it"),
    ("container start", ("start",), "start:START", "Start one or more containers that do not run"),
    ("container stats", ("stats",), "stats:STATS", "Watch what containers use"),
    ("container stop", ("stop",), "stop:STOP", "Stop one or more running containers"),
    ("container top", ("top",), "top:TOP", "List the processes of a container"),
    ("container unpause", ("unpause",), "pause:UNPAUSE", "Let the processes of frozen containers go on"),
    ("container update", ("update",), "update:UPDATE", "Change the limits of one or more containers"),
    ("container wait", ("wait",), "wait:WAIT", "Wait until containers end and print their exit codes"),
    ("image build", ("build", "builder build"), "build:BUILD", "Build an image from a Dockerfile"),
    ("image history", ("history",), "history:HISTORY", "Show how an image came to be"),
    ("image import", ("import",), "import_:IMPORT", "Make an image from the tar archive of a file system"),
    ("image inspect", (), "inspect:IMAGE", "Show everything about one or more images"),
    ("image load", ("load",), "load:LOAD", "Load images from an archive or from stdin"),
    ("image ls", ("image list", "images"), "images:LS", "List images"),
    ("image prune", (), "prune:IMAGES", "Remove images that nothing uses"),
    ("image pull", ("pull",), "pull:PULL", "Fetch an image from a registry"),
    ("image push", ("push",), "push:PUSH", "Send an image to a registry"),
    ("image rm", ("image remove", "rmi"), "rmi:RMI", "Remove one or more images"),
    ("image save", ("save",), "save:SAVE", "Write one or more images to an archive, or to stdout"),
    ("image tag", ("tag",), "tag:TAG", "Give an image another name"),
    ("network connect", (), "network:CONNECT", "Connect a container to a network"),
    ("network create", (), "network:CREATE", "Make a network"),
    ("network disconnect", (), "network:DISCONNECT", "Take a container off a network"),
    ("network inspect", (), "inspect:NETWORK", "Show everything about one or more networks"),
    ("network ls", ("network list",), "network_ls:LS", "List networks"),
    ("network prune", (), "prune:NETWORKS", "Remove all networks that nothing uses"),
    ("network rm", ("network remove",), "network:RM", "Remove one or more networks"),
    ("volume create", (), "volume:CREATE", "Make a volume"),
    ("volume inspect", (), "inspect:VOLUME", "Show everything about one or more volumes"),
    ("volume ls", ("volume list",), "volume:LS", "List volumes"),
    ("volume prune", (), "prune:VOLUMES", "Remove local volumes that nothing uses"),
    ("volume rm", ("volume remove",), "volume:RM", "Remove one or more volumes"),
    ("volume update", (), "volume:UPDATE", "Change a cluster volume"),
    ("system df", (), "df:DF", "Show how much disk is used"),
    ("system dial-stdio", (), "dial_stdio:DIAL", "Join stdin and stdout to the daemon's socket"),
    ("system events", ("events",), "events:EVENTS", "Watch what happens in the daemon"),
    ("system info", ("info",), "info:INFO", "Show the state of the daemon and its machine"),
    ("system prune", (), "prune:SYSTEM", "Remove everything that nothing uses"),
    ("builder prune", (), "prune:BUILDER", "Remove the build cache"),
    ("context create", (), "context:CREATE", "Make a context"),
    ("context export", (), "context_move:EXPORT", "Write a context to a tar archive, or to stdout"),
    ("context import", (), "context_move:IMPORT", "Read a context from a tar or zip archive"),
    ("context inspect", (), "inspect:CONTEXT", "Show everything about one or more contexts"),
    ("context ls", ("context list",), "context:LS", "List contexts"),
    ("context rm", ("context remove",), "context:RM", "Remove one or more contexts"),
    ("context show", (), "context:SHOW", "Print the name of the context in use"),
    ("context update", (), "context:UPDATE", "Change a context"),
    ("context use", (), "context:USE", "Choose the context to use from now on"),
    ("inspect", (), "inspect:ANY", "Show everything about containers, images, networks, volumes"),
    ("login", (), "login:LOGIN", "Log in to a registry"),
    ("logout", (), "login:LOGOUT", "Log out from a registry"),
    ("search", (), "search:SEARCH", "Search Docker Hub for images"),
    ("version", (), "version:VERSION", "Show the versions of command line and daemon"),
    ("completion", (), "completion:COMPLETION", "Print the completion script of a shell"),
    ("help", (), "help:HELP", "Show the help of a command"),
    ("__complete", (), "completion:COMPLETE", "Answer a shell's question (used by the completion scripts)"),
)

GROUPS: dict[str, str] = {
    "builder": "Builds and their cache",
    "container": "Containers",
    "context": "Contexts: daemons by name",
    "image": "Images",
    "network": "Networks",
    "system": "The daemon as a whole",
    "volume": "Volumes",
}

COMMON = ("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info")
HIDDEN = frozenset(("completion", "help", "__complete", "system dial-stdio"))

# What docker has and wherry does not: refused by name.
REFUSED = frozenset(("plugin", "swarm", "service", "stack", "node", "secret", "config", "trust", "manifest", "checkpoint"))


def find(words: tuple[str, ...]) -> tuple[str, tuple[str, ...], str, str] | None:
    """The place of a command by any of its names."""
    name = " ".join(words)
    for place in PLACES:
        if place[0] == name or name in place[1]:
            return place
    return None


def members(group: str) -> list[tuple[str, str]]:
    """(last word, one line) of each command in a group, in order of their names."""
    found = []
    for place, others, _, line in PLACES:
        for name in (place, *(other for other in others if other.partition(" ")[0] != place.partition(" ")[0])):
            words = name.split(" ")
            if len(words) == 2 and words[0] == group and name not in HIDDEN:
                found.append((words[1], line))
    return sorted(found)


def top_level() -> list[tuple[str, str]]:
    """(name, one line) of each command that is called by one word, in order."""
    found = []
    for place, others, _, line in PLACES:
        found += [(name, line) for name in (place, *others) if " " not in name and name not in HIDDEN]
    return sorted(found)
