"""What keyd does to its own process before it reads a secret."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

from sidecar.errors import SidecarError

# From <linux/prctl.h>, <linux/capability.h> and <asm-generic/mman.h>.
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAP_IPC_LOCK = 14
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


class RunsAsRoot(SidecarError):
    """keyd was started as root, and nobody said that it should."""


def refuse_root(*, allowed: bool) -> None:
    """Raise RunsAsRoot for root, who could read every other process and needs no socket."""
    if os.geteuid() == 0 and not allowed:
        raise RunsAsRoot("refusing to run as root: give it a user of its own, or --allow-root")


def harden() -> bool:
    """Give up what could carry a secret out of this process. Raises OSError.

    No core dump; not dumpable, so that no process of the same user can trace it or read its
    memory; no new privileges; files for nobody else. Returns whether its memory is locked, out
    of reach of swap, which needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_DUMPABLE, 0), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    return _may_lock() and libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0


def _may_lock() -> bool:
    """Under a limit, locking would succeed now and make an allocation fail much later."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    status = Path("/proc/self/status").read_text().split()
    capabilities = int(status[status.index("CapEff:") + 1], 16)
    return bool(capabilities >> _CAP_IPC_LOCK & 1)
