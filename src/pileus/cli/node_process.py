"""`pileus serve --role node`: a Computer Manager of its own, which joins a cluster once and speaks to it by the bus from then on."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

import pileus
from pileus.bus import nkeys
from pileus.bus.connection import BusCredentials
from pileus.cli.credentials import write_private
from pileus.config import Config
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NodeFailed, NotFound, Unavailable
from pileus.model.messages import Failed, NodeReply, NodeRequest
from pileus.node.agent import Agent
from pileus.node.images import ImageFetcher
from pileus.node.snapshots import SnapshotSender

log = logging.getLogger("pileus.node")
FILE = "node.json"
PERIOD = 5.0
"""Seconds between two complete reports."""


class Membership(Model, frozen=True, kw_only=True):
    """What a host keeps of its joining: DIR/secrets/node.json, 0600. `address` is its own, `api` that of the cloud."""

    host: str
    cluster: str
    api: str
    credentials: BusCredentials
    address: str = ""
    shared_disks: str | None = None

    def __repr__(self) -> str:
        return f"Membership({self.host!r})"


def membership(directory: Path) -> Membership:
    """What was kept; NotFound when this host has not joined."""
    file = directory / "secrets" / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Membership)
    except FileNotFoundError:
        raise NotFound(
            "This host has joined no cluster yet. Make a token at the cloud (pileus host token), then here: "
            "pileus serve --role node --join TOKEN ADDRESS"
        ) from None
    except msgspec.MsgspecError as error:
        raise Invalid(f"{file} is not readable: {error}. Join again with a new token.") from error


def join(directory: Path, token: str, api: str, *, cluster: str | None = None, shared_disks: str | None = None) -> Membership:
    """Join the cloud whose API is at `api`, and keep what it says. The seed of our bus user never leaves this host."""
    api = api.rstrip("/") if "://" in api else f"http://{api.rstrip('/')}"
    if not api.startswith(("http://", "https://")):
        raise Invalid(f"--join: {api} is not the address of an API, such as http://10.0.0.1:5000.")
    pending = directory / "secrets" / "node.seed"  # kept before it is asked with, so that a lost answer can be asked for again
    pending.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not pending.exists():
        write_private(pending, nkeys.new_seed("user"))
    seed = pending.read_text()
    host = os.environ.get("PILEUS_HOST") or socket.gethostname()
    body = {"token": token, "host": host, "public_key": nkeys.public_key(seed), "version": pileus.__version__, "time": time.time()}
    answer = _post(f"{api}/cluster/v1/join", body | ({"cluster": cluster} if cluster else {}))
    credentials = BusCredentials(
        url=answer["bus"], cloud=answer["cloud"], claims=answer["claims"], seed=seed, authority=answer["authority"]
    )
    made = Membership(
        host=host,
        cluster=answer["cluster"],
        api=api,
        credentials=credentials,
        address=address_towards(answer["bus"]),
        shared_disks=shared_disks,
    )
    write_private(directory / "secrets" / FILE, msgspec.json.encode(made).decode() + "\n")
    pending.unlink()
    return made


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 `join` checks it
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise Conflict(f"The cloud does not admit this host: {_message(error)}") from error
    except (OSError, ValueError, ssl.SSLError) as error:
        raise Unavailable(f"The cloud's API at {url} is not reached: {getattr(error, 'reason', None) or error}") from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        document = json.load(error)
    except ValueError:
        return f"it answered {error.code}."
    first = next(iter(document.values()), {}) if isinstance(document, dict) else {}
    return str(first.get("message", error.code)) if isinstance(first, dict) else f"it answered {error.code}."


def address_towards(url: str) -> str:
    """This host's address on the way to the bus: where other hosts reach it."""
    host, _, port = url.partition("://")[2].rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect((host.strip("[]"), int(port)))
        except OSError as error:
            raise Unavailable(f"There is no way to the message bus {url}: {error.strerror}") from error
        return str(one.getsockname()[0])


async def run(config: Config) -> None:
    """Be this host's Computer Manager until SIGINT or SIGTERM."""
    from pileus.bus.nats import NatsBus
    from pileus.cli.agents import member_agent
    from pileus.cli.metrics import Metrics, NodeFigures
    from pileus.cli.metrics_listener import MetricsListener
    from pileus.cli.serve import listen

    member = membership(config.directory)
    agent = await asyncio.to_thread(member_agent, config, member, PERIOD)
    disks = Path(member.shared_disks) if member.shared_disks else config.directory / "node"
    fetcher = ImageFetcher(config.directory / "node" / "fetched", member.api, disks / "base")
    await asyncio.to_thread(fetcher.sweep)
    sender = SnapshotSender(config.directory / "node" / "snapshots", member.api)
    await asyncio.to_thread(sender.sweep)
    bus = NatsBus(member.credentials, member.host)
    figures = NodeFigures(bus.report, bus)
    metrics = MetricsListener(listen(config.metrics_listen), Metrics(figures.families).text) if config.metrics_listen else None
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await bus.open(patience=2.0)
        if metrics:
            await metrics.start()
        await agent.start(figures.report)
        await bus.serve(agent.host, lambda request: answer(agent, fetcher, sender, request))
        bus.came_back.append(agent.report_soon)
        log.info("host %s of cluster %s is ready", member.host, member.cluster)
        (config.directory / "ready").touch()
        await stopped.wait()
    finally:
        with contextlib.suppress(OSError):
            (config.directory / "ready").unlink()
        if metrics:
            await metrics.close()
        await agent.close()
        await bus.close()


async def answer(agent: Agent, fetcher: ImageFetcher, sender: SnapshotSender, asked: NodeRequest) -> NodeReply:
    """The agent's reply; what lies at the cloud is fetched before, and what is to lie there is sent after."""
    try:
        request = await fetcher.localize(sender.localize(asked))
    except NodeFailed as failure:
        return Failed(reason=failure.message, detail=str(failure.data.get("detail", "")), kind="NodeFailed")
    reply = await agent.handle(request)
    await fetcher.release(request)
    return await sender.deliver(asked, reply)
