"""Taking up a changed configuration file."""

from __future__ import annotations

from sidecar.keys.scopes import Scope
from sidecar.operations.caller import Call
from sidecar.operations.fields import Nothing, Output
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts, Reloaded
from sidecar.operations.refusals import Refusal


class ReloadResult(Output, frozen=True):
    """JIDs of links, and keys whose change takes a restart."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    restart_needed: list[str]


async def _reload(parts: Parts, call: Call, _: Nothing) -> ReloadResult:
    result = await parts.daemon.reload()
    if not isinstance(result, Reloaded):
        problems = [{"place": problem.place, "text": problem.text} for problem in result]
        raise Refusal(
            "config-invalid", "the configuration in use stays as it is", problems=problems
        )
    return ReloadResult(
        added=list(result.added),
        removed=list(result.removed),
        changed=list(result.changed),
        restart_needed=list(result.restart_needed),
    )


OPERATIONS = (
    Operation(
        name="reload",
        summary="Take up the configuration file",
        description="New links, domains and limits, without a lost handshake. A file that cannot "
        "be used changes nothing.",
        scope=Scope.CONFIG_WRITE,
        input=Nothing,
        output=ReloadResult,
        handler=_reload,
        for_all_domains=True,
        acts=True,
        refusals=("config-invalid",),
    ),
)
