"""What Prometheus sees. Labels follow Prosody's (host, direction, mechanism).

`host` is a domain of ours. Nothing is ever labelled by a remote domain: strangers would decide
how many time series there are.
"""

from sidecar.metrics.counters import Metrics
from sidecar.metrics.snapshot import (
    AlarmSample,
    AuthoritySample,
    LinkSample,
    SecretSample,
    Snapshot,
)

__all__ = ["AlarmSample", "AuthoritySample", "LinkSample", "Metrics", "SecretSample", "Snapshot"]
