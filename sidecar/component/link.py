"""The supervisor of one component link: connects, answers, and connects again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element

from sidecar.component.admission import Admission, Admitted, AdmittedBatch, Refused
from sidecar.component.answerer import Answerer
from sidecar.component.backoff import BackOff
from sidecar.component.connect import connect
from sidecar.component.faults import NO_HANDSHAKE, Fault, connect_fault
from sidecar.component.keep_alive import KeepAlive
from sidecar.component.refusal_log import RefusalLog
from sidecar.component.state import LinkState, Phase
from sidecar.component.stream import UNREAD_SECONDS, ComponentStream
from sidecar.component.work import Limits, Work
from sidecar.config import LinkConfig
from sidecar.names import Domain
from sidecar.protocol.link_mac import LinkKey
from sidecar.protocol.link_replies import render_refusal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient a link is. `stable_seconds` up makes the next retry a quick one again."""

    connect_seconds: float = 10.0
    handshake_seconds: float = 10.0
    first_retry_seconds: float = 0.5
    retry_cap_seconds: float = 30.0
    stable_seconds: float = 30.0
    quiet_seconds: float = 30.0
    ping_answer_seconds: float = 10.0
    unread_seconds: float = UNREAD_SECONDS
    close_seconds: float = 1.0


_LIMITS, _TIMING = Limits(), Timing()


class Link:
    """One link. `run` it as a task; `stop` ends it in order, cancelling ends it at once."""

    def __init__(
        self,
        config: LinkConfig,
        answerer: Answerer,
        *,
        limits: Limits = _LIMITS,
        timing: Timing = _TIMING,
        draw: Callable[[], float] = random.random,
    ) -> None:
        key = LinkKey(config.secret.reveal())
        clock = time.monotonic
        self._config = config
        self._timing = timing
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._admission = Admission(config.jid, config.domains, key)
        self._work = Work(answerer, key, limits, clock, self._counts)
        self._refusals = RefusalLog(config.name, clock)
        self._back_off = BackOff(draw, timing.first_retry_seconds, timing.retry_cap_seconds)
        self._keep_alive = KeepAlive(
            config.jid,
            first_guess=_first_name(config),
            quiet_seconds=timing.quiet_seconds,
            answer_seconds=timing.ping_answer_seconds,
            clock=clock,
        )
        self._stream: ComponentStream | None = None
        self._stopped = asyncio.Event()
        self._stopping = False
        self._phase, self._since = Phase.CONNECTING, time.time()
        self._last_fault: Fault | None = None
        self._announced: Fault | None = None

    @property
    def state(self) -> LinkState:
        """The link at this moment."""
        return LinkState(
            jid=self._config.jid,
            phase=self._phase,
            since_seconds=self._since,
            connected_since_seconds=self._since if self._phase is Phase.CONNECTED else None,
            last_fault=self._last_fault,
            in_work=len(self._work),
            counts=dict(self._counts),
        )

    def take_up(self, config: LinkConfig, limits: Limits) -> None:
        """Speak for other domains, with other limits, from now on and on the same connection."""
        self._config = config
        self._admission.take_up(config.domains)
        self._work.limits = limits

    async def run(self) -> None:
        """Keep the link up until `stop` or cancellation."""
        keeping_up = asyncio.ensure_future(self._keep_up())
        stopped = asyncio.ensure_future(self._stopped.wait())
        both: list[asyncio.Future[Any]] = [keeping_up, stopped]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if keeping_up.done():
                keeping_up.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._enter(Phase.STOPPED)

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more checks, let what runs be answered within `grace_seconds`, end the stream."""
        self._stopping = True
        await self._work.finish(grace_seconds)
        if self._stream is not None:
            await self._stream.end(self._timing.close_seconds)
        self._stopped.set()

    async def _keep_up(self) -> None:
        """Return when a link that is being stopped has lost its connection."""
        while not self._stopping:
            self._enter(Phase.CONNECTING)
            fault = await self._connect_and_serve()
            self._announce(fault)
            if not self._stopping:
                self._enter(Phase.WAITING)
                await asyncio.sleep(self._back_off.next_delay_seconds())

    async def _connect_and_serve(self) -> Fault:
        """Return why there is no connection, or none any more."""
        config, timing = self._config, self._timing
        try:
            socket = await connect(config.host, config.port, timing.connect_seconds)
        except OSError as error:
            return connect_fault(error, config.host, config.port)
        stream = ComponentStream(config, self._receive, unread_seconds=timing.unread_seconds)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: stream, sock=socket)
            self._stream = stream
            await asyncio.wait(
                _either(stream),
                timeout=timing.handshake_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if stream.ready.done():
                await self._serve(stream)
            elif not stream.closed.done():
                stream.drop(NO_HANDSHAKE)
            return await stream.closed
        except OSError as error:
            return connect_fault(error, config.host, config.port)
        finally:
            self._stream = None
            stream.abort()
            self._work.abandon()

    async def _serve(self, stream: ComponentStream) -> None:
        """Return when the connection is gone."""
        connected_at = self._clock()
        self._counts["connects"] += 1
        self._admission.forget_seen()
        self._announced = None
        self._enter(Phase.CONNECTED)
        log.info(
            "link %s: connected to %s port %d",
            self._config.name,
            self._config.host,
            self._config.port,
        )
        await self._keep_alive.watch(stream)
        if self._clock() - connected_at >= self._timing.stable_seconds:
            self._back_off.reset()

    def _receive(self, stream: ComponentStream, iq: Element) -> None:
        """Take one `iq` of the stream."""
        judged = self._admission.admit(iq)
        match judged:
            case Admitted():
                self._keep_alive.learn_hosted(judged.host)
                self._work.take(judged, stream.reply)
            case AdmittedBatch():
                self._keep_alive.learn_hosted(judged.host)
                for refused in judged.refused:
                    self._note(refused)
                self._work.take_batch(judged, stream.reply)
            case Refused():
                self._note(judged)
                condition: Literal["bad-request", "forbidden"] = (
                    "bad-request" if judged.is_bad_request else "forbidden"
                )
                stream.reply(render_refusal(condition, judged.address, judged.told))
            case None:
                is_pong = self._keep_alive.learn_answer(iq.get("id"))
                self._counts["pong" if is_pong else "dropped"] += 1

    def _note(self, refused: Refused) -> None:
        self._counts["refused"] += 1
        self._refusals.note(refused)

    def _announce(self, fault: Fault) -> None:
        """One line per change; what repeats itself is for debugging."""
        level = logging.DEBUG if fault == self._announced else logging.WARNING
        log.log(level, "link %s: %s", self._config.name, fault)
        self._announced = self._last_fault = fault

    def _enter(self, phase: Phase) -> None:
        if phase is not self._phase:
            self._phase, self._since = phase, time.time()


def _either(stream: ComponentStream) -> list[asyncio.Future[Any]]:
    return [stream.ready, stream.closed]


def _first_name(config: LinkConfig) -> Domain | None:
    """A domain the configuration names for this server, if it names one."""
    named = [pattern for pattern in config.domains.patterns if not pattern.startswith("*")]
    return Domain.parse(named[0]) if named else None
