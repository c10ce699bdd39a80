"""`POST /v1/probes`: a report, for those who may, and only as a domain of ours."""

from __future__ import annotations

from pathlib import Path

from daemon_process import Daemon

PROBE = {"domain": "montague.invalid"}


async def test_probe_is_a_report_of_its_own_scope(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        token = await daemon.make_token("probes:run")
        answer = await daemon.ask("POST", "/v1/probes", token, json=PROBE)
        assert answer.status == 200
        assert (answer.content["domain"], answer.content["failed"]) == ("montague.invalid", True)
        assert "dns-failed" in [finding["rule"] for finding in answer.content["findings"]]
        other = await daemon.make_token("checks:run")
        assert (await daemon.ask("POST", "/v1/probes", other, json=PROBE)).status == 403


async def test_probe_as_a_domain_that_is_not_ours_is_refused_and_makes_no_secret(
    tmp_path: Path,
) -> None:
    async with Daemon(tmp_path) as daemon:
        body = {**PROBE, "sender": "verona.example"}
        answer = await daemon.ask("POST", "/v1/probes", json=body)
        assert (answer.status, answer.content["code"]) == (422, "not-our-domain")
        listed = await daemon.ask("GET", "/v1/domains")
        assert listed.content["items"] == []


async def test_token_for_one_domain_probes_as_that_domain_alone(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        token = await daemon.make_token("probes:run", domains=["capulet.example"])
        for sender, status in (("capulet.example", 200), ("a.capulet.example", 403), (None, 403)):
            body = {**PROBE, "sender": sender} if sender else PROBE
            answer = await daemon.ask("POST", "/v1/probes", token, json=body)
            assert answer.status == status, sender
