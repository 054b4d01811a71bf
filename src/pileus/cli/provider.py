"""`pileus provider`: how the providers of OpenID Connect are asked by which users of identity providers log in."""

import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import click
import msgspec

from pileus.cli.client import Api
from pileus.cli.main import state_of
from pileus.cli.settings import load
from pileus.model.errors import Invalid


class Way(NamedTuple):
    """A protocol of an identity provider."""

    api: Api
    path: str


def _way(ctx: click.Context, identity_provider: str, protocol: str) -> Way:
    place = f"identity_providers/{quote(identity_provider, safe='')}/protocols/{quote(protocol, safe='')}"
    return Way(Api(load(state_of(ctx)), "admin", "admin"), f"/identity/v3/OS-FEDERATION/{place}/openid")


@click.group("provider")
def command() -> None:
    """How the providers of users from elsewhere are asked, by OpenID Connect."""


@command.command("set")
@click.argument("identity_provider")
@click.argument("protocol")
@click.option("--issuer", required=True, help="The provider's name, which is an address: https://idp.example/realms/corp.")
@click.option("--client-id", required=True, help="The client that the provider knows this cloud by.")
@click.option(
    "--secret-file", type=click.Path(), help="A file with the client's secret; - reads standard input. Without it a secret stays."
)
@click.option("--audience", "audiences", multiple=True, help="For whom tokens must be; may be given again. None: the client.")
@click.option("--algorithm", "algorithms", multiple=True, help="Signatures that count; may be given again. None: all that are safe.")
@click.option("--scope", "scopes", multiple=True, help="What browsers ask for beside openid; may be given again.")
@click.option("--userinfo", is_flag=True, help="Ask the provider for what stands in no token.")
@click.option("--authorities", type=click.Path(), help="PEM file of who signed the provider's certificate.")
@click.pass_context
def set_provider(
    ctx: click.Context, identity_provider: str, protocol: str, secret_file: str | None, authorities: str | None, **rest: Any
) -> None:
    """Say how the provider of a protocol is asked; both were made by the official client."""
    body: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in rest.items() if value != ()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if secret_file is not None:
        body["client_secret"] = _read(secret_file).strip()
    if authorities is not None:
        body["authorities"] = _read(authorities)
    api, path = _way(ctx, identity_provider, protocol)
    made = api.call("PUT", path, {"openid": body})["openid"]
    click.echo(
        f"Users of {identity_provider} log in by {protocol}. For browsers, the provider must know the address {made['redirect_uri']}"
    )


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{name} can't be read: {error}") from error


@command.command("show")
@click.argument("identity_provider")
@click.argument("protocol")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def show_provider(ctx: click.Context, identity_provider: str, protocol: str, as_json: bool) -> None:
    """How it is asked; its secret is never shown."""
    api, path = _way(ctx, identity_provider, protocol)
    found: dict[str, Any] = api.call("GET", path)["openid"]
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for name, value in found.items():
        words = ", ".join(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        click.echo(f"{name:<18} {words if words not in (None, '') else '-'}")


@command.command("remove")
@click.argument("identity_provider")
@click.argument("protocol")
@click.pass_context
def remove_provider(ctx: click.Context, identity_provider: str, protocol: str) -> None:
    """Nobody logs in by it any more."""
    api, path = _way(ctx, identity_provider, protocol)
    api.call("DELETE", path)
