"""The API of a real daemon."""

from __future__ import annotations

import json
from pathlib import Path

from daemon_process import LINK_JID, Daemon
from prometheus_client.parser import text_string_to_metric_families


async def test_daemon_is_alive_but_not_ready_without_its_server(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        status, _ = await daemon.get("/healthz")
        assert status == 200
        status, text = await daemon.get("/readyz")
        parts = json.loads(text)["parts"]
        assert (status, parts) == (503, {"key service": True, f"link {LINK_JID}": False})
        status, text = await daemon.get("/metrics")
        up = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in ("dialback_link_up", "dialback_key_service_up")
        }
        assert up == {"dialback_link_up": 0, "dialback_key_service_up": 1}
    assert not daemon.socket.exists()
