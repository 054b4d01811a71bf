"""`pileus test [LAYER] [pytest args]`: a layer of tests, or all that this machine can run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from pileus.model.errors import Invalid, NotFound

COVERED = ["-ra", "--durations=5", "--cov=pileus", "--cov-report="]
UNSTEADY = 3
"""So many failed tests of a group are tried once more: they drive real guests on machines that others use, too."""
CHANCE = ("--seed", "--kills", "--minutes")
LAYERS = ("unit", "store", "api", "driver", "real", "faults")


@click.command("test", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """unit, store, api, driver, real, faults, or all (the default, with the checks of style and types); the rest goes to pytest.

    `faults --seed N` replays what is random in the fault tests, `faults --kills K` makes it longer, `--minutes M` ends
    a campaign then, with as many kills as there were.
    `conformance SERVICE` runs Tempest and the official clients' tests of a service against a cloud of its own (`conformance --help`).
    """
    home = Path(os.environ.get("PILEUS_HOME") or Path(__file__).resolve().parents[3])
    if not (home / "tests").is_dir():
        raise NotFound(f"There are no tests in {home}: they are in the source tree; run ./pileus test there.")
    if arguments[:1] == ("conformance",):
        sys.exit(subprocess.run([sys.executable, "-m", "tests.conformance.command", *arguments[1:]], cwd=home).returncode)
    layer = arguments[0] if arguments and arguments[0] in (*LAYERS, "all") else "all"
    rest = list(arguments[1:] if arguments and arguments[0] == layer else arguments)
    if rest and rest == list(arguments) and not rest[0].startswith("-") and not (home / rest[0].partition("::")[0]).exists():
        raise Invalid(f"There is no layer {rest[0]}; there are: {', '.join(LAYERS)}, conformance, all. What follows goes to pytest.")
    rest = _chance(rest)
    if layer != "all":
        sys.exit(pytest(home, [layer], rest))
    failed = [] if rest else checks(home)
    if pytest(home, list(LAYERS), rest or COVERED):
        failed.append("tests")
    if not rest:
        coverage(home)
    if failed:
        click.secho(f"failed: {', '.join(failed)}", fg="red", err=True)
        sys.exit(1)


def _chance(rest: list[str]) -> list[str]:
    """What is left without --seed N, --kills K and --minutes M, which the tests find in the environment."""
    left: list[str] = []
    words = iter(part for one in rest for part in (one.split("=", 1) if one.startswith(tuple(f"{name}=" for name in CHANCE)) else [one]))
    for word in words:
        if word not in CHANCE:
            left.append(word)
            continue
        number = next(words, "")
        if not number.isdecimal():
            raise Invalid(f"{word} wants a number, not {number or 'nothing'!r}.")
        os.environ[f"PILEUS_{word[2:].upper()}"] = number
    return left


def pytest(home: Path, layers: list[str], rest: list[str]) -> int:
    """Run layers: those that drive a machine one test after the other, others two at a time. Returns pytest's code; no tests is fine."""
    there = [layer for layer in layers if _has_tests(home / "tests" / layer)]
    groups = [[layer for layer in there if layer in names] for names in (("unit", "store", "api"), ("driver", "real"), ("faults",))]
    worst = 0
    for names in filter(None, groups):
        by_two = ["-n", "2"] if "driver" not in names and "real" not in names else []
        measured = any(one.startswith("--cov") for one in rest) and "unit" in names
        chosen = rest if measured else [one for one in rest if not one.startswith("--cov")]
        arguments = [*by_two, *chosen, *(f"tests/{name}" for name in names)]
        code = _run(home, arguments) if rest and rest != COVERED else _steadily(home, arguments)
        worst = max(worst, 0 if code == 5 else abs(code))  # below 0: a signal has ended it
    return worst


def _run(home: Path, arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=home).returncode


def _steadily(home: Path, arguments: list[str]) -> int:
    """Run tests; when a few failed, those once more, alone. One that passes now is named, as it is to be looked at, and fails nothing."""
    with tempfile.TemporaryDirectory(prefix="pileus-tests-") as folder:
        cache = ["-o", f"cache_dir={folder}"]
        code = _run(home, [*cache, *arguments])
        noted = Path(folder) / "v" / "cache" / "lastfailed"
        failed = sorted(json.loads(noted.read_bytes())) if code == 1 and noted.exists() else []
        if not 0 < len(failed) <= UNSTEADY:
            return code
        click.secho(f"once more, alone: {', '.join(failed)}", fg="yellow")
        code = _run(home, [*cache, "-ra", *failed])
    if code == 0:
        click.secho(f"unsteady, failed in one of two runs: {', '.join(failed)}", fg="yellow")
    return code


def coverage(home: Path) -> None:
    """Say how much of the code the quick layers reached; the lines are in .coverage for `coverage report -m`."""
    command = [sys.executable, "-m", "coverage", "report", "--format=total"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    if done.returncode == 0:
        click.echo(f"coverage of unit, store and api tests: {done.stdout.strip()} % of lines and branches")


def _has_tests(folder: Path) -> bool:
    return any(folder.rglob("test_*.py"))


def checks(home: Path) -> list[str]:
    """Style, types, layers: the names of those that failed."""
    folder = Path(sys.executable).parent
    failed: list[str] = []
    for name, argv in {
        "ruff": ["ruff", "check", "-q", "."],
        "format": ["ruff", "format", "--check", "-q", "."],
        "types": ["pyright", "--pythonpath", sys.executable],
        "layers": ["lint-imports", "--no-cache"],
    }.items():
        started = time.monotonic()
        done = subprocess.run([str(folder / argv[0]), *argv[1:]], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        click.echo(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'} ({time.monotonic() - started:.1f} s)")
        if done.returncode:
            click.echo("\n".join(done.stdout.splitlines()[-60:]))
            failed.append(name)
    return failed
