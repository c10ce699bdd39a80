"""A key service for every test that needs one."""

import subprocess

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


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB of our own."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "none", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)
