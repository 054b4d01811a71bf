"""`pileus simulate`: the life of a cloud of simulated hosts on a virtual clock, with seeded faults; what it demands of pileus is in
docs/adr/0017."""

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from pileus.cli.control_plane import ControlPlane
from pileus.cli.main import me
from pileus.config import Config
from pileus.model.errors import Conflict
from pileus.reconcile.engine import Engine
from pileus.simulation import plan
from pileus.simulation.life import PLAN, Broken, Life, Outcome, Settings
from pileus.simulation.loop import VirtualLoop, run
from pileus.simulation.weather import Climate
from pileus.simulation.wire import Wire
from pileus.store.database import Database
from pileus.store.sqlite import InlineSqlite

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Nothing of a life is to survive a power failure: its database syncs thousands of times."""


SCAN = 120.0
"""Seconds between scans of the reconcilers, which find what a lost wake-up has left: a tenth of a life's work otherwise."""


class LifeControl(ControlPlane):
    """The managers of a process, whose hosts are somewhere else. It copies no database, and looks at invariants when it is told to."""

    def __init__(self, config: Config, wire: Wire) -> None:
        super().__init__(config, roles=("cloud", "cluster"))
        self.bus = wire

    def _open_database(self) -> Database:
        return InlineSqlite(self.config.directory / "pileus.db")

    def _watch(self) -> None:
        super()._watch()
        self._tasks.pop().cancel()  # the audit log needs no syncing here

    def _assemble(self) -> Engine:
        engine = super()._assemble()
        engine.scan_every = SCAN
        return engine

    async def _back_up(self) -> None: ...

    async def _verify(self) -> None: ...

    def password(self) -> str:
        """The administrator's."""
        return self.credentials.passwords()["admin"]

    def abandon(self) -> None:
        """It was killed."""
        db: Any = self.db
        db.dead = True
        db.connection.close()
        if self._audit is not None:
            self._audit.close()


def live(settings: Settings, progress: Any = lambda life: None, trace: IO[str] | None = None) -> Outcome:
    """A whole life, in a directory of its own that goes with it. Conflict, with seed and virtual time, when it is not as it must be."""
    with tempfile.TemporaryDirectory(prefix="pileus-life-", dir=MEMORY) as directory:

        async def work(loop: VirtualLoop) -> Outcome:
            life = Life(loop, settings, Path(directory), LifeControl, trace)
            try:
                return await life.run(progress)
            except (Broken, AssertionError) as error:
                at = life.time()
                when = f"day {at / 86400:.3f} ({at:.6f} s)"
                raise Conflict(f"seed {settings.seed}, {settings.hosts} hosts, {when} of {settings.days:g}: {error}") from error

        return run(work, settings.seed)


@click.command("simulate")
@click.option("--hosts", metavar="N", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--days", metavar="D", type=click.FloatRange(0.01, 3660), default=30.0, show_default=True, help="Virtual days.")
@click.option("--seed", metavar="S", type=click.IntRange(0), default=1, show_default=True, help="What all chance is drawn from.")
@click.option("--faults", metavar="FILE", type=click.Path(path_type=Path), default=None, help="A plan of faults instead of the usual one.")
@click.option("--weather", metavar="X", type=click.FloatRange(0, 1000), default=1.0, help="So many times as many hosts, agents, ... fail.")
@click.option("--trace", metavar="FILE", type=click.File("w", lazy=False), default=None, help="Write every event into this file.")
@click.option("--json", "as_json", is_flag=True, help="The outcome for programs.")
def command(hosts: int, days: float, seed: int, faults: Path | None, weather: float, trace: IO[str] | None, as_json: bool) -> None:
    """Live days of a cloud in minutes, on a virtual clock: customers, faults, restarts. The same seed: the same events."""
    chosen = plan.read(faults, hosts) if faults else PLAN
    settings = Settings(
        hosts=hosts, days=days, seed=seed, customers=min(10, max(2, hosts // 5)), plan=chosen, climate=worse(Climate(), weather)
    )
    logging.getLogger("pileus").setLevel(logging.CRITICAL)  # what goes wrong is meant to
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    began = time.monotonic()

    def progress(life: Life) -> None:
        if sys.stderr.isatty():
            done = life.requests.total()
            click.echo(
                f"\r  day {life.time() / 86400:6.2f} of {days:g}, {done} requests, {time.monotonic() - began:.0f} s", err=True, nl=False
            )

    try:
        outcome = live(settings, progress, trace)
    except Conflict as error:
        again = f"{me(Config().state)} simulate --hosts {hosts} --days {days:g} --seed {seed} --weather {weather:g}"
        raise Conflict(f"{error.message}\nThe same again: {again}{f' --faults {faults}' if faults else ''}") from error
    finally:
        if sys.stderr.isatty():
            click.echo(err=True)
    took = time.monotonic() - began
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({**msgspec.to_builtins(outcome), "seconds": round(took, 1)})).decode())
        return
    click.echo(table(outcome, took))


def worse(climate: Climate, factor: float) -> Climate:
    """So many times as much."""
    rates = {name: rate * factor for name, rate in msgspec.to_builtins(climate).items()}
    return Climate(**rates)


def table(outcome: Outcome, took: float) -> str:
    """The outcome for a reader."""
    events = outcome.events
    lines = [f"{outcome.days:.2f} virtual days in {took:.1f} s, seed {outcome.seed}", "", "Requests by outcome"]
    lines += [f"  {name:<24}{count:>10}" for name, count in outcome.requests.items()]
    lines += ["", "Faults"]
    for kind, words in FAULTS.items():
        lines.append(f"  {words:<24}{events.get(kind, 0):>10}")
    lines += [
        "",
        f"Messages to hosts         {events.get('ask', 0):>10}",
        f"Starts of the control plane{events.get('control started', 0):>9}",
    ]
    lines += [
        f"Servers at the end        {outcome.servers:>10}",
        f"Looks, all clean          {outcome.looks:>10}",
        f"Digest of all events      {outcome.digest}",
    ]
    return "\n".join(lines)


FAULTS = {
    "control killed": "control plane killed",
    "power lost": "hosts without power",
    "agent killed": "agents killed",
    "silent host": "hosts cut off",
    "guest crashed": "guests crashed",
    "clock jumps": "clock jumps",
    "silent": "requests unanswered",
    "twice": "messages delivered twice",
}
"""Kind of event -> what it is called."""
