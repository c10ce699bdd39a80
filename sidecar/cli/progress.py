"""A sign of life while a command waits, on a terminal alone and not before it is wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

_AFTER_SECONDS = 0.7


@contextmanager
def patience(text: str) -> Iterator[None]:
    """Show `text` on standard error as long as this lasts, if it lasts."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(text)
    timer = threading.Timer(_AFTER_SECONDS, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
