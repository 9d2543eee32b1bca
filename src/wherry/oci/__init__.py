"""The OCI specifications as data: runtime, image, distribution, references, digests."""

RUNTIME_VERSION = "1.0.2"  # of the runtime-spec, as written into state.json: what runc 1.1 says
