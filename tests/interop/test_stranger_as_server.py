"""Whoever binds the component port while the server is down learns nothing and gets nothing.

The stranger lets the sidecar in without knowing the component secret, and asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from host_servers import CAPULET
from link_requests import NAMESPACE, every_job, request
from raw_component import FakeServer, ask
from raw_stream import RawStream, condition

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.network import Network
from sidecar.lab.output import Output
from sidecar.lab.sidecar import Sidecar, SidecarLink, SidecarSettings

LINK = "dialback.stranger.example"
SECRET = "the secret nobody told the stranger"


@dataclass
class Stranger:
    stream: RawStream
    sidecar: Sidecar

    @property
    def output(self) -> Output:
        return self.sidecar.output


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stranger() -> AsyncIterator[Stranger]:
    address = fresh_address()
    (port,) = free_ports(address)
    async with Network() as network, FakeServer(address, port) as fake:
        link = SidecarLink(LINK, address, port, SECRET, [CAPULET])
        sidecar = await network.sidecar(SidecarSettings([link]))
        yield Stranger(await fake.component(), sidecar)


@pytest.mark.parametrize("job", every_job())
async def test_server_that_knows_the_secret_is_served(stranger: Stranger, job: str) -> None:
    """The same requests as below, made by the real server, so that those fail for their MAC."""
    iq, id = request(job, every_job()[job], sender=CAPULET, to=LINK, secret=SECRET)
    answer = await ask(stranger.stream, iq, id)
    assert answer.get("type") == "result"
    expected = {"issue": "key", "report": "received"}.get(job, "verdict")
    assert answer[0].tag == f"{{{NAMESPACE}}}{expected}"


@pytest.mark.parametrize("job", every_job())
@pytest.mark.parametrize("secret", [None, "", "a guess"], ids=["none", "empty", "wrong"])
async def test_stranger_gets_no_answer_with_any_other_secret(
    stranger: Stranger, job: str, secret: str | None
) -> None:
    before = stranger.output.mark()
    iq, id = request(job, every_job()[job], sender=CAPULET, to=LINK, secret=secret)
    await assert_refused(stranger, iq, id, before)


@pytest.mark.parametrize("job", every_job())
async def test_mac_of_one_request_is_good_for_no_other(stranger: Stranger, job: str) -> None:
    signed, id = request(job, every_job()[job], sender=CAPULET, to=LINK, secret=SECRET)
    before = stranger.output.mark()
    changes = {
        "another id": (f"id='{id}'", f"id='{id[::-1]}'"),
        "another peer": ("montague.example", "mallory.example"),
        "another stream": ("D60000229F", "D60000229E"),
        "more time": ("remaining='3000'", "remaining='9000'"),
    }
    for old, new in changes.values():
        changed = signed.replace(old, new)
        if changed != signed:
            used = id[::-1] if old.startswith("id=") else id
            await assert_refused(stranger, changed, used, before)


@pytest.mark.parametrize("job", every_job())
@pytest.mark.parametrize("sender", ["verona.example", f"juliet@{CAPULET}", f"{CAPULET}/x", LINK])
async def test_only_a_bare_domain_of_the_link_may_ask(
    stranger: Stranger, job: str, sender: str
) -> None:
    """Refused even with the right MAC."""
    before = stranger.output.mark()
    iq, id = request(job, every_job()[job], sender=sender, to=LINK, secret=SECRET)
    await assert_refused(stranger, iq, id, before)


@pytest.mark.parametrize("job", every_job())
async def test_domain_of_another_link_is_not_spoken_for(stranger: Stranger, job: str) -> None:
    before = stranger.output.mark()
    inside = every_job(local="verona.example")[job]
    iq, id = request(job, inside, sender=CAPULET, to=LINK, secret=SECRET)
    await assert_refused(stranger, iq, id, before)


async def test_check_of_a_domain_of_the_same_link_is_refused(stranger: Stranger) -> None:
    before = stranger.output.mark()
    inside = every_job(remote=CAPULET)["check"]
    iq, id = request("check", inside, sender=CAPULET, to=LINK, secret=SECRET)
    await assert_refused(stranger, iq, id, before)


async def assert_refused(stranger: Stranger, iq: str, id: str, before: int) -> None:
    answer = await ask(stranger.stream, iq, id)
    assert (answer.get("type"), condition(answer)) == ("error", "forbidden")
    assert not [element for element in answer.iter() if NAMESPACE in element.tag]
    assert stranger.output.find(r"\b(issue|verify|check) [^ ]+ -> [^ :]+ ", before) == []
