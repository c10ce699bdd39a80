"""Trying a remote domain step by step, from where the daemon is."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from sidecar.keys.scopes import Scope
from sidecar.names import Domain
from sidecar.operations.caller import Call
from sidecar.operations.fields import DomainName, Input
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts
from sidecar.operations.probe_report import ProbeReport
from sidecar.operations.refusals import Refusal


class ProbeInput(Input, frozen=True):
    domain: Annotated[DomainName, Meta(description="the domain to try")]
    sender: Annotated[
        Domain | None,
        Meta(description="a domain of ours: prove it to the other server by dialback"),
    ] = None


async def _probe(parts: Parts, call: Call, given: ProbeInput) -> ProbeReport:
    sender = given.sender
    if sender is not None and not parts.daemon.speaks_for(sender):
        raise Refusal("not-our-domain", str(sender), field="sender")
    report = await parts.probes.probe(given.domain, sender)
    if report is None:
        raise Refusal("too-many-probes")
    return report


OPERATIONS = (
    Operation(
        name="probes-run",
        summary="Try a remote domain step by step, as a server would",
        description="With `sender` it also dials back to the end, as that domain of ours.",
        scope=Scope.PROBES_RUN,
        input=ProbeInput,
        output=ProbeReport,
        handler=_probe,
        subject="sender",
        acts=True,
        refusals=("not-our-domain", "too-many-probes"),
    ),
)
