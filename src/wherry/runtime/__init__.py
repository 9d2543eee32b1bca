"""runc as a library: a bundle in, a container out. Plan, then apply; state on disk."""
