"""dialback-sidecar: Server Dialback (XEP-0220) beside Prosody and ejabberd."""

__version__ = "0.1.0"
