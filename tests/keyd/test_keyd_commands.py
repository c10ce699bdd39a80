"""The commands of an operator against a running keyd."""

import hashlib
import json

import pytest
from click.testing import CliRunner
from keyd_process import KeydProcess

from sidecar.cli import main
from sidecar.errors import KeyServiceUnavailable
from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.keys.messages import (
    Backup,
    Changed,
    ChangePolicy,
    CreateToken,
    Denied,
    GetPolicies,
    ImportSecret,
    IssueKey,
    RevokeSecret,
    RevokeToken,
    VerifyKey,
    WhoBears,
)
from sidecar.preconditions import NO_PRECONDITION

TRIPLE = ("capulet.example", "montague.example", "S1")


def run(keyd, *arguments, input=None):
    command = [*arguments, "--admin-socket", str(keyd.admin_socket)]
    return CliRunner().invoke(main, command, input=input)


def status_of(keyd):
    return json.loads(run(keyd, "status", "--json").output)["key_service"]


def test_list_shows_every_version_and_no_secret(running_keyd):
    running_keyd.ask(IssueKey(*TRIPLE))
    assert (
        "capulet.example: version 2 issues now\n"
        == run(running_keyd, "secret", "rotate", "capulet.example").output
    )
    shown = run(running_keyd, "secret", "list")
    assert shown.exit_code == 0
    heading, first, second = shown.output.splitlines()
    assert heading.split()[:4] == ["domain", "no", "state", "uses"]
    assert first.split()[:4] == ["capulet.example", "1", "retired", "1"]
    assert first.rstrip().endswith("goes with its last key")
    assert second.split()[:4] == ["capulet.example", "2", "active", "0"]
    listed = json.loads(run(running_keyd, "secret", "list", "capulet.example", "--json").output)
    (found,) = listed["items"]
    assert found["domain"] == "capulet.example"
    assert [(each["number"], each["state"], each["uses"]) for each in found["versions"]] == [
        (1, "retired", 1),
        (2, "active", 0),
    ]
    assert not {"secret", "sealed"} & set(found["versions"][0])


def test_revoke_takes_effect_with_its_answer(running_keyd):
    key = running_keyd.ask(IssueKey(*TRIPLE)).key
    ran = run(running_keyd, "secret", "revoke", "Capulet.Example")
    assert ran.output == "capulet.example: version 1 revoked, version 2 issues now\n"
    assert running_keyd.ask(VerifyKey(*TRIPLE, key)).reason == "version-revoked"


def test_revoke_says_which_version_went_and_which_one_issues(running_keyd):
    running_keyd.ask(IssueKey(*TRIPLE))
    run(running_keyd, "secret", "rotate", "--all")

    def revoke(*arguments):
        return run(running_keyd, "secret", "revoke", "capulet.example", *arguments).output

    assert revoke("--version", "1") == "capulet.example: version 1 revoked\n"
    assert revoke("--version", "2") == "capulet.example: version 2 revoked, version 3 issues now\n"
    assert revoke() == "capulet.example: version 3 revoked, version 4 issues now\n"


def test_rotation_of_all_domains_goes_on_where_it_ended(running_keyd):
    names = sorted(f"d{number}.example" for number in range(120))
    for name in names:
        running_keyd.ask(IssueKey(name, "t.example", "S"))
    lines = run(running_keyd, "secret", "rotate", "--all", "--after", names[9]).output.splitlines()
    assert lines[0] == f"{names[10]}: version 2 issues now"
    assert lines[-1] == "... 110 domains in all"
    assert len(lines) == 101
    changed = json.loads(run(running_keyd, "secret", "rotate", "--all", "--json").output)
    assert changed["count"] == len(changed["versions"]) == 120
    ran = run(running_keyd, "secret", "rotate", names[0], "--after", names[1])
    assert ran.exit_code == 2


def test_rotation_of_all_domains_that_ends_early_says_how_to_go_on(running_keyd, monkeypatch):
    def ask(path, request):
        if request.after:
            raise KeyServiceUnavailable("its disk is full")
        return Changed(1, [("a.example", 2)], after="a.example")

    monkeypatch.setattr("sidecar.cli.keyd_option.ask", ask)
    ran = run(running_keyd, "secret", "rotate", "--all")
    assert ran.exit_code == 1
    assert "1 domains are done; go on with --all --after a.example" in ran.output


