"""When versions are rotated."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.lifecycle import VersionFacts, rotation_due_ms
from sidecar.keys.rotation_schedule import RETRY_MS, RotationSchedule

DAY_MS = 86_400_000


def version(number, created_ms=0):
    return VersionFacts(number, f"d{number}.example", 1, "ledger", created_ms)


@given(st.integers(1, 10**9), st.integers(0, 10**13))
def test_version_is_due_at_its_age_ten_percent_more_or_less(number, created_ms):
    due_ms = rotation_due_ms(version(number, created_ms), DAY_MS, created_ms)
    assert 0.9 * DAY_MS <= due_ms - created_ms <= 1.1 * DAY_MS


def test_domains_that_began_together_do_not_rotate_together():
    due = {rotation_due_ms(version(number), DAY_MS, 0) // 60_000 for number in range(1000)}
    assert len(due) > 200


def test_version_from_the_future_counts_from_now():
    assert rotation_due_ms(version(1, created_ms=10**13), DAY_MS, 5) <= 5 + 1.1 * DAY_MS


def test_due_versions_come_in_order_so_many_at_a_time():
    schedule = RotationSchedule(lambda _: DAY_MS, lambda _: True)
    for number in range(10):
        schedule.add(version(number), 0)
    order = sorted(range(10), key=lambda number: rotation_due_ms(version(number), DAY_MS, 0))
    assert schedule.take_due(0, 4) == []
    assert schedule.take_due(2 * DAY_MS, 4) == order[:4]
    assert schedule.take_due(2 * DAY_MS, 40) == order[4:]
    assert schedule.next_ms() is None


def test_version_that_rotated_otherwise_is_skipped():
    active = {1, 2}
    schedule = RotationSchedule(lambda _: DAY_MS, active.__contains__)
    schedule.add(version(1), 0)
    schedule.add(version(2), 0)
    active.discard(1)
    assert schedule.next_ms() == rotation_due_ms(version(2), DAY_MS, 0)
    assert schedule.take_due(2 * DAY_MS, 9) == [2]


def test_period_that_changes_is_what_counts_from_then_on():
    period_ms = {"d1.example": DAY_MS, "d2.example": DAY_MS}
    schedule = RotationSchedule(period_ms.__getitem__, lambda _: True)
    schedule.add(version(1), 0)
    schedule.add(version(2), 0)
    period_ms.update({"d1.example": 10 * DAY_MS, "d2.example": DAY_MS // 10})
    schedule.add(version(1), 0)
    schedule.add(version(2), 0)
    assert schedule.take_due(DAY_MS // 5, 9) == [2]
    assert schedule.take_due(8 * DAY_MS, 9) == []
    period_ms["d1.example"] = DAY_MS
    schedule.add(version(1), 0)
    assert schedule.take_due(2 * DAY_MS, 9) == [1]
    assert schedule.take_due(100 * DAY_MS, 9) == []


def test_version_that_could_not_be_rotated_is_due_again_soon():
    schedule = RotationSchedule(lambda _: DAY_MS, lambda _: True)
    schedule.retry([7], 100)
    assert schedule.take_due(100, 9) == []
    assert schedule.take_due(100 + RETRY_MS, 9) == [7]
