"""Store, ledger and clock of one state directory, without a process, with a clock in hand."""

from sidecar.keyd.ballast import Ballast
from sidecar.keyd.clock import ClockSource
from sidecar.keyd.journal import Journal
from sidecar.keyd.kek_rotation import KekRotation
from sidecar.keyd.key_service import KeyService
from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.keys.limits import Limits
from sidecar.keys.messages import EndKey, IssueKey, ListVersions, VerifyKey

START_MS = 1_700_000_000_000
DAY_MS = 24 * 3_600_000


class House:
    """`now_ms` is the kernel's time; the system's clock is `wrong_ms` ahead of it."""

    def __init__(self, directory, limits=None, rotation_ms=DAY_MS):
        self.directory = directory
        self.limits = limits or Limits()
        self.rotation_ms = rotation_ms
        self.now_ms = START_MS
        self.wrong_ms = 0
        self.boot_id = "first-boot"
        self.open()

    def open(self):
        self.store = SecretStore(self.directory / "secrets.sqlite3")
        self.journal = Journal(self.directory / "ledger")
        self.kek_path = self.directory / "kek"
        self.kek = KekRotation.open(self.kek_path, True, holds_sealed=self.store.holds_sealed)
        self.service = KeyService(
            self.store,
            self.journal,
            Ballast(self.directory / "ballast"),
            self.kek,
            ClockSource(
                lambda: self.now_ms + self.wrong_ms,
                lambda: self.now_ms - START_MS,
                self.boot_id,
            ),
            limits=self.limits,
            rotation_ms=self.rotation_ms,
        )

    def close(self):
        self.service.close()

    def lose(self):
        """End without a clean stop."""
        self.journal.close()
        self.store.close()

    def pass_time(self, ms):
        self.now_ms += ms
        self.service.tend()

    def ask(self, *batch):
        return self.service.apply(batch)

    def issue(self, *triple):
        return self.ask(IssueKey(*triple))[0]

    def verify(self, key, *triple):
        return self.ask(VerifyKey(*triple, key))[0]

    def end(self, *triple):
        return self.ask(EndKey(*triple))[0]

    def admin(self, request):
        return self.service.administer(request)

    def secret(self, domain, number=1):
        """The secret itself, as a thief would have it."""
        return next(
            secret
            for facts, secret, *_ in self.store.load()
            if (facts.domain, facts.number) == (domain, number)
        )

    def forge(self, sender, target, stream, number=1):
        """The right key, made with the secret itself."""
        return KeyMaker(self.secret(sender, number)).key(key_message(sender, target, stream))

    def states(self, domain="capulet.example"):
        return [(each.number, each.state) for each in self.admin(ListVersions(domain)).versions]

    def alarms(self):
        return {(each.code, each.subject) for each in self.service._alarms.list()}
