"""`pileus test conformance SERVICE`: suites that nobody here wrote, against a cloud of its own."""

import json
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pileus.model.errors import Invalid, PileusError
from tests.conformance import cloud, environment, outcome, report, runner
from tests.conformance.suites import CLIENTS, KINDS, MAIN, PLUGINS, SERVICES, TEMPEST, TWO, Suite

HOME = Path(__file__).resolve().parents[2]


@click.command("conformance")
@click.argument("service", type=click.Choice(list(SERVICES)))
@click.option(
    "--list",
    "listing",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with names of tests, one a line: only those run.",
)
@click.option("--regex", default="", help="Only tests whose names it matches.")
@click.option(
    "--tempest", "parts", flag_value=TEMPEST, multiple=True, help="Only Tempest's own tests, with dynamic and with pre-provisioned users."
)
@click.option("--plugins", "parts", flag_value=PLUGINS, multiple=True, help="Only those of Tempest's plugins for the service.")
@click.option("--clients", "parts", flag_value=CLIENTS, multiple=True, help="Only the official clients' functional tests.")
@click.option(
    "--state",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Use this cloud, which runs, instead of one of its own.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Tests at once.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the suites' settings (with passwords) and output here.",
)
@click.option("--write", is_flag=True, help="Write docs/conformance/SERVICE.md.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(service: str, parts: tuple[str, ...], write: bool, as_json: bool, **said: Any) -> None:
    """Run Tempest, its plugins and the clients' own tests of SERVICE, or some of these. Ends with 1 when a test fails."""
    suites = [one for one in SERVICES[service] if not parts or one.part in parts]
    if not suites:
        raise Invalid(f"There is no such suite for {service}; there are: {', '.join(one.title for one in SERVICES[service])}.")
    asked = runner.Asked(regex=pattern(said["regex"]), names=names(said["listing"]), workers=said["workers"])
    judge = environment.prepare()
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": environment.versions(judge),
        "command": as_called(service, parts, {"regex": said["regex"], "list": said["listing"] and said["listing"].name}),
    }
    with kept(said["keep"]) as folder:
        found = completed(suites, list(run(suites, said["state"], (judge, folder), asked)))
    if not found:
        raise Invalid(f"No test of {service} was asked for: look at --list and --regex.")
    click.echo(json.dumps(report.program(service, found, about), indent=2) if as_json else report.people(found))
    if write:
        click.echo(f"written: {report.write(HOME, service, report.page(service, found, about))}", err=True)
    sys.exit(not all(one.good for one in found))


def run(suites: list[Suite], state: Path | None, places: tuple[Path, Path], asked: runner.Asked) -> Iterator[outcome.Outcome]:
    """What came of each suite, on a cloud of its kind. On a cloud that is there already, only those that ask for no other kind run."""
    judge, folder = places
    for kind in dict.fromkeys(one.kind for one in suites):
        if kind != MAIN and (state or (kind == TWO and lacks_servers())):
            continue
        with cloud.there(state.resolve()) if state else cloud.own(kind) as place:
            for suite in (one for one in suites if one.kind == kind):
                yield runner.run(suite, place, judge, folder / suite.folder, asked)


def lacks_servers() -> bool:
    """Whether this machine can't have two managers."""
    from tests.conformance.managers import missing

    if lacking := missing():
        click.echo(f"There is no {lacking} here: tests that ask for two managers are skipped.", err=True)
    return bool(lacking)


def completed(suites: list[Suite], found: list[outcome.Outcome]) -> list[outcome.Outcome]:
    """Of a suite that ran in parts on several clouds one outcome: a test is skipped when it was skipped on all."""
    by_title = {one.title: one for one in found}
    for suite in suites:
        part = by_title.get(suite.title)
        if part is not None and suite.completes in by_title:
            by_title[suite.completes].complete(part, KINDS[suite.kind])
            del by_title[suite.title]
    return [one for one in by_title.values() if one.passed or one.failed or one.skipped or one.lost]


def pattern(text: str) -> str:
    """A regular expression that is one."""
    try:
        re.compile(text)
    except re.error as error:
        raise Invalid(f"--regex {text!r} is no regular expression: {error}.") from error
    return text


def names(listing: Path | None) -> frozenset[str] | None:
    """The names in a file, without tags, comments and empty lines."""
    if listing is None:
        return None
    lines = (line.partition("#")[0].strip() for line in listing.read_text().splitlines())
    return frozenset(outcome.bare(line) for line in lines if line)


@contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """The folder for settings and output; one that goes away when none was named."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="pileus-conformance-") as name:
        yield Path(name)


def as_called(service: str, parts: tuple[str, ...], said: dict[str, Any]) -> str:
    """The command as it can be given again, without what only says where things lie."""
    chosen = [f"--{part}" for part in parts] + [
        word for name in ("regex", "list") if (value := said.get(name)) for word in (f"--{name}", str(value))
    ]
    return shlex.join(["./pileus", "test", "conformance", service, *chosen])


def stopped(number: int, frame: object) -> None:
    """SIGTERM ends us as Ctrl-C does: the cloud is taken down."""
    raise KeyboardInterrupt


def main() -> None:
    """An error of ours is one line."""
    signal.signal(signal.SIGTERM, stopped)
    try:
        command(prog_name=f"{os.environ.get('PILEUS_COMMAND', 'pileus')} test conformance", standalone_mode=False)
    except PileusError as error:
        click.secho(f"pileus: {error.message}", fg="red", err=True)
        sys.exit(1)
    except click.ClickException as error:
        click.secho(f"pileus: {' '.join(error.format_message().split())} See: ./pileus test conformance --help", fg="red", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
