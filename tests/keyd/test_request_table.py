"""The table denies what it does not name."""

import typing

import pytest

from sidecar.errors import InvalidValue
from sidecar.keyd.request_table import TABLE, Capability, NotPermitted, admit
from sidecar.keys.messages import (
    AsBearer,
    Backup,
    ChangePolicy,
    CreateToken,
    DryRun,
    EndKey,
    GetPolicies,
    GetStatus,
    ImportSecret,
    IssueKey,
    JudgeKey,
    ListTokens,
    ListVersions,
    Request,
    RevokeSecret,
    RevokeToken,
    RotateKek,
    RotateSecret,
    VerifyKey,
    WhoBears,
)
from sidecar.preconditions import NO_PRECONDITION, Precondition

TRIPLE = ("capulet.example", "montague.example", "S1")
SAMPLES = {
    IssueKey: IssueKey(*TRIPLE),
    VerifyKey: VerifyKey(*TRIPLE, "k"),
    EndKey: EndKey(*TRIPLE),
    ListVersions: ListVersions(),
    JudgeKey: JudgeKey(*TRIPLE, "k"),
    GetPolicies: GetPolicies(["capulet.example"]),
    ChangePolicy: ChangePolicy("capulet.example", {"max_entries": 5}, NO_PRECONDITION),
    RotateSecret: RotateSecret("capulet.example"),
    RevokeSecret: RevokeSecret("capulet.example"),
    ImportSecret: ImportSecret("capulet.example", b"secret", 60),
    DryRun: DryRun(RotateSecret("capulet.example")),
    RotateKek: RotateKek(),
    GetStatus: GetStatus(),
    Backup: Backup("/backup"),
    CreateToken: CreateToken("ci", ["status:read"]),
    ListTokens: ListTokens(),
    RevokeToken: RevokeToken("abc"),
    AsBearer: AsBearer("dbs_x", GetStatus()),
    WhoBears: WhoBears("dbs_x"),
}


def test_every_request_there_is_has_its_entry_and_its_sample():
    assert set(TABLE) == set(typing.get_args(Request)) == set(SAMPLES)


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("capability", Capability)
def test_request_needs_exactly_its_capability(kind, capability):
    if TABLE[kind][0] is capability:
        admit(SAMPLES[kind], frozenset({capability}))
    else:
        with pytest.raises(NotPermitted):
            admit(SAMPLES[kind], frozenset({capability}))


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_nothing_granted_permits_nothing(kind):
    with pytest.raises(NotPermitted):
        admit(SAMPLES[kind], frozenset())


def test_request_that_is_not_in_the_table_is_denied():
    with pytest.raises(NotPermitted):
        admit(object(), frozenset(Capability))


@pytest.mark.parametrize(
    "request_",
    [
        ListVersions("Capulet.example"),
        RotateSecret(""),
        RevokeSecret("capulet.example/x"),
        ImportSecret("capulet.example", b"", 60),
        ImportSecret("capulet.example", b"x" * 1025, 60),
        ImportSecret("xn--bcher-kva.example", b"x", 60),
        JudgeKey(*TRIPLE, ""),
        JudgeKey("Capulet.example", "montague.example", "S1", "k"),
        GetPolicies([]),
        GetPolicies(["capulet.example"] * 101),
        GetPolicies(["Capulet.example"]),
        ChangePolicy("Capulet.example", {}, NO_PRECONDITION),
        ChangePolicy("capulet.example", {"rotate_ms": 59_999}, NO_PRECONDITION),
        ChangePolicy("capulet.example", {"rotate_ms": 10**12}, NO_PRECONDITION),
        ChangePolicy("capulet.example", {"max_entries": 0}, NO_PRECONDITION),
        ChangePolicy("capulet.example", {"max_entries": 10**10}, NO_PRECONDITION),
        ChangePolicy("capulet.example", {}, Precondition(match=("a",) * 17)),
        ChangePolicy("capulet.example", {}, Precondition(none_match=("a" * 65,))),
        ChangePolicy("capulet.example", {}, Precondition(match=("",))),
        Backup("backup"),
        Backup("/backup\0"),
        CreateToken("", ["admin"]),
        CreateToken("ci", []),
        CreateToken("ci", ["root"]),
        CreateToken("ci", ["admin"], domains=[]),
        CreateToken("ci", ["admin"], domains=["Capulet.example"]),
        CreateToken("ci", ["admin"], seconds=0),
        RevokeToken("\n"),
        WhoBears(""),
        AsBearer("x" * 101, GetStatus()),
        AsBearer("x", GetStatus(), repeat_key=""),
        AsBearer("x", RotateSecret("")),
        DryRun(RotateSecret("")),
        DryRun(ImportSecret("capulet.example", b"", 60)),
    ],
)
def test_operators_fields_are_checked_too(request_):
    with pytest.raises(InvalidValue):
        admit(request_, frozenset(Capability))