def test_import_to_issue_says_so_and_its_revocation_names_both(running_keyd):
    command = ["secret", "import", "capulet.example", "--secret-file", "-", "--issue"]
    assert run(running_keyd, *command, input="prosody's own").output == (
        "capulet.example: version 1 imported, trusted for 7 days, version 2 issues under it now\n"
    )
    assert run(running_keyd, "secret", "revoke", "capulet.example").output == (
        "capulet.example: versions 1 and 2 revoked, version 3 issues now\n"
    )


@pytest.mark.parametrize(
    ("action", "would", "does"),
    [
        (["rotate", "capulet.example"], "version 2 would issue", "version 2 issues now"),
        (["rotate", "--all"], "version 2 would issue", "version 2 issues now"),
        (
            ["revoke", "capulet.example"],
            "version 1 would be revoked, version 2 would issue",
            "version 1 revoked, version 2 issues now",
        ),
        (
            ["import", "capulet.example", "--secret-file", "-", "--issue", "--days", "1"],
            "version 2 would be imported, trusted for 1 day, version 3 would issue under it",
            "version 2 imported, trusted for 1 day, version 3 issues under it now",
        ),
    ],
    ids=lambda words: " ".join(words),
)
def test_dry_run_says_what_would_be_done_and_does_nothing(running_keyd, action, would, does):
    def versions():
        return run(running_keyd, "secret", "list").output

    running_keyd.ask(IssueKey(*TRIPLE))
    before = versions()
    dry = run(running_keyd, "secret", *action, "--dry-run", input="prosody's own")
    assert dry.output == f"capulet.example: {would}\n(a dry run: nothing was done)\n"
    told = json.loads(
        run(running_keyd, "secret", *action, "--dry-run", "--json", input="prosody's own").output
    )
    assert versions() == before
    assert told["dry_run"] is True
    done = run(running_keyd, "secret", *action, input="prosody's own")
    assert done.output == f"capulet.example: {does}\n"
    assert versions() != before
    assert [each["domain"] for each in told["versions"]] == ["capulet.example"] * told["count"]


@pytest.mark.parametrize(
    ("arguments", "given", "secret"),
    [
        (["--secret-file", "-"], "prosody's own\n", b"prosody's own"),
        (["--cookie-file", "-"], "COOKIE", hashlib.sha1(b"COOKIE").hexdigest().encode()),
    ],
)
def test_import_makes_native_keys_verify_and_never_shows_the_secret(
    running_keyd, arguments, given, secret
):
    command = ["secret", "import", "capulet.example", "--days", "3", *arguments]
    ran = run(running_keyd, *command, input=given)
    assert ran.exit_code == 0, ran.output
    assert ran.output == "capulet.example: version 1 imported, trusted for 3 days\n"
    native = KeyMaker(secret).key(b"montague.example capulet.example S1")
    assert running_keyd.ask(VerifyKey(*TRIPLE, native)).outcome == "valid"
    shown = run(running_keyd, "secret", "list", "--json").output
    shown += run(running_keyd, "status").output + ran.output + running_keyd.log.read_text()
    assert given.strip() not in shown
    assert secret.decode() not in shown
    assert "secrets that were imported are trusted without the ledger" in " ".join(shown.split())


def test_status_shows_store_versions_and_alarms(running_keyd):
    running_keyd.ask(IssueKey(*TRIPLE))
    shown = run(running_keyd, "status")
    assert shown.exit_code == 0
    assert {"domains 1", "versions 1", "live keys 1"} <= {
        " ".join(line.split()) for line in shown.output.splitlines()
    }
    fields = status_of(running_keyd)
    assert fields["alarms"] == []
    assert fields["kek_id"] in shown.output


def test_kek_rotates_by_command(running_keyd):
    running_keyd.ask(IssueKey(*TRIPLE))
    before = (running_keyd.state / "kek").read_text()
    assert run(running_keyd, "kek", "rotate").output.startswith("under way; ")
    while status_of(running_keyd)["rewrapping"]:
        pass
    after = (running_keyd.state / "kek").read_text()
    assert after != before
    assert len(after.split()) == 1


def test_backup_to_a_place_that_will_not_do_is_refused_by_name_without_alarm(
    running_keyd, tmp_path
):
    running_keyd.ask(IssueKey(*TRIPLE))
    for place in (tmp_path / "missing" / "backup", running_keyd.log / "backup"):
        ran = run(running_keyd, "backup", str(place))
        assert ran.exit_code == 1
        assert ran.output == f"error: the key service finds no such directory: {place}\n"
    place = tmp_path / ("b" * 300)
    ran = run(running_keyd, "backup", str(place))
    assert ran.output == f"error: the key service's user cannot write there: {place}\n"
    assert status_of(running_keyd)["alarms"] == []


