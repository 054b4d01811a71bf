"""`pileus image build`: the small guest image, from Debian packages."""

import click

from pileus.cli.progress import step


@click.group("image")
def command() -> None:
    """The small guest image."""


@command.command("build")
@click.option("--refresh", is_flag=True, help="Look for newer packages.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def build_image(refresh: bool, as_json: bool) -> None:
    """Build the image, unless the cache has it; print where it is."""
    import msgspec

    from pileus.guest.build import build, default_cache

    with step("Guest image") as current:
        built = build(default_cache(), current.note, refresh=refresh)
        current.note(built.version)
    if as_json:
        click.echo(msgspec.json.encode(built, enc_hook=str))
    else:
        click.echo(f"{built.disk}  {built.disk.stat().st_size / 1e6:.1f} MB  sha256 {built.sha256}")
