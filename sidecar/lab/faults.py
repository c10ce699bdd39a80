"""What can go wrong in the lab, in words for whoever started it."""

from __future__ import annotations


class LabError(Exception):
    """A server of the lab did not do what it was started for."""


class Missing(LabError):
    """A program or library the lab needs is not installed; `package` is Debian's name for it."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"{what} is not installed (Debian: apt-get install -y {package})")
        self.what = what
        self.package = package


class PortInUse(LabError):
    """Somebody else listens where a server of the lab has to."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(f"port {port} on {address} is in use by another program")
        self.address = address
        self.port = port
