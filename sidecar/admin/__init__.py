"""The HTTP side of the sidecar, for operators and for Prometheus (aiohttp)."""

from sidecar.admin.server import AdminServer
from sidecar.admin.views import Health

__all__ = ["AdminServer", "Health"]
