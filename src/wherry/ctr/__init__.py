"""ctr's command line: a client of containerd's API (floor 6)."""