def test_restored_backup_has_a_new_secret_for_each_domain_and_no_ledger(running_keyd, tmp_path):
    key = running_keyd.ask(IssueKey(*TRIPLE)).key
    running_keyd.ask(IssueKey("mantua.example", "montague.example", "S1"))
    own = ChangePolicy("mantua.example", {"max_entries": 7}, NO_PRECONDITION)
    policy = running_keyd.ask_admin(own)
    file = tmp_path / "backup"
    assert run(running_keyd, "backup", str(file)).exit_code == 0
    again = run(running_keyd, "backup", str(file))
    assert again.output == f"error: that file exists: {file}\n"
    running_keyd.stop()

    second = KeydProcess(tmp_path)
    second.state = tmp_path / "restored"
    second.admin_socket = second.state / "admin.sock"
    second.start("--restore", str(file), wait=False)
    assert second.process.wait(30) == 1
    assert "put it back" in second.log.read_text()
    (second.state / "kek").write_bytes((running_keyd.state / "kek").read_bytes())
    (second.state / "kek").chmod(0o600)
    second.start("--restore", str(file), wait=False)
    assert second.process.wait(30) == 0
    second.start()
    listed = json.loads(run(second, "secret", "list", "--json").output)
    assert [
        (found["domain"], each["number"], each["state"])
        for found in listed["items"]
        for each in found["versions"]
    ] == [
        ("capulet.example", 1, "retired"),
        ("capulet.example", 2, "active"),
        ("mantua.example", 1, "retired"),
        ("mantua.example", 2, "active"),
    ]
    assert second.ask(VerifyKey(*TRIPLE, key)).reason == "key-forgotten"
    assert second.ask(GetPolicies(["mantua.example"])).policies == [policy]
    second.stop()
    second.start("--restore", str(file), wait=False)
    assert second.process.wait(30) == 1
    assert "there is a store already" in second.log.read_text()


def test_restored_backup_brings_back_nothing_that_was_revoked_since(running_keyd, tmp_path):
    """An imported secret and an API token, each revoked after the backup was made."""
    native = KeyMaker(b"in prosody.cfg.lua").key(key_message(*TRIPLE))
    imported = ImportSecret("capulet.example", b"in prosody.cfg.lua", 86_400)
    assert running_keyd.ask_admin(imported).count == 1
    assert running_keyd.ask(VerifyKey(*TRIPLE, native)).outcome == "valid"
    made = running_keyd.ask_admin(CreateToken("ci", ["status:read"]))
    running_keyd.ask_admin(Backup(str(tmp_path / "backup")))
    running_keyd.ask_admin(RevokeSecret("capulet.example", 1))
    running_keyd.ask_admin(RevokeToken(made.facts.id))
    running_keyd.stop()
    running_keyd.state.joinpath("secrets.sqlite3").unlink()
    running_keyd.start("--restore", str(tmp_path / "backup"), wait=False)
    assert running_keyd.process.wait(30) == 0
    running_keyd.start()
    assert running_keyd.ask(VerifyKey(*TRIPLE, native)).outcome == "invalid"
    assert running_keyd.ask(WhoBears(made.token)) == Denied("token-unknown")
    token = (running_keyd.state / "admin-token").read_text().strip()
    assert running_keyd.ask(WhoBears(token)).scopes == ["admin"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["secret", "rotate"],
        ["secret", "rotate", "capulet.example", "--all"],
        ["secret", "rotate", "not a domain"],
        ["secret", "revoke", "capulet.example", "--version", "0"],
        ["secret", "import", "capulet.example"],
        ["secret", "import", "capulet.example", "--secret-file", "-", "--days", "31"],
        ["secret", "import", "capulet.example", "--secret-file", "-"],
    ],
)
def test_command_that_makes_no_sense_ends_with_status_2(keyd, arguments):
    assert run(keyd, *arguments, input="").exit_code == 2


@pytest.mark.parametrize("words", [["rotate"], ["list"], ["list", "--json"]], ids=" ".join)
def test_refusal_is_told_in_words_with_status_1(running_keyd, words):
    ran = run(running_keyd, "secret", *words, "stranger.example")
    assert ran.exit_code == 1
    assert ran.output == "error: that domain has no secret; see `secret list`\n"


def test_key_service_that_is_not_there_is_told_with_status_1(keyd):
    ran = run(keyd, "status")
    assert ran.exit_code == 1
    assert "there is no such socket; is dialback-keyd running" in ran.output
