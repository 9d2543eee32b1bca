"""The OCI specifications as data: runtime, image, distribution, references, digests."""
