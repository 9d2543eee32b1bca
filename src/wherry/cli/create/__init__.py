"""What `run` and `create` are given, turned into a request."""
