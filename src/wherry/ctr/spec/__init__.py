"""The runtime-spec that ctr writes for a container: the default, and the changes that options and images make to it."""
