"""wherryd: flags, daemon.json, listeners, signals, and the composition of it all."""
