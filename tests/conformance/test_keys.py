"""XEP-0185 §2: the key that a stock server presents, made again from its secret.

Ours never shows its secrets; what it makes of one is in `tests/keys`.
"""

from __future__ import annotations

import re

import pytest
from findings import yes_if
from guests import Guests
from host_servers import CAPULET
from subjects import SECRET, Subject

from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.lab.ejabberd import Ejabberd

pytestmark = pytest.mark.parametrize(
    "subject", ["stock-prosody", "stock-ejabberd"], indirect=True, scope="session"
)


async def secret_of(subject: Subject) -> bytes:
    """Prosody's is configured; ejabberd has one for all its domains."""
    if not isinstance(subject.server, Ejabberd):
        return SECRET.encode()
    shown = await subject.server.evaluate("ejabberd_config:get_shared_key().")
    found = re.search(r"[0-9a-f]{40}", shown)
    assert found is not None
    return found.group().encode()


async def test_key_is_that_of_the_recommended_algorithm(
    subject: Subject, guests: Guests, find
) -> None:
    peer = await guests.peer()
    stream_id, key = await subject.issue(guests, peer)
    maker = KeyMaker(await secret_of(subject))
    expected = maker.key(key_message(CAPULET, peer.domain, stream_id))
    find(yes_if(key.strip() == expected, "another key"))
