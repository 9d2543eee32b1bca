"""libnetwork: addresses, drivers, endpoints, firewall, published ports, DNS."""
