"""A directory that is gone afterwards, also when we are killed.

A small shell process holds the reading end of a pipe. When our end closes, by the with-block
or because we died in whatever way, it removes the directory.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Servers that die together with us may still be writing, so it tries more than once.
_REMOVE_AFTER_EOF = """
trap '' HUP INT TERM
read -r _
for attempt in 1 2 3 4 5; do
    rm -rf -- "$0" 2>/dev/null && [ ! -e "$0" ] && exit 0
    sleep 0.2
done
exit 1
"""

_LONGEST_PARENT = 50  # the path of a Unix socket below has to fit into 107 bytes


@contextmanager
def throwaway_directory(prefix: str = "dialback-lab-") -> Iterator[Path]:
    """Yield a new directory (mode 0700) that is removed with everything in it."""
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST_PARENT:
        parent = "/tmp"
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
    remover = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE_AFTER_EOF, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    try:
        yield path
    finally:
        assert remover.stdin is not None
        remover.stdin.close()
        remover.wait()
