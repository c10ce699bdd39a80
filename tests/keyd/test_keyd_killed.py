"""SIGKILL at any moment: a key that was handed out is never lost, and nothing becomes valid."""

import random
import threading
import time

from sidecar.keys.ledger import VALID
from sidecar.keys.messages import IssueKey, Judged, VerifyKey


def issue_until_killed(keyd, name, issued):
    """Invariant: `issued` holds exactly the keys whose reply has arrived."""
    with keyd.connection() as wire:
        for count in range(1_000_000):
            streams = [f"{name}-{count}-{n}" for n in range(8)]
            batch = [
                (n, IssueKey("capulet.example", "montague.example", stream))
                for n, stream in enumerate(streams)
            ]
            try:
                replies = wire.ask(batch)
            except OSError:
                return
            issued += [(streams[n], reply.key) for n, reply in replies]
            if len(replies) < len(batch):
                return


def test_no_handed_out_key_is_lost_when_keyd_is_killed_while_issuing(keyd):
    handed_out = []
    for turn in range(8):
        keyd.start()
        issued = []
        thread = threading.Thread(target=issue_until_killed, args=(keyd, turn, issued))
        thread.start()
        while not issued:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        keyd.kill()
        thread.join(30)
        handed_out += random.sample(issued, min(len(issued), 200))
    keyd.start()
    for stream, key in handed_out:
        request = VerifyKey("capulet.example", "montague.example", stream, key)
        assert keyd.ask(request) == VALID


def test_used_key_stays_used_when_keyd_is_killed(keyd):
    keyd.start()
    triple = ("capulet.example", "montague.example", "S1")
    key = keyd.ask(IssueKey(*triple)).key
    keyd.ask(VerifyKey(*triple, key))
    ended = ("capulet.example", "montague.example", "S2")
    other = keyd.ask(IssueKey(*ended)).key
    keyd.kill()
    keyd.start()
    assert "not stopped cleanly" in keyd.log.read_text()
    assert keyd.ask(VerifyKey(*triple, key)) == VALID
    assert keyd.ask(VerifyKey(*ended, key)) == Judged("invalid", "key-wrong")
    assert keyd.ask(VerifyKey(*ended, other)) == VALID
