"""`up --faults FILE --seed S`: the plan of what goes wrong in a simulated cloud, checked before anything is kept."""

from pathlib import Path

import msgspec

from pileus.cli.main import me
from pileus.cli.serve import read_pid
from pileus.config import Config
from pileus.model.errors import Conflict, Invalid
from pileus.simulation import plan
from pileus.simulation.plan import Kept


def wanted(before: Config, simulate: int | None, faults: Path | None, seed: int | None) -> Kept | None:
    """The plan as said now, over the one that is kept; None when nothing was said."""
    if faults is None and seed is None:
        return None
    hosts = simulate or before.simulate
    if not hosts:
        raise Invalid("--faults and --seed are for simulated hosts: say --simulate N as well.")
    found = plan.kept(before.directory) or Kept()
    if faults is not None:
        found = msgspec.structs.replace(found, plan=plan.read(faults, hosts))
    return found if seed is None else msgspec.structs.replace(found, seed=seed)


def keep(config: Config, said: Kept | None) -> None:
    """Remember the plan, unless the control plane runs with another."""
    if said is None or said == (plan.kept(config.directory) or Kept()):
        return
    if running := read_pid(config.directory):
        raise Conflict(f"The control plane (pid {running}) runs with another plan of faults. Stop it first: {me(config.state)} down")
    plan.keep(config.directory, said)
