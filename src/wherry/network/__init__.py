"""libnetwork: networks, the addresses on them, and the way of packets into and out of containers.

Read in this order: `model.py` (the values), `controller.py` (the story: create a network, give a container an
endpoint on it, attach it, publish its ports), `plan.py` and `ruleset.py` (what the kernel will be told, as data),
`bridge.py` (telling it), `proxy/` (the process that serves what NAT cannot, and DNS).
"""
