"""What dockerd knows: containers, execs, images, volumes, networks, logs, events."""
