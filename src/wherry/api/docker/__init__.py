"""The Docker Engine API: HTTP, routes, versions; one module per resource."""
