"""Looking at a key: nothing is used up, nothing counted, a leak is an alarm all the same."""

import pytest
from key_house import House

from sidecar.keys.ledger import NEVER_ISSUED, STATELESS, VALID
from sidecar.keys.messages import GetStatus, ImportSecret, JudgeKey, ListVersions

TRIPLE = ("capulet.example", "montague.example", "S1")
ELSEWHERE = ("capulet.example", "montague.example", "S2")


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def test_looking_is_neither_journaled_nor_counted(house):
    key = house.issue(*TRIPLE).key
    assert house.admin(JudgeKey(*TRIPLE, key)) is VALID
    assert house.admin(GetStatus()).judged == {}
    house.lose()
    house.open()
    house.pass_time(100_000)  # had it been used, a repeat would be a replay by now
    assert house.verify(key, *TRIPLE) is VALID


def test_use_of_an_imported_secret_is_not_counted(house):
    house.issue(*TRIPLE)
    house.admin(ImportSecret("capulet.example", b"out of prosody.cfg.lua", 60))
    key = house.forge(*ELSEWHERE, number=2)
    assert house.admin(JudgeKey(*ELSEWHERE, key)) is STATELESS
    assert [each.uses for each in house.admin(ListVersions("capulet.example")).versions] == [1, 0]


def test_key_that_was_never_issued_is_an_alarm(house):
    house.issue(*TRIPLE)
    key = house.forge(*ELSEWHERE)
    assert house.admin(JudgeKey(*ELSEWHERE, key)) is NEVER_ISSUED
    assert ("key-never-issued", "capulet.example") in house.alarms()
