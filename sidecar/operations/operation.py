"""An operation: what front ends need to know to offer it, and the function that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sidecar.keys.scopes import Scope
from sidecar.operations.caller import Call
from sidecar.operations.fields import Input, Output, Resource
from sidecar.operations.parts import Parts
from sidecar.operations.refusals import Refusal

I = TypeVar("I", bound=Input)  # noqa: E741
O = TypeVar("O", bound=Output)  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[I, O]):
    """One thing an operator can do.

    `subject` is the input's field with the domain of ours it is about, which the caller's token
    must be for. `for_all_domains`: a token for some domains does not open it at all. `acts`: it
    changes something. `once`: repeated with the same key, it is done once. `conditional`: it
    changes a resource only if `call.precondition` holds, which is asked where it is written.
    `creates`: what it changes may not be there yet, and its answer says so, in `created`.
    `refusals`: codes of its own, besides those of tokens and of malformed input. `secret`: its
    answer holds something told only once.
    """

    name: str
    summary: str
    description: str = ""
    scope: Scope
    input: type[I]
    output: type[O]
    handler: Callable[[Parts, Call, I], Awaitable[O]]
    subject: str | None = None
    for_all_domains: bool = False
    acts: bool = False
    once: bool = False
    conditional: bool = False
    creates: bool = False
    refusals: tuple[str, ...] = ()
    secret: bool = False

    @property
    def tagged(self) -> bool:
        """Whether its answer is a resource with an entity tag."""
        return issubclass(self.output, Resource)

    async def do(self, parts: Parts, call: Call, given: I) -> O:
        """Check that the caller may, and do it. Raises Refusal."""
        self.check(call)
        if self.subject is not None:
            call.caller.need_domain(getattr(given, self.subject))
        return await self.handler(parts, call, given)

    def check(self, call: Call) -> None:
        """Raises Refusal when the caller may not do it, whatever the input."""
        call.caller.need(self.scope)
        if self.for_all_domains and call.caller.domains is not None:
            raise Refusal("domain-not-permitted", "this is not about single domains")


AnyOperation = Operation[Any, Any]
