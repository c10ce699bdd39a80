"""A ledger with a clock in the test's hand."""

from dataclasses import dataclass, field

from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.keys.keyring import Keyring, SecretVersion
from sidecar.keys.ledger import Ledger
from sidecar.keys.lifecycle import VersionFacts
from sidecar.keys.limits import Limits
from sidecar.keys.messages import EndKey, IssueKey, VerifyKey

START_MS = 1_700_000_000_000


@dataclass
class Desk:
    """Asks a ledger one thing at a time and keeps its journal."""

    limits: Limits = field(default_factory=Limits)
    senders: tuple[str, ...] = ("capulet.example", "mantua.example")
    forgetful_until_ms: int = 0
    now_ms: int = START_MS
    journal: bytes = b""

    def __post_init__(self):
        self.makers = {
            sender: KeyMaker(f"secret of {sender}".encode())
            for sender in (*self.senders, "stranger.example")
        }
        self.keyring = Keyring(
            SecretVersion(VersionFacts(number, sender, 1, "ledger", START_MS), self.makers[sender])
            for number, sender in enumerate(self.senders, start=1)
        )
        self.restart()

    def restart(self):
        self.ledger = Ledger(self.keyring, self.limits)
        self.ledger.forgetful_until_ms = self.forgetful_until_ms
        self.ledger.replay(self.journal)

    def ask(self, request):
        (reply,), records = self.ledger.apply([request], self.now_ms)
        self.ledger.keep()
        self.journal += records
        return reply

    def issue(self, sender="capulet.example", target="montague.example", stream="S1"):
        return self.ask(IssueKey(sender, target, stream))

    def verify(self, key, sender="capulet.example", target="montague.example", stream="S1"):
        return self.ask(VerifyKey(sender, target, stream, key))

    def end(self, sender="capulet.example", target="montague.example", stream="S1"):
        return self.ask(EndKey(sender, target, stream))

    def forge(self, sender="capulet.example", target="montague.example", stream="S1"):
        """The right key, made with the secret itself."""
        return self.makers[sender].key(key_message(sender, target, stream))
