"""The process `wherry-proxy`: published ports that NAT cannot serve, and the networks' DNS; it outlives wherryd."""
