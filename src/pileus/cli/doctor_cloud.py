"""The part of `pileus doctor` that looks at a cloud of several processes: database, bus, API, clocks and versions, as seen from here."""

import asyncio
import json
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

import pileus
from pileus.bus.authority import BusAuthority
from pileus.bus.connection import REFUSED, BusCredentials, Connection
from pileus.cli.node_process import FILE, membership
from pileus.cli.settings import load
from pileus.cli.shared_secrets import BUS
from pileus.config import Config
from pileus.model.errors import PileusError
from pileus.model.hosts import Capability
from pileus.store import schema
from pileus.store.open import open_database

PATIENCE = 4.0
CLOCK_TOLERANCE = 60.0
"""Seconds by which clocks may differ: those within which a host may join."""
NTP = "set the clock by NTP: apt-get install chrony"


async def examine_cloud(state: Path) -> list[Capability]:
    """What a host that has joined, or a manager with a bus or a database, finds of the rest of its cloud; nothing for a cloud of one."""
    if (state / "secrets" / FILE).exists():
        member = membership(state)
        return [await _bus(member.credentials), *await asyncio.to_thread(_api, member.api)]
    config = load(state)
    found: list[Capability] = []
    if config.database is not None:
        found += await _database(config)
    file = state / "secrets" / BUS
    if config.bus is not None and file.exists():
        authority = msgspec.json.decode(file.read_bytes(), type=BusAuthority)
        trusted = Path(config.bus_ca).read_text() if config.bus_ca else None
        found.append(await _bus(authority.manager(config.bus, "doctor", trusted)))
    return found


async def _bus(credentials: BusCredentials) -> Capability:
    connection = Connection(credentials, "doctor")
    await connection.open(PATIENCE)
    try:
        if connection.connected:
            return Capability(name="message bus", works=True, detail=f"{credentials.url} lets us in", required=True)
        problem = connection.problem
    finally:
        await connection.close()
    return Capability(
        name="message bus", works=False, detail=f"{credentials.url}: {problem}", remedy=remedy(problem, credentials.url), required=True
    )


def remedy(problem: str, url: str) -> str:
    """What mends a bus that is not reached, by what was said about it."""
    host = urlsplit(url).hostname
    if REFUSED in problem:
        return (
            "our claims are refused: this host was removed (join again with a token of: pileus host token), "
            "or the server has another cloud's configuration (pileus bus config)"
        )
    if "CERTIFICATE" in problem.upper() or "SSL" in problem.upper():
        return f"the server's certificate is not one that this cloud has signed for {host}: pileus bus certificate {host}"
    if "tls" in problem.lower():
        return "the server speaks without TLS: give its configuration a certificate (pileus bus config --certificate FILE --key FILE)"
    if "known" in problem or "resolution" in problem or "address associated" in problem:
        return f"the name {host} is not known here: mend DNS or /etc/hosts"
    return f"start nats-server on {host}, and let {url} through firewalls"


async def _database(config: Config) -> list[Capability]:
    db = open_database(config)
    try:
        lacking = await schema.missing(db)
        ahead = time.time() - await db.write(lambda tx: tx.clock())
    except PileusError as error:
        return [Capability(name="database", works=False, detail=error.message, remedy="mend that, then try again", required=True)]
    finally:
        await db.close()
    if lacking:
        detail, what = f"{len(lacking)} migration(s) are missing", "start a cloud process of this version: pileus serve --role cloud"
        migrated = Capability(name="database", works=False, detail=detail, remedy=what, required=True)
    else:
        migrated = Capability(name="database", works=True, detail=f"reached, at migration {schema.migrations()[-1][0]}", required=True)
    return [migrated, _clock("clock of the database", ahead)]


def _api(address: str) -> list[Capability]:
    """Blocks."""
    began = time.time()
    try:
        with urllib.request.urlopen(f"{address}/cluster/v1/version", timeout=PATIENCE) as answer:  # noqa: S310 checked when we joined
            said = json.load(answer)
    except (OSError, ValueError) as error:
        detail = f"{address}: {getattr(error, 'reason', None) or error}"
        return [Capability(name="cloud's API", works=False, detail=detail, remedy="images can't be fetched; start the API", required=True)]
    ahead = (began + time.time()) / 2 - float(said["time"])
    same = said["version"] == pileus.__version__
    version = Capability(
        name="cloud's API", works=same, required=True, remedy="install the same version on both",
        detail=f"{address}, pileus {said['version']}" + ("" if same else f"; this host has {pileus.__version__}"),
    )  # fmt: skip
    return [version, _clock("clock of the cloud", ahead)]


def _clock(name: str, ahead: float) -> Capability:
    word = "ahead of it" if ahead > 0 else "behind it"
    works = abs(ahead) <= CLOCK_TOLERANCE
    return Capability(name=name, works=works, detail=f"ours is {abs(ahead):.1f} s {word}", remedy=NTP, required=True)
