"""The kernel's interfaces, each wrapped once; knows nothing of containers."""
