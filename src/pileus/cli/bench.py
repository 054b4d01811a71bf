"""`pileus bench NAME`: a measurement of this program on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import click

from pileus.model.errors import NotFound


@click.command("bench", context_settings={"ignore_unknown_options": True})
@click.argument("name", type=click.Choice(["control-plane", "boot", "scale", "migration", "identity", "images"]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(name: str, arguments: tuple[str, ...]) -> None:
    """control-plane: CPU and time of the API on simulated hosts (--quick: a minute). scale: placement over many hosts.
    boot: a server's way to QEMU (needs root). migration: a live migration, beside QEMU's own (needs root). identity: 100,000 users.
    images: content up and down beside cp, a large sparse disk."""
    home = Path(os.environ.get("PILEUS_HOME") or Path(__file__).resolve().parents[3])
    program = home / "bench" / f"{name.replace('-', '_')}.py"
    if not program.exists():
        raise NotFound(f"There are no benchmarks in {home}: they are in the source tree; run ./pileus bench there.")
    path = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH", "")]))
    command_line = [sys.executable, "-m", f"bench.{program.stem}", *arguments]
    sys.exit(subprocess.run(command_line, env={**os.environ, "PYTHONPATH": path}).returncode)
