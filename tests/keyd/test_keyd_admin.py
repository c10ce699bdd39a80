"""The admin socket, and what each socket refuses."""

from keyd_process import KeydProcess

from sidecar.keys.messages import (
    Changed,
    GetStatus,
    IssueKey,
    ListVersions,
    RevokeSecret,
    RotateSecret,
    Status,
    VerifyKey,
)

TRIPLE = ("capulet.example", "montague.example", "S1")


def test_operator_rotates_and_revokes_over_the_admin_socket(running_keyd):
    key = running_keyd.ask(IssueKey(*TRIPLE)).key
    assert running_keyd.ask_admin(RotateSecret("capulet.example")) == Changed(
        1, [("capulet.example", 2)]
    )
    running_keyd.ask_admin(RevokeSecret("capulet.example", 1))
    assert running_keyd.ask(VerifyKey(*TRIPLE, key)).outcome == "invalid"
    listed = running_keyd.ask_admin(ListVersions("capulet.example")).versions
    assert [version.state for version in listed] == ["revoked", "active"]


def test_each_socket_refuses_what_belongs_to_the_other(running_keyd):
    with running_keyd.connection() as wire:
        wire.send([(1, RotateSecret("capulet.example"))])
        assert wire.is_closed_by_peer()
    with running_keyd.connection(running_keyd.admin_socket) as wire:
        wire.send([(1, IssueKey(*TRIPLE))])
        assert wire.is_closed_by_peer()
    assert isinstance(running_keyd.ask_admin(GetStatus()), Status)


def test_killed_while_rotating_the_next_start_has_one_active_version(keyd: KeydProcess):
    for _ in range(5):
        keyd.start()
        keyd.ask(IssueKey(*TRIPLE))
        with keyd.connection(keyd.admin_socket) as wire:
            wire.send([(n, RotateSecret("capulet.example")) for n in range(5)])
            wire.receive(1)
            keyd.kill()
    keyd.start()
    listed = keyd.ask_admin(ListVersions("capulet.example")).versions
    assert [version.state for version in listed].count("active") == 1
    assert listed[-1].state == "active"
