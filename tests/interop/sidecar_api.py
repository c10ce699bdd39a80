"""The admin API of a sidecar of the lab, asked as its administrator."""

from __future__ import annotations

from typing import Any

import aiohttp

from sidecar.lab.sidecar import Sidecar


async def api(sidecar: Sidecar, method: str, path: str, content: Any = None) -> Any:
    """Return what it answers; anything but a 200, or 201 for what is new, fails the test."""
    token = (sidecar.state_directory / "keyd" / "admin-token").read_text().strip()
    connector = aiohttp.UnixConnector(str(sidecar.state_directory / "api.sock"))
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession("http://localhost", connector=connector, headers=headers) as session,
        session.request(method, path, json=content) as response,
    ):
        answer = await response.json()
        assert response.status in (200, 201), answer
        return answer
