"""The daemon: puts the parts together, runs them, and ends them in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import uvloop

from sidecar.config import Config
from sidecar.daemon.administration import RunningDaemon, accepted_evidence, administration
from sidecar.daemon.checkers import Checkers
from sidecar.daemon.keyd_child import KeydChild
from sidecar.daemon.links import Links
from sidecar.daemon.observers import Observers
from sidecar.daemon.spare_memory import giving_back
from sidecar.daemon.state_directory import held_state_directory
from sidecar.engine import Engine
from sidecar.errors import KeyServiceUnavailable, SidecarError
from sidecar.key_client import KeyClient
from sidecar.metrics import Metrics
from sidecar.operations.events import Events
from sidecar.operations.handshakes import of_stored
from sidecar.s2s.address_budget import DialLimits
from sidecar.s2s.authority.listener import AuthorityListener
from sidecar.s2s.checker import Checker
from sidecar.s2s.credentials import Credentials
from sidecar.s2s.evidence import Certificates
from sidecar.s2s.resolver import Resolver
from sidecar.store import History, PeerRules, StoredHandshake

log = logging.getLogger(__name__)

_KEYD_START_SECONDS = 10.0
_OBJECTS_BEFORE_COLLECTING = 20_000


def run(config: Config, path: Path | None = None) -> int:
    """Run until SIGTERM or SIGINT. Return the exit status: 0 stopped, 1 could not start.

    With SIGHUP, or when an operator says so, the file at `path` is taken up.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, path))


async def _serve(config: Config, path: Path | None) -> int:
    stopping = asyncio.Event()
    events = Events(int(time.time()))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(held_state_directory(config.state_directory))
            keys = await stack.enter_async_context(_key_service(config, stopping))
            history = await stack.enter_async_context(_history(config, events))
            rules = await stack.enter_async_context(_peer_rules(config))
            await stack.enter_async_context(giving_back())
            daemon = RunningDaemon(config, path, keys, history, rules)
            metrics = Metrics(daemon.snapshot)
            async with _checkers(config, metrics) as checkers:
                observers = Observers(history, metrics)
                engine = Engine(
                    keys,
                    checkers,
                    rules,
                    clock=time.monotonic,
                    on_decision=observers.note_decision,
                    on_report=observers.note_report,
                    on_verified=observers.note_verified,
                )
                daemon.links, daemon.checkers = Links(engine), checkers
                authority = daemon.authority = AuthorityListener(config, engine)
                stack.push_async_callback(authority.close)
                await authority.start()
                async with administration(config, daemon, engine, metrics, events):
                    with _reloading(daemon):
                        _spare_the_collector()
                        await daemon.links.run(config, stopping)
    except (SidecarError, OSError, sqlite3.Error) as error:
        log.error("cannot start: %s", error)
        return 1
    return 0


def _spare_the_collector() -> None:
    """What is there by now stays, and need not be looked through again and again; what comes and
    goes with each handshake is nearly always gone without a collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTING, *gc.get_threshold()[1:])


@asynccontextmanager
async def _key_service(config: Config, stopping: asyncio.Event) -> AsyncIterator[KeyClient]:
    """The key service of the configuration, or one of our own as a child."""
    async with AsyncExitStack() as stack:
        socket = config.keyd.socket
        if socket is None:
            socket = await _start_child(config, stack)
        keys = KeyClient(socket)
        stack.push_async_callback(keys.close)
        try:
            await _start(keys, stopping)
        except KeyServiceUnavailable as error:
            if config.keyd.socket is None:
                raise
            log.warning("%s; answering errors until it does", error)
        yield keys


async def _start(keys: KeyClient, stopping: asyncio.Event) -> None:
    """Wait for the key service, or for the word to stop. Raises KeyServiceUnavailable."""
    starting = asyncio.create_task(keys.start(timeout_seconds=_KEYD_START_SECONDS))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
    finally:
        starting.cancel()
        stop.cancel()


async def _start_child(config: Config, stack: AsyncExitStack) -> Path:
    child = KeydChild(
        config.state_directory,
        options=config.keyd.options,
        log_level=config.log.level,
        log_format=config.log.format,
    )
    await child.start()
    stack.push_async_callback(child.close)
    log.info(
        "dialback-keyd is a child process under this user, which isolates nothing; "
        "set keyd.socket to run it by itself"
    )
    return child.socket


@contextmanager
def _reloading(daemon: RunningDaemon) -> Iterator[None]:
    """Take up the configuration with SIGHUP."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[object]] = set()

    def reload() -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(daemon.reload())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@asynccontextmanager
async def _checkers(config: Config, metrics: Metrics) -> AsyncIterator[Checkers]:
    checkers = Checkers(config, lambda config: _checker(config, metrics))
    try:
        yield checkers
    finally:
        await checkers.close()


def _checker(config: Config, metrics: Metrics) -> Checker:
    return Checker(
        Resolver(config.check.nameservers, on_lookup=metrics.note_lookup),
        credentials=Credentials(config.certificate),
        certificates=Certificates(config.check.trusted_certificates),
        allow_private_addresses=config.check.allow_private_addresses,
        dials=DialLimits.lasting(config.check.address_connections_per_second),
        idle_seconds=config.check.keep_open_seconds,
    )


@asynccontextmanager
async def _history(config: Config, events: Events) -> AsyncIterator[History]:
    history = History(
        config.state_directory / "history.sqlite3",
        days=config.history.days,
        records=config.history.records,
        on_written=lambda stored: _tell(stored, events),
    )
    try:
        await history.start()
        yield history
    finally:
        await history.close()


@asynccontextmanager
async def _peer_rules(config: Config) -> AsyncIterator[PeerRules]:
    rules = PeerRules(config.state_directory / "peer-rules.sqlite3", accepted_evidence(config))
    try:
        await rules.open()
        yield rules
    finally:
        await rules.close()


def _tell(stored: Sequence[StoredHandshake], events: Events) -> None:
    for each in stored:
        events.publish_made("handshake", partial(of_stored, each), each.record.local)
