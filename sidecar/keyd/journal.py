"""The ledger's journal: one file per minute, appended to batch by batch, dropped whole.

A batch is the length of its records and their CRC-32, 4 bytes each, then the records
(`sidecar.keys.entry.record`). What is written survives the end of the process, however it ends.
It is not synchronised, for then every key would wait for the disk: after a power failure the last
half minute can be missing, and keyd answers `error`, not `invalid`, for keys it may have forgotten.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from sidecar.keys.entry import record
from sidecar.keys.limits import SEGMENT_MS

_NAME = "{:015d}.journal"
_header = struct.Struct(">II")


class Journal:
    """Appends to the segment file of the current minute."""

    def __init__(self, directory: Path) -> None:
        """Create the directory where it is missing. Raises OSError."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._files = sorted(directory.glob("[0-9]*.journal"))
        self._descriptor: int | None = None
        self._start_ms = -1
        self._size_bytes = 0
        self._torn = False
        self.damaged: list[Path] = []
        """Segments of which `read` could not read all."""

    def read(self, from_ms: int) -> Iterator[bytes]:
        """Yield the records of every batch, oldest first, from the segment of `from_ms` on.

        Where a segment is damaged, its rest is cut off. Raises OSError.
        """
        for path in self._files:
            if _start_of(path) + SEGMENT_MS > from_ms:
                good_bytes = 0
                for records in _batches(path):
                    yield records
                    good_bytes += _header.size + len(records)
                if good_bytes < path.stat().st_size:
                    os.truncate(path, good_bytes)
                    self.damaged.append(path)

    def latest_ms(self) -> int:
        """Return the time of the last record; 0 where there is none. Raises OSError."""
        for path in reversed(self._files):
            last = deque(_batches(path), maxlen=1)
            if last:
                return int(record.unpack(last[0][-record.size :])[-1])
        return 0

    def append(self, records: bytes, now_ms: int) -> None:
        """Write the records of one batch. Raises OSError: then none is written."""
        start_ms = now_ms - now_ms % SEGMENT_MS
        if self._descriptor is None or start_ms != self._start_ms:
            self._turn_to(start_ms)
        assert self._descriptor is not None
        if self._torn:
            os.ftruncate(self._descriptor, self._size_bytes)
        self._torn = True
        batch = _header.pack(len(records), crc32(records)) + records
        if os.write(self._descriptor, batch) < len(batch):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size_bytes += len(batch)
        self._torn = False

    def discard(self) -> None:
        """Remove everything. Raises OSError."""
        self.close()
        self.drop(1 << 62)

    def drop(self, before_ms: int) -> None:
        """Remove the files of segments that start earlier. Raises OSError."""
        while self._files and _start_of(self._files[0]) < before_ms:
            self._files[0].unlink(missing_ok=True)
            del self._files[0]

    def close(self) -> None:
        if self._descriptor is not None:
            if self._torn:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._size_bytes)
                self._torn = False
            os.close(self._descriptor)
            self._descriptor = None

    def _turn_to(self, start_ms: int) -> None:
        self.close()
        path = self._directory / _NAME.format(start_ms)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._start_ms = start_ms
        self._size_bytes = os.fstat(self._descriptor).st_size
        if path not in self._files:
            self._files.append(path)


def _start_of(path: Path) -> int:
    return int(path.stem)


def _batches(path: Path) -> Iterator[bytes]:
    """Yield the records of each batch up to the first that is not what was written."""
    with path.open("rb") as file:
        while len(header := file.read(_header.size)) == _header.size:
            length, checksum = _header.unpack(header)
            records = file.read(length)
            if not length or length % record.size or len(records) < length:
                return
            if crc32(records) != checksum:
                return
            yield records
