"""`pileus bus`: what the operator of a NATS server needs to let it serve a cloud: its configuration, and a certificate."""

import asyncio
from pathlib import Path

import click

from pileus.bus.authority import BusAuthority
from pileus.cli.credentials import write_private
from pileus.cli.main import state_of
from pileus.cli.separation.ownership import as_its_user
from pileus.cli.settings import database_option, remember
from pileus.cli.shared_secrets import agree, authority_of
from pileus.config import Config
from pileus.core.nats_config import text
from pileus.model.errors import Invalid
from pileus.store import admissions, schema
from pileus.store.open import open_database


@click.group("bus")
def command() -> None:
    """The configuration and the certificate of the message bus."""


@command.command("config")
@click.option("--listen", metavar="HOST:PORT", required=True, help="Where the NATS server listens.")
@click.option("--certificate", metavar="FILE", default="", help="Its certificate, on its own machine; see: pileus bus certificate")
@click.option("--key", metavar="FILE", default="", help="The certificate's key.")
@database_option
@click.pass_context
def config(ctx: click.Context, listen: str, certificate: str, key: str, database: str | None) -> None:
    """Print nats-server's configuration: who may speak there, and which removed hosts may not. To be renewed after `host remove`."""
    host, colon, port = listen.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise Invalid(f"--listen {listen}: expected HOST:PORT, such as 10.0.0.1:4222.")
    if bool(certificate) != bool(key):
        raise Invalid("--certificate and --key are given together, or neither.")
    authority, void = asyncio.run(found(remember(state_of(ctx), database=database)))
    click.echo(text(authority.server(listen, certificate, key, void)), nl=False)


@command.command("certificate")
@click.argument("names", nargs=-1, required=True)
@click.option("--certificate", metavar="FILE", default="bus.pem", show_default=True, help="Where the certificate is written.")
@click.option("--key", metavar="FILE", default="bus.key", show_default=True, help="Where its key is written.")
@database_option
@click.pass_context
def certificate(ctx: click.Context, names: tuple[str, ...], certificate: str, key: str, database: str | None) -> None:
    """Make a certificate for a NATS server with these NAMES or addresses. Hosts and managers trust it without more ado."""
    authority, _ = asyncio.run(found(remember(state_of(ctx), database=database)))
    made = authority.certificate_for(list(names))
    write_private(Path(key), made[1])
    write_private(Path(certificate), made[0])
    click.echo(f"✓ {certificate} and {key} are for {', '.join(names)}. Give them to the user that nats-server runs as.")


async def found(config: Config) -> tuple[BusAuthority, dict[str, int]]:
    """The cloud's authority, and the keys of removed hosts; before the first process has started there are none."""
    with as_its_user(config):
        return await _found(config)


async def _found(config: Config) -> tuple[BusAuthority, dict[str, int]]:
    if config.database is None:
        return authority_of(config.directory), {}
    db = open_database(config)
    try:
        if await schema.missing(db):
            return authority_of(config.directory), {}
        await agree(db, config.directory)
        return authority_of(config.directory), await admissions.revoked(db)
    finally:
        await db.close()
