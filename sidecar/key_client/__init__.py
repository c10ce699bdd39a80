"""The sidecar's side of the socket to dialback-keyd."""

from sidecar.key_client.client import KeyClient

__all__ = ["KeyClient"]
