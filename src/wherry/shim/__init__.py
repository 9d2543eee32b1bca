"""The process that owns a container's stdio and its end; the zygote that forks it."""
