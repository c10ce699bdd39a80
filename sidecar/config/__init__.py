"""`sidecar.toml`: its types, and how a file becomes them."""

from sidecar.config.authority import AuthorityConfig
from sidecar.config.keyd import KeydConfig
from sidecar.config.load import load, parse
from sidecar.config.places import Places, places
from sidecar.config.types import (
    AdminConfig,
    CertificateConfig,
    CheckConfig,
    Config,
    HistoryConfig,
    LinkConfig,
    LogConfig,
)

__all__ = [
    "AdminConfig",
    "AuthorityConfig",
    "CertificateConfig",
    "CheckConfig",
    "Config",
    "HistoryConfig",
    "KeydConfig",
    "LinkConfig",
    "LogConfig",
    "Places",
    "load",
    "parse",
    "places",
]
