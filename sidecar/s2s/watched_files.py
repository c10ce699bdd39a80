"""Files that are read again when they have changed, as a renewed certificate does."""

from __future__ import annotations

from pathlib import Path

_State = tuple[tuple[int, int, int], ...]
"""Of each file: when it was changed, its size, its number. Renewing changes at least one."""


class WatchedFiles:
    """Remembers how some files were when they were last looked at."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._state = self._look()

    def changed(self) -> bool:
        """Whether they are not as they were; what is seen now counts as seen."""
        before, self._state = self._state, self._look()
        return self._state != before

    def _look(self) -> _State | None:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return None
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)
