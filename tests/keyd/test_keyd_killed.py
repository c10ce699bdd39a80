"""What SIGKILL leaves behind."""

from sidecar.keys.ledger import VALID
from sidecar.keys.messages import IssueKey, Judged, VerifyKey


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
