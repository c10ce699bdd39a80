"""API tokens: hashed, scoped, restricted, ended; and actions that are done once."""

import stat

import pytest
from key_house import House

from sidecar.keyd.bearer_desk import SCOPES
from sidecar.keys.messages import (
    AsBearer,
    Changed,
    ChangePolicy,
    CreateToken,
    Denied,
    Done,
    DryRun,
    GetPolicies,
    GetStatus,
    ImportSecret,
    IssueKey,
    JudgeKey,
    ListTokens,
    ListVersions,
    Refused,
    RevokeSecret,
    RevokeToken,
    RotateSecret,
    Status,
    TokenFacts,
    TokenList,
    TokenMade,
    VersionList,
    WhoBears,
)
from sidecar.keys.scopes import Scope
from sidecar.preconditions import NO_PRECONDITION

OURS, OTHER = "capulet.example", "verona.example"
REQUESTS = {
    ListVersions: ListVersions(OURS),
    GetPolicies: GetPolicies([OURS]),
    JudgeKey: JudgeKey(OURS, "montague.example", "S1", "b483"),
    ChangePolicy: ChangePolicy(OURS, {"rotate_ms": 3_600_000}, NO_PRECONDITION),
    GetStatus: GetStatus(),
    RotateSecret: RotateSecret(OURS),
    RevokeSecret: RevokeSecret(OURS),
    ImportSecret: ImportSecret(OURS, b"imported", 60),
    CreateToken: CreateToken("child", ["status:read"]),
    ListTokens: ListTokens(),
    RevokeToken: RevokeToken("000000000000"),
}


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    for domain in (OURS, OTHER):
        house.issue(domain, "montague.example", "S1")
    yield house
    house.close()


def made(house, *scopes, **options):
    reply = house.admin(CreateToken("test", [scope.value for scope in scopes], **options))
    assert isinstance(reply, TokenMade)
    return reply.token


def ask(house, token, request, **options):
    return house.admin(AsBearer(token, request, **options))


def test_token_is_told_once_and_stored_as_a_hash(house, tmp_path):
    token = made(house, Scope.STATUS_READ)
    assert token.startswith("dbs_") and len(token) == 47
    house.close()
    assert token.encode() not in (tmp_path / "secrets.sqlite3").read_bytes()
    house.open()
    facts = house.admin(WhoBears(token))
    assert isinstance(facts, TokenFacts)
    assert (facts.name, facts.scopes, facts.domains) == ("test", ["status:read"], None)


def test_every_request_that_a_token_can_open_has_its_sample():
    assert set(SCOPES) == set(REQUESTS)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("scope", Scope, ids=lambda scope: scope.value)
def test_request_needs_exactly_its_scope(house, kind, scope):
    token = made(house, scope, Scope.STATUS_READ if kind is CreateToken else scope)
    reply = ask(house, token, REQUESTS[kind])
    if scope in (SCOPES[kind], Scope.ADMIN):
        assert not isinstance(reply, Denied)
    else:
        assert reply == Denied("scope-missing")


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_token_of_other_domains_opens_nothing_here(house, kind):
    token = made(house, *(set(Scope) - {Scope.ADMIN}), domains=[OTHER])
    reply = ask(house, token, REQUESTS[kind])
    if kind in (ListTokens, RevokeToken):
        assert reply in (Denied("domain-not-permitted"), Refused("no-such-token"))
    else:
        assert reply == Denied("domain-not-permitted")


@pytest.mark.parametrize("kind", [ListVersions, RotateSecret])
def test_restricted_token_cannot_ask_for_all_domains(house, kind):
    token = made(house, Scope.SECRETS_READ, Scope.SECRETS_WRITE, domains=[OURS])
    assert ask(house, token, kind()) == Denied("domain-not-permitted")
    assert isinstance(ask(house, token, kind(OURS)), VersionList | Changed)


def test_token_that_expired_was_revoked_or_never_was_opens_nothing(house):
    brief = made(house, Scope.STATUS_READ, seconds=60)
    assert isinstance(ask(house, brief, GetStatus()), Status)
    house.pass_time(60_000)
    assert ask(house, brief, GetStatus()) == Denied("token-expired")
    ended = made(house, Scope.STATUS_READ)
    id_ = house.admin(WhoBears(ended)).id
    assert house.admin(RevokeToken(id_)) == Done()
    assert ask(house, ended, GetStatus()) == Denied("token-revoked")
    assert house.admin(RevokeToken(id_)) == Refused("no-such-token")
    assert ask(house, "dbs_nobody", GetStatus()) == Denied("token-unknown")


