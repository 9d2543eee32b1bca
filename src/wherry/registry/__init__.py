"""Pull and push against the distribution API."""
