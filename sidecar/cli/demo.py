"""`dialback-sidecar demo`: two real servers, one message each way, and who decided what."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # what the lab imports are no dependencies of the daemon
    from sidecar.lab.client import Client
    from sidecar.lab.demo.stage import Stage
    from sidecar.lab.demo.story import Handshake

_SERVERS = {"capulet.example": "Prosody", "montague.example": "ejabberd"}
_JOBS = ("issue", "verify", "check")


@click.command()
@click.option("--once", is_flag=True, help="End after both messages; status 1 if anything failed.")
@click.option("--stock", is_flag=True, help="Leave ejabberd on its own dialback.")
def demo(once: bool, stock: bool) -> None:
    """Let two real servers exchange a message each way.

    Prosody hosts capulet.example, ejabberd montague.example, and one sidecar decides for both.
    They are started for this on loopback addresses of their own, and nothing of them is left
    afterwards.

    Example: dialback-sidecar demo --once
    """
    try:
        from sidecar.lab.demo import stage  # noqa: F401
        from sidecar.lab.faults import LabError
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed: pip install 'dialback-sidecar[lab]'"
        ) from error
    status = 1
    try:
        status = asyncio.run(_until_a_signal(once, both=not stock))
    except* LabError as group:
        for problem in _leaves(group):
            click.secho(f"demo: {problem}", fg="red", err=True)
    except* KeyboardInterrupt:
        status = 128 + signal.SIGINT
    raise SystemExit(status)


async def _until_a_signal(once: bool, *, both: bool) -> int:
    """Run the demo; SIGTERM and SIGHUP end it as Ctrl-C does, everything cleaned up."""
    demo_task = asyncio.create_task(_run(once, both=both))
    ended_by: list[int] = []

    def end(number: int) -> None:
        ended_by.append(number)
        demo_task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await demo_task
    except asyncio.CancelledError:
        if not ended_by:
            raise
        return 128 + ended_by[0]


async def _run(once: bool, *, both: bool) -> int:
    from sidecar.lab.addresses import fresh_address
    from sidecar.lab.demo.stage import JULIET, ROMEO, set_up

    click.echo("starting Prosody, ejabberd and the sidecar ...")
    api = f"{fresh_address()}:5290"
    async with set_up(ejabberd_too=both, listen=[api]) as stage:
        await _introduce(stage, both)
        problems = await _message(stage, JULIET, ROMEO, "Art thou not Romeo?", both)
        problems += await _message(stage, ROMEO, JULIET, "Neither, fair saint.", both)
        for problem in problems:
            click.secho(f"failed: {problem}", fg="red")
        if not problems:
            click.secho("Both messages arrived, both handshakes were verified.", bold=True)
        if not once:
            await _stay(stage, api)
    return 1 if problems else 0


async def _introduce(stage: Stage, both: bool) -> None:
    found = stage.capulet.output.find("Prosody version")
    prosody = found[0].text.split()[-1] if found else ""
    ejabberd = (await stage.montague.ctl("status")).split("ejabberd ")[1].split()[0]
    capulet = f"{stage.capulet.address}:{stage.capulet.s2s_port}"
    montague = f"{stage.montague.address}:{stage.montague.s2s_port}"
    asks, how = "asks the sidecar", "asks the sidecar" if both else "stock"
    click.echo()
    click.echo(f"  capulet.example   {f'Prosody {prosody}':<16}  {asks:<16}  {capulet}")
    click.echo(f"  montague.example  {f'ejabberd {ejabberd}':<16}  {how:<16}  {montague}")
    click.echo("  Certificates are self-signed, so dialback decides.")


async def _message(stage: Stage, writer: str, reader: str, text: str, both: bool) -> list[str]:
    """Let one account write to the other, tell what happened, and return what went wrong."""
    from sidecar.lab.faults import LabError

    sender, target = (jid.partition("@")[2] for jid in (writer, reader))
    clients: dict[str, Client] = {client.jid: client for client in (stage.juliet, stage.romeo)}
    problems = []
    arrived = ""
    click.echo()
    click.secho(f'{writer} writes to {reader}: "{text}"', bold=True)
    start = time.time()
    clients[writer].send(reader, text)
    try:
        message = await clients[reader].receive(timeout_seconds=20)
        arrived = f'{reader} received "{message.text}" after {(time.time() - start) * 1000:.0f} ms'
        if (message.sender.split("/")[0], message.text) != (writer, text):
            problems.append(f"{reader} received {message} instead")
        way = "Send" if sender == "capulet.example" else "Received"
        valid = rf"{way} XML on stream = .*<db:result .*type='valid'"
        await stage.montague.output.wait_for(valid, timeout_seconds=10)
    except LabError as error:
        problems.append(str(error).splitlines()[0])
    handshake = _handshake(stage, (sender, target))
    _show(handshake, start)
    if arrived:
        click.secho(f"         {arrived}", fg="green")
    bolted_on = tuple(_SERVERS) if both else ("capulet.example",)
    jobs = [
        job
        for job, domain in zip(_JOBS, (sender, sender, target), strict=True)
        if domain in bolted_on
    ]
    return problems + handshake.problems(jobs)


def _handshake(stage: Stage, pair: tuple[str, str]) -> Handshake:
    from sidecar.lab.demo.story import read_decisions, tell
    from sidecar.lab.demo.wire_log import read_connections

    connections = read_connections(stage.capulet.output.lines, stage.montague.output.lines)
    return tell(pair, connections, read_decisions(stage.sidecar.output.lines))


def _show(handshake: Handshake, start: float) -> None:
    """Print the steps of a handshake, the decisions of the sidecar in colour, and who decided."""
    click.secho("     ms  who                    what", dim=True)
    for row in handshake.rows:
        milliseconds = (row.seconds - start) * 1000
        who = f"{row.speaker:<8} -> {row.listener}" if row.listener else row.speaker
        line = f"{milliseconds:7.0f}  {who:<22} {row.what}"
        click.secho(line, fg="cyan" if row.decided_by_sidecar else None)
    sender, target = handshake.pair
    answered = {decision.job for decision in handshake.decisions}
    deciders = [
        f"{job} sidecar" if job in answered else f"{job} {_SERVERS[domain]}"
        for job, domain in zip(_JOBS, (sender, sender, target), strict=True)
    ]
    click.echo(f"         who decided: {', '.join(deciders)}")


async def _stay(stage: Stage, api: str) -> None:
    """Say what can be tried, and show every further decision until the end."""
    programs = Path(sys.executable).parent
    click.echo(f"""
