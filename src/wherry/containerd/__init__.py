"""Containers that a containerd runs: the other implementation of the interface that the engine has to shims.

    launcher.py     creates containers, takes them over, removes what belongs to nobody
    task.py         one container: its task, its execs, its ends
    streams.py      a process's streams: fifos to containerd's shim, the log, the clients
    pump.py         the thread in which streams move
    records.py      what containerd is told of a container
    calls.py        what is asked of it about a container by its id alone
    connection.py   the channel

gRPC is imported when a daemon is told to use a containerd, and not before.
"""
