"""The door by which containerd starts and drives shims: `containerd-shim-wherry-v2`.

bootstrap.py   the program that containerd executes: `start`, `delete`, `-info`
server.py      the process that stays, executed from read-only mounts like the zygote
service.py     the methods of containerd.task.v2.Task and v3; tasks.py the containers behind them
streams.py     fifos, terminals, log URIs; events.py what is told to containerd
ttrpc.py       frames; protobuf.py the wire format; messages.py the messages
"""
