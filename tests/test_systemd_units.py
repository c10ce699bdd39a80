"""The shipped systemd units: how much they leave exposed."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from sidecar.config.authority_rules import PORT, TLS_PORT
from sidecar.config.types import AdminConfig
from sidecar.lab.faults import Missing

UNITS = Path(__file__).parent.parent / "contrib" / "systemd"


@pytest.mark.parametrize("unit", ["dialback-keyd.service", "dialback-sidecar.service"])
def test_unit_leaves_at_most_1_5_exposed(unit):
    if shutil.which("systemd-analyze") is None:
        raise Missing("systemd-analyze", "systemd")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / unit)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ran.stdout)
    assert found is not None, ran.stderr
    assert float(found[1]) <= 1.5


def test_units_name_one_user_each_and_the_socket_belongs_to_the_asking_one():
    settings = {
        path.name: dict(
            line.split("=", 1)
            for line in path.read_text().splitlines()
            if "=" in line and not line.startswith(("#", " "))
        )
        for path in UNITS.iterdir()
    }
    assert settings["dialback-keyd.service"]["User"] == "dialback-keyd"
    assert settings["dialback-sidecar.service"]["User"] == "dialback-sidecar"
    socket = settings["dialback-keyd.socket"]
    assert (socket["SocketUser"], socket["SocketMode"]) == ("dialback-sidecar", "0600")
    assert f"--socket {socket['ListenStream']}" in (UNITS / "dialback-keyd.service").read_text()


def test_unit_lets_the_daemon_bind_the_ports_of_its_admin_api_and_its_authority():
    unit = (UNITS / "dialback-sidecar.service").read_text()
    ports = {address.rpartition(":")[2] for address in AdminConfig().listen}
    ports |= {str(PORT), str(TLS_PORT)}
    assert set(re.findall(r"^SocketBindAllow=tcp:(\d+)$", unit, re.MULTILINE)) == ports


@pytest.mark.parametrize("unit", ["dialback-keyd.service", "dialback-sidecar.service"])
def test_unit_finds_its_program_where_it_is_installed(unit):
    """A bare name: systemd.service(5) looks in /usr/local/bin first, then in /usr/bin."""
    (command,) = re.findall(r"^ExecStart=(\S+)", (UNITS / unit).read_text(), re.MULTILINE)
    assert command == unit.removesuffix(".service")


def test_configuration_to_paste_from_the_readme_names_the_socket_of_the_unit():
    readme = (UNITS.parents[1] / "README.md").read_text()
    toml = tomllib.loads(readme.split("sidecar.toml <<'TOML'\n")[1].split("TOML\n")[0])
    (path,) = re.findall(
        r"^ListenStream=(\S+)$", (UNITS / "dialback-keyd.socket").read_text(), re.MULTILINE
    )
    assert toml["keyd"]["socket"] == path
    (lua,) = re.findall(r"<<LUA\n(.*?)LUA\n", readme, re.DOTALL)
    assert lua.startswith(f'Component "{toml["link"][0]["jid"]}"\n')
