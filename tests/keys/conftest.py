"""A ledger to ask, for every test that needs one."""

import pytest
from ledger_desk import Desk


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def make_desk():
    return Desk
