"""What containerd's API keeps of namespaces, containers, images, leases and blobs, in one SQLite database."""
