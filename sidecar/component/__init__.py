"""The component link (XEP-0114) to one server: `Link` keeps it up and answers over it."""

from sidecar.component.answerer import Answerer
from sidecar.component.link import Link, Timing
from sidecar.component.state import LinkState, Phase
from sidecar.component.work import Limits

__all__ = ["Answerer", "Limits", "Link", "LinkState", "Phase", "Timing"]
