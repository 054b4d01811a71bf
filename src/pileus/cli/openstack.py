"""`pileus openstack ARGS`: the official client with this cloud's clouds.yaml."""

import os
import sys
from pathlib import Path

import click

from pileus.cli.main import me, state_of
from pileus.model.errors import NotFound


@click.command("openstack", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """The official client; all that follows goes to it. Cloud `pileus` unless --os-cloud says otherwise."""
    state = state_of(ctx)
    file = state / "clouds.yaml"
    if not file.exists():
        raise NotFound(f"There is no cloud in {state}: {file} is missing. Start one: {me(str(state))} up (or choose with --state DIR)")
    if not os.access(file, os.R_OK):
        raise NotFound(f"{file} can't be read by this user; use sudo.")
    program = Path(sys.executable).parent / "openstack"
    if not program.exists():
        raise NotFound("The official client is not installed in pileus' environment: pip install 'pileus[client]'.")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environment = {**clean, "OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": os.environ.get("OS_CLOUD", "pileus")}
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 replaces this process