def test_revocation_and_last_use_survive_a_restart(house):
    token = made(house, Scope.STATUS_READ)
    house.pass_time(5000)
    id_ = house.admin(WhoBears(token)).id
    house.admin(RevokeToken(id_))
    house.close()
    house.open()
    assert house.admin(WhoBears(token)) == Denied("token-revoked")
    (facts,) = [each for each in house.admin(ListTokens()).tokens if each.id == id_]
    assert facts.last_use_ms == facts.created_ms + 5000


def test_nobody_makes_a_token_that_opens_more_than_their_own(house):
    token = made(house, Scope.TOKENS_WRITE, Scope.STATUS_READ, domains=[OURS])
    more = CreateToken("more", ["secrets:write"], domains=[OURS])
    everywhere = CreateToken("everywhere", ["status:read"])
    elsewhere = CreateToken("elsewhere", ["status:read"], domains=[OTHER])
    fitting = CreateToken("fitting", ["status:read"], domains=[OURS])
    assert ask(house, token, more) == Denied("scope-not-yours")
    assert ask(house, token, everywhere) == Denied("domain-not-permitted")
    assert ask(house, token, elsewhere) == Denied("domain-not-permitted")
    assert isinstance(ask(house, token, fitting), TokenMade)


def test_nobody_makes_a_token_that_outlives_their_own(house):
    token = made(house, Scope.TOKENS_WRITE, Scope.STATUS_READ, seconds=100)
    house.pass_time(50_000)
    for_good = CreateToken("for good", ["status:read"])
    longer = CreateToken("longer", ["status:read"], seconds=51)
    as_long = CreateToken("as long", ["status:read"], seconds=50)
    assert ask(house, token, for_good) == Denied("expiry-not-yours")
    assert ask(house, token, longer) == Denied("expiry-not-yours")
    assert isinstance(ask(house, token, as_long), TokenMade)


def test_an_administrators_token_is_made_on_the_machine_itself_only(house):
    token = made(house, Scope.ADMIN)
    assert ask(house, token, CreateToken("x", ["admin"])) == Denied("scope-not-yours")


def test_nobody_revokes_a_token_that_opens_more_than_their_own(house):
    admin = made(house, Scope.ADMIN)
    token = made(house, Scope.TOKENS_WRITE)
    admin_id = house.admin(WhoBears(admin)).id
    assert ask(house, token, RevokeToken(admin_id)) == Denied("scope-not-yours")
    own_id = house.admin(WhoBears(token)).id
    assert ask(house, token, RevokeToken(own_id)) == Done()


def test_lists_hold_no_token(house):
    token = made(house, Scope.ADMIN)
    listed = ask(house, token, ListTokens())
    assert isinstance(listed, TokenList)
    assert token not in str([list(vars_of(facts)) for facts in listed.tokens])


def vars_of(facts):
    return (getattr(facts, name) for name in facts.__struct_fields__)


ACTIONS = [RotateSecret(OURS), RotateSecret(), RevokeSecret(OURS), ImportSecret(OURS, b"x", 60)]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_dry_run_tells_what_the_action_then_does(house, action):
    token = made(house, Scope.ADMIN)
    before = house.states()
    told = ask(house, token, action, dry_run=True)
    assert house.admin(DryRun(action)) == told
    assert house.states() == before
    assert isinstance(told, Changed)
    done = ask(house, token, action)
    assert done == told
    assert house.states() != before


@pytest.mark.parametrize("kind", [ChangePolicy, CreateToken, RevokeToken])
def test_what_knows_no_dry_run_is_not_done_instead(house, kind):
    token = made(house, Scope.ADMIN)
    before = (house.admin(GetPolicies([OURS])), len(house.admin(ListTokens()).tokens))
    assert ask(house, token, REQUESTS[kind], dry_run=True) == Refused("no-dry-run")
    after = (house.admin(GetPolicies([OURS])), len(house.admin(ListTokens()).tokens))
    assert [each.etag for each in after[0].policies] == [each.etag for each in before[0].policies]
    assert after[1] == before[1]


