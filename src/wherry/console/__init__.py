"""What the command lines share: standard streams, the terminal, tables in Go's columns (floor 1)."""
