"""`sidecar.toml`: its types, and how a file becomes them."""

from sidecar.config.load import load, parse
from sidecar.config.types import CheckConfig, Config, KeydConfig, LinkConfig, LogConfig

__all__ = [
    "CheckConfig",
    "Config",
    "KeydConfig",
    "LinkConfig",
    "LogConfig",
    "load",
    "parse",
]
