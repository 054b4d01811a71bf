"""`pileus db`: look at the database, copy it, go back to a copy."""

import contextlib
import json
from pathlib import Path

import click

from pileus.cli.main import me, state_of
from pileus.cli.separation.ownership import as_its_user
from pileus.cli.serve import only_one
from pileus.cli.settings import load
from pileus.config import Config
from pileus.model.errors import Invalid, NotFound
from pileus.store import backups
from pileus.store.open import without_password


@click.group("db")
def command() -> None:
    """Look at the database, copy it, go back to a copy."""


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def check_command(ctx: click.Context, as_json: bool) -> None:
    """Read all of the database and say what is damaged; exit 1 when something is."""
    config = load(state_of(ctx))
    path = _path(config)
    if not path.exists():
        raise NotFound(f"There is no database {path}.")
    with as_its_user(config):
        wrong, copies = backups.problems(path), backups.found(path)
    if as_json:
        click.echo(json.dumps({"database": str(path), "problems": wrong, "copies": [str(one) for one in copies]}, indent=2))
    else:
        for line in wrong:
            click.echo(f"{click.style('✗', fg='red')} {line}")
        if not wrong:
            click.echo(f"{click.style('✓', fg='green')} {path} is whole.")
        for one in copies:
            click.echo(f"  copy {one}  {one.stat().st_size:,} bytes")
    if wrong:
        ctx.exit(1)


@command.command("backup")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.pass_context
def backup_command(ctx: click.Context, file: Path | None) -> None:
    """Copy the database, also while the cloud runs, to FILE (DIR/backups/pileus-TIME.db). It has every tenant's data: keep it safe."""
    config = load(state_of(ctx))
    path = _path(config)
    with as_its_user(config) if file is None else contextlib.nullcontext():
        click.echo(str(backups.back_up(path, file)))


@command.command("restore")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def restore_command(ctx: click.Context, file: Path | None, yes: bool) -> None:
    """Go back to a copy (the newest, unless FILE is said). What was recorded since is forgotten; the cloud must be stopped."""
    config = load(state_of(ctx))
    path = _path(config)
    copies = backups.found(path)
    if file is None and not copies:
        raise NotFound(f"There is no copy in {backups.directory_of(path)}; name one.")
    chosen = file or copies[0]
    if not yes:
        click.confirm(f"Go back to {chosen}? What was recorded since then is forgotten", abort=True)
    if file is None and chosen.is_symlink():
        raise Invalid(f"{chosen} is a link, which no copy of ours is. Name the file that it leads to, after a look at it.")
    with only_one(config), as_its_user(config):
        aside = backups.restore(path, chosen)
        kept = [backups.keep_contents(path, one) for one in config.image_stores.values()]
        contents = ", ".join(str(one) for one in kept if one)
    if aside:
        click.echo(f"The database as it was: {aside}")
    if contents:
        click.echo(f"Content of images that were made since then: {contents}; upload what you need again, then remove it")
        click.echo(f"What is encrypted of it has to be made plain first: {me(config.state)} image decrypt FILE TARGET")
    click.echo(f"Start the cloud again, then compare: {me(config.state)} up, {me(config.state)} verify")


def _path(config: Config) -> Path:
    """The SQLite file; Invalid, with PostgreSQL's way, where the cloud has none."""
    if config.database is None:
        return config.directory / "pileus.db"
    address = without_password(config.database)
    raise Invalid(
        f"This cloud is on PostgreSQL: pg_dump --format=custom --file=FILE '{address}', pg_restore --clean --dbname='{address}' FILE."
    )
