"""containerd's tasks: bundles, the shims that run them, and the calls to those. Nothing of gRPC, nothing of Docker.

manager.py    the tasks of all namespaces, from their creation to their end, and found again after a restart
runtimes.py   which shim a container's runtime means; how it is started
shim.py       a connection to one shim; calls.py the frames of ttrpc on asyncio
bundle.py     the folder that a task's shim works in
listener.py   the socket on which shims tell what happened
"""
