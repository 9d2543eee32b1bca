"""containerd's gRPC API: one module per service, a list of them, and the server."""
