"""Any bytes as a chain of certificates end in a flaw, never in an exception or in a proof.

The chain is cut at each `0x30 0x82`, where DER of a certificate begins.

    python tests/fuzz/fuzz_certificates.py [CORPUS]
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

from sidecar.names import Domain
from sidecar.pkix.chain import TrustStore
from sidecar.pkix.flaws import Flawed
from sidecar.pkix.peer import judge, same, trusted_leaf

CAPULET = Domain.parse("capulet.example")
NOW = datetime(2026, 11, 20, tzinfo=UTC)
NOBODY = TrustStore([])


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever escaped, when the invariant is broken."""
    chain = [part for part in re.split(rb"(?=\x30\x82)", data) if part]
    assert isinstance(judge(chain, CAPULET, NOBODY, NOW), Flawed)
    assert trusted_leaf(chain, NOBODY, NOW) is None
    same(data, data, CAPULET, NOW)


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
