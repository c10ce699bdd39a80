"""A key service for every test that needs one."""

import pytest
from keyd_process import KeydProcess


@pytest.fixture
def keyd(tmp_path):
    service = KeydProcess(tmp_path)
    yield service
    service.close()


@pytest.fixture
def running_keyd(keyd):
    keyd.start()
    return keyd
