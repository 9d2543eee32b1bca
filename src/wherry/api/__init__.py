"""The doors through which programs ask: Docker's API, later containerd's and CRI."""
