"""The list of commands; `pileus` and `./pileus` both come here."""

import errno
import importlib
import io
import logging
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from pileus import __version__
from pileus.cli import COMMANDS
from pileus.cli.hardening import harden
from pileus.config import Config
from pileus.model.errors import PileusError


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
            command.params.append(
                click.Option(["--state"], expose_value=False, callback=_take_state, metavar="DIR", help="The cloud's state directory.")
            )
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


def me(state: str) -> str:
    """This program as the user calls it, for a state directory."""
    program = shlex.quote(os.environ.get("PILEUS_COMMAND", "pileus"))
    return f"{program} --state {shlex.quote(state)}" if state != Config().state else program


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
    harden()
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of few characters
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the launcher blocked it while we were loaded
        sys.exit(cli(prog_name="pileus", obj={}, standalone_mode=False) or 0)  # what a command gave to `ctx.exit`
    except PileusError as error:
        click.secho(f"pileus: {error.message}", fg="red", err=True)
        sys.exit(1)
    except click.ClickException as error:
        click.echo(misused(error), err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed has no reader
        sys.exit(0)
    except OSError as error:
        click.secho(f"pileus: {reason(error)}", fg="red", err=True)
        sys.exit(1)
    except Exception as error:  # a defect of ours: its traceback is for the log, not for the user
        logging.getLogger("pileus").critical("a command failed", exc_info=True)
        click.secho(f"pileus: unexpected error: {type(error).__name__}: {error}. DEBUG=1 shows where.", fg="red", err=True)
        if os.environ.get("DEBUG"):
            raise
        sys.exit(70)


def misused(error: click.ClickException) -> str:
    """What was wrong with the command's words, in one line; the help where only a group was named."""
    text = error.format_message()
    if text.startswith("Usage:"):
        return text
    where = error.ctx.command_path.split()[1:] if isinstance(error, click.UsageError) and error.ctx else []
    help_command = " ".join((os.environ.get("PILEUS_COMMAND", "pileus"), *where, "--help"))
    return click.style(f"pileus: {' '.join(text.split())} See: {help_command}", fg="red")


def reason(error: OSError) -> str:
    """What the machine refused, and the way out where it is known."""
    what = f"{error.filename}: " if error.filename else ""
    remedy = {errno.ENOSPC: " Make room on that file system.", errno.EACCES: " Use sudo.", errno.EPERM: " Use sudo."}
    return f"{what}{error.strerror or error}.{remedy.get(error.errno or 0, '')}"


if __name__ == "__main__":
    main()
