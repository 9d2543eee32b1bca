"""The services of containerd's gRPC API: package `containerd.services.NAME.v1` is NAME.proto."""