Everything stays up until Ctrl-C. To try, in another terminal:

  look at it as its operator does; what else there is: dialback-sidecar --help
    export PATH={programs}:$PATH
    export DIALBACK_SIDECAR_CONFIG={stage.sidecar.config_path}
    dialback-sidecar status
    dialback-sidecar handshake list
    curl http://{api}/metrics

  close the connections, so that the next stanza shakes hands anew:
    shell="prosodyctl --config {stage.capulet.config_path} shell"
    $shell 's2s:closeall()'
    $shell 'xmpp:ping("capulet.example", "montague.example")'

  stop the sidecar: new handshakes fail, with errors, until `kill -CONT`:
    kill -STOP {stage.sidecar.pid}

  connect a chat client (trust the certificate), password {stage.password}:
    {stage.juliet.jid}    {stage.capulet.address} port {stage.capulet.c2s_port}
    {stage.romeo.jid}   {stage.montague.address} port {stage.montague.c2s_port}

Decisions of the sidecar from here on:""")
    await _follow(stage)


async def _follow(stage: Stage) -> None:
    from sidecar.lab.demo.story import read_decisions

    output = stage.sidecar.output
    place = output.mark()
    while True:
        line = await output.wait_for("", after=place, timeout_seconds=86400)
        place += 1
        for decision in read_decisions([line]):
            pair = " -> ".join(decision.pair)
            click.secho(
                f"  {time.strftime('%H:%M:%S')}  {decision.job:<6}  {pair}  {decision.said}, "
                f"{decision.milliseconds:.1f} ms",
                fg="cyan",
            )


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
