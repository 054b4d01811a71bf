"""Short lives of a simulated cloud on a virtual clock: what customers were told is so after each day, and a seed gives one life."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pileus.cli.simulate import live, worse
from pileus.simulation.life import Settings
from pileus.simulation.weather import Climate

SOURCE = Path(__file__).parents[2] / "src"
SEED = int(os.environ.get("PILEUS_SEED", "1"))
BAD = worse(Climate(), 40)


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_bad_hours_of_ten_hosts_end_as_customers_were_told(seed: int) -> None:
    outcome = live(Settings(hosts=10, days=0.25, seed=seed, customers=2, actions=60.0, silence=1200.0, climate=BAD))
    assert outcome.looks == 1 and outcome.servers > 0
    assert outcome.events["control killed"] > 3 and outcome.events["power lost"] > 0 and outcome.events["agent killed"] > 0
    assert outcome.requests["202"] > 50


def told(hash_seed: str, *more: str) -> Any:
    command = [sys.executable, "-m", "pileus.cli.main", "simulate", "--hosts", "8", "--days", "0.2", "--weather", "40", "--json", *more]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_same_seed_gives_the_same_events_and_another_seed_others(tmp_path: Path) -> None:
    first = told("1", "--seed", str(SEED), "--trace", str(tmp_path / "first"))
    again = told("2", "--seed", str(SEED), "--trace", str(tmp_path / "again"))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    assert first["digest"] == again["digest"] and first["events"] == again["events"]
    assert told("1", "--seed", str(SEED + 1))["digest"] != first["digest"]


def test_a_life_that_does_not_end_well_names_its_seed_and_the_time(tmp_path: Path) -> None:
    plan = tmp_path / "faults.toml"
    plan.write_text("[operations.delete]\nfails = 1")
    command = [sys.executable, "-m", "pileus.cli.main", "simulate", "--hosts", "4", "--days", "0.5", "--seed", "5", "--faults", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "seed 5, 4 hosts, day 0." in done.stderr and f"--seed 5 --weather 1 --faults {plan}" in done.stderr