def test_dry_run_refuses_what_the_action_would_refuse(house):
    token = made(house, Scope.ADMIN)
    for action in (RotateSecret("none.example"), RevokeSecret(OURS, 7)):
        refused = ask(house, token, action, dry_run=True)
        assert house.admin(DryRun(action)) == refused
        assert refused == ask(house, token, action)
        assert isinstance(refused, Refused)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
@pytest.mark.parametrize("how", ["running", "restarted", "killed"])
def test_repeat_key_does_it_once(house, action, how):
    token = made(house, Scope.ADMIN)
    first = ask(house, token, action, repeat_key="k1")
    states = house.states()
    if how != "running":
        house.close() if how == "restarted" else house.lose()
        house.open()
    again = ask(house, token, action, repeat_key="k1")
    assert isinstance(first, Changed)
    assert again == first
    assert house.states() == states
    ask(house, token, action, repeat_key="k2")
    assert house.states() != states


def test_revocation_of_a_shared_secret_is_done_once_and_whole(house):
    """What was imported to issue under is two versions, revoked in one transaction."""
    token = made(house, Scope.ADMIN)
    house.admin(ImportSecret(OURS, b"prosody's own", 60, issue=True))
    action = RevokeSecret(OURS)
    told = ask(house, token, action, dry_run=True)
    first = ask(house, token, action, repeat_key="k1")
    assert told == first == Changed(2, [(OURS, 2), (OURS, 3)], successor=4)
    house.lose()
    house.open()
    assert ask(house, token, action, repeat_key="k1") == first
    assert house.states() == [(1, "retired"), (2, "revoked"), (3, "revoked"), (4, "active")]


def test_repeat_key_is_for_one_request_of_one_token_and_one_day(house):
    token = made(house, Scope.ADMIN)
    ask(house, token, RotateSecret(OURS), repeat_key="k1")
    assert ask(house, token, RotateSecret(OTHER), repeat_key="k1") == Refused("repeat-key-reused")
    other = ask(house, made(house, Scope.ADMIN), RotateSecret(OURS), repeat_key="k1")
    assert other.versions == [(OURS, 3)]
    house.pass_time(86_400_001)
    assert isinstance(ask(house, token, RotateSecret(OTHER), repeat_key="k1"), Changed)


def test_what_is_noted_of_an_import_lets_nobody_guess_the_secret(house):
    """A hash of the request alone would tell, without the KEK, which guess is right."""
    for token in (made(house, Scope.ADMIN), made(house, Scope.ADMIN)):
        ask(house, token, REQUESTS[ImportSecret], repeat_key="k1")
    noted = [row for (row,) in house.store.database.execute("SELECT request FROM done")]
    assert len(set(noted)) == 2


def test_action_that_failed_is_not_noted_as_done(house):
    token = made(house, Scope.ADMIN)
    refused = ask(house, token, RotateSecret("none.example"), repeat_key="k1")
    assert refused == Refused("no-such-domain")
    house.ask(IssueKey("none.example", "montague.example", "S1"))
    assert isinstance(ask(house, token, RotateSecret("none.example"), repeat_key="k1"), Changed)


def test_first_start_writes_an_administrators_token_to_a_private_file(running_keyd):
    path = running_keyd.state / "admin-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text().strip()
    assert running_keyd.ask(WhoBears(token)).scopes == ["admin"]
    running_keyd.stop()
    running_keyd.start()
    assert path.read_text().strip() == token
    assert len(running_keyd.ask_admin(ListTokens()).tokens) == 1


def test_tokens_open_the_socket_of_the_sidecar(running_keyd):
    token = (running_keyd.state / "admin-token").read_text().strip()
    running_keyd.ask(IssueKey(OURS, "montague.example", "S1"))
    rotated = running_keyd.ask(AsBearer(token, RotateSecret(OURS), repeat_key="k"))
    assert rotated == Changed(1, [(OURS, 2)])
    running_keyd.kill()
    running_keyd.start()
    assert running_keyd.ask(AsBearer(token, RotateSecret(OURS), repeat_key="k")) == rotated


def test_no_token_is_in_the_log(running_keyd):
    token = (running_keyd.state / "admin-token").read_text().strip()
    running_keyd.ask(AsBearer(token, RotateSecret(OURS)))
    running_keyd.ask_admin(CreateToken("ci", ["status:read"]))
    running_keyd.stop()
    assert "dbs_" not in running_keyd.log.read_text()
