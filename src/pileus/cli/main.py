"""The list of commands; `pileus` and `./pileus` both come here."""

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from pileus import __version__
from pileus.config import Config
from pileus.model.errors import PileusError

COMMANDS = {
    "up": "Start a cloud on this machine: everything from packages to a first server.",
    "serve": "Run the control plane in the foreground, nothing else.",
    "down": "Stop the control plane; with --destroy remove servers, devices and state.",
    "status": "Show roles, hosts, servers, addresses, versions.",
    "doctor": "Try what this machine can do, and say what is missing.",
    "verify": "Compare records, hypervisor, network devices and disks.",
    "why": "Explain where a server was placed, or why it could not be.",
    "image": "Build the small guest image.",
    "openstack": "The official client with this cloud's credentials.",
    "bench": "Measure this cloud.",
    "test": "Run the tests: unit, store, api, driver, real, faults or all.",
}


class Commands(click.Group):
    """Commands that are imported when they are called; `--state` may stand before or after them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pileus.cli.{cmd_name}")
        command: click.Command = module.command
        if cmd_name not in ("openstack", "test") and not any(one.name == "state" for one in command.params):
            command.params.append(click.Option(["--state"], expose_value=False, callback=_take_state, help="The cloud's state directory."))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _take_state(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(dict)["state"] = value


def state_of(ctx: click.Context) -> Path:
    """The state directory that was chosen."""
    found: dict[str, Any] = ctx.ensure_object(dict)
    return Path(found.get("state") or Config().state).absolute()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--state", metavar="DIR", help="The cloud's state directory (default /var/lib/pileus).")
@click.version_option(__version__, prog_name="pileus")
@click.pass_context
def cli(ctx: click.Context, state: str | None) -> None:
    """A whole private cloud: OpenStack's APIs over real machines, in one command."""
    if state:
        ctx.ensure_object(dict)["state"] = state


def main() -> None:
    """Run a command; an error of ours is one line, never a traceback."""
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        cli(prog_name="pileus", obj={}, standalone_mode=False)
    except PileusError as error:
        click.secho(f"pileus: {error.message}", fg="red", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:  # a defect of ours: its traceback is for the log, not for the user
        logging.getLogger("pileus").critical("a command failed", exc_info=True)
        click.secho(f"pileus: unexpected error: {type(error).__name__}: {error}. DEBUG=1 shows where.", fg="red", err=True)
        if os.environ.get("DEBUG"):
            raise
        sys.exit(70)


if __name__ == "__main__":
    main()
