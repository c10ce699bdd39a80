from __future__ import annotations

from collections import Counter
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from sidecar.s2s.srv import MAX_TARGETS, SrvRecord, Target, order

records = st.builds(
    SrvRecord,
    priority=st.integers(0, 3),
    weight=st.integers(0, 5),
    port=st.integers(1, 3),
    target=st.sampled_from(["a.example", "b.example", "c.example", "d.example"]),
    direct_tls=st.booleans(),
)


def names(*found: SrvRecord, random: float = 0.0) -> list[str]:
    return [target.name for target in order(found, lambda: random)]


def test_both_services_are_merged_by_priority():
    found = [
        SrvRecord(20, 0, 5269, "plain.example"),
        SrvRecord(10, 0, 443, "direct.example", direct_tls=True),
        SrvRecord(5, 0, 5269, "best.example"),
    ]
    assert order(found, lambda: 0.0) == (
        Target("best.example", 5269),
        Target("direct.example", 443, direct_tls=True),
        Target("plain.example", 5269),
    )


def test_weights_decide_by_their_running_sum():
    heavy, light = SrvRecord(0, 90, 1, "heavy.example"), SrvRecord(0, 10, 1, "light.example")
    assert names(heavy, light, random=0.0) == ["light.example", "heavy.example"]
    assert names(heavy, light, random=0.2) == ["heavy.example", "light.example"]


def test_share_of_first_choices_is_the_share_of_the_weight():
    found = [SrvRecord(0, 30, 1, "a.example"), SrvRecord(0, 70, 1, "b.example")]
    draws = cycle([n / 1000 for n in range(1000)])
    first = Counter(order(found, lambda: next(draws))[0].name for _ in range(1000))
    assert 650 < first["b.example"] < 750


def test_weight_zero_is_chosen_last_but_for_the_lowest_draw():
    found = [SrvRecord(0, 0, 1, "zero.example"), SrvRecord(0, 10, 1, "ten.example")]
    assert names(*found, random=0.0)[0] == "zero.example"
    assert names(*found, random=0.1)[0] == "ten.example"


@given(st.lists(records, max_size=20), st.floats(0, 1, exclude_max=True))
def test_each_target_comes_once_by_priority_and_no_more_than_allowed(found, random):
    """Invariant: the result is the distinct targets in order of priority, cut at the limit."""
    targets = order(found, lambda: random)
    assert len(set(targets)) == len(targets) <= MAX_TARGETS
    best = {
        target: min(r.priority for r in found if (r.target, r.port, r.direct_tls) == tuple_of)
        for target in targets
        for tuple_of in [(target.name, target.port, target.direct_tls)]
    }
    assert [best[target] for target in targets] == sorted(best.values())
    distinct = {(r.target, r.port, r.direct_tls) for r in found}
    assert len(targets) == min(MAX_TARGETS, len(distinct))
