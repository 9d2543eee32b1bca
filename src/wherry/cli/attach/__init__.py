"""The terminal's side of attach and exec: relay, keys, signals, raw mode."""
