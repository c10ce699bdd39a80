from __future__ import annotations

import pytest

from sidecar.jobs import Outcome
from sidecar.s2s.failures import Failure, Reason, furthest


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_every_failure_is_an_error_with_its_condition_and_never_invalid(reason):
    assert Failure(reason).verdict.outcome is Outcome.ERROR
    assert Failure(reason).verdict.condition is reason.condition
    assert Failure(reason).verdict.reason == reason.code


def test_codes_are_unique():
    assert len({reason.code for reason in Reason}) == len(Reason)


def test_failure_that_came_further_counts_and_the_later_of_two_equal_ones():
    dns, tcp = Failure(Reason.DNS_TIMEOUT), Failure(Reason.CONNECT_REFUSED, "a")
    assert furthest(None, dns) is dns
    assert furthest(dns, tcp) is furthest(tcp, dns) is tcp
    later = Failure(Reason.CONNECT_REFUSED, "b")
    assert furthest(tcp, later) is later
