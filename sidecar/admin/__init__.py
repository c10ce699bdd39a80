"""The HTTP side of the sidecar, for operators and for Prometheus (aiohttp)."""
