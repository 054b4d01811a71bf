"""`pileus image`: the small guest image from Debian packages; images brought in from elsewhere, or taken out of an encrypted store;
certificates of who signs images."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import click

from pileus.cli.main import state_of
from pileus.cli.progress import step
from pileus.model.errors import Conflict, Invalid, NotFound, Unavailable


@click.group("image")
def command() -> None:
    """The small guest image; images from elsewhere; trusted certificates."""


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


@command.command("decrypt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_context
def decrypt_image(ctx: click.Context, file: Path, target: Path) -> None:
    """Write the plain content of FILE, from an encrypted image store of this cloud, to TARGET. FILE has the name that it had there."""
    from functools import partial

    from pileus.cli.settings import load
    from pileus.store import contents
    from pileus.store.sealing import seal_that_is_there

    if target.exists():
        raise Conflict(f"{target} is there already.")
    try:
        with contents.opened(file, partial(seal_that_is_there, load(state_of(ctx)).directory)) as content:
            found = contents.copy(content, target)
    except OSError as error:
        raise Unavailable(f"{error.filename or target}: {error.strerror}") from error
    if found != file.name:
        target.unlink()
        raise Invalid(f"{file} does not hold what its name says: it is damaged, or has another name than it had in the store.")
    click.echo(f"{target}  {target.stat().st_size / 1e6:.1f} MB  sha256 {found}")


@command.command("import")
@click.argument("source")
@click.option("--name", help="The image's name; of further disks, with a number.  [default: the source's]")
@click.option("--public", is_flag=True, help="For every project; made as the cloud's administrator.")
@click.option("--disk-format", help="Where the bytes don't say it.")
@click.option("--container-format", help="bare, compressed, ova, docker; where the bytes don't say it.")
@click.option("--min-disk", type=click.IntRange(0), metavar="GIB", help="[default: the disk's size]")
@click.option("--min-ram", type=click.IntRange(0), metavar="MIB")
@click.option("--property", "properties", multiple=True, metavar="NAME=VALUE", help="A property; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--os-cloud", envvar="OS_CLOUD", metavar="NAME", help="Into this cloud of clouds.yaml instead of the state directory's.")
@click.option("--libvirt", default="qemu:///system", envvar="LIBVIRT_DEFAULT_URI", metavar="URI", show_default=True)
@click.option(
    "--scratch", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where backups are unpacked.  [default: /var/tmp]"
)
@click.option("--json", "as_json", is_flag=True, help="For programs: the images that were made.")
@click.pass_context
def import_image(ctx: click.Context, source: str, as_json: bool, **given: Any) -> None:
    """Bring in images from SOURCE: a file, http(s)://..., cloud:NAME/IMAGE, libvirt:POOL/VOLUME, or a Proxmox backup (*.vma...).

    What fails or is interrupted leaves nothing behind; a broken connection is gone on with.
    """
    from pileus.cli.bring import target
    from pileus.cli.bring.sources import Wishes
    from pileus.cli.bring.steps import Said, bring
    from pileus.cli.settings import load

    said = Said(
        name=given["name"],
        disk_format=given["disk_format"],
        container_format=given["container_format"],
        visibility="public" if given["public"] else None,
        min_disk=given["min_disk"],
        min_ram=given["min_ram"],
        properties=_pairs(given["properties"]),
        tags=given["tags"],
    )
    if given["os_cloud"] or os.environ.get("OS_AUTH_URL"):
        cloud = target.of_clouds(given["os_cloud"])
    else:
        cloud = target.of_state(load(state_of(ctx)), public=bool(given["public"]))
    wishes = Wishes(given["scratch"] or Path("/var/tmp"), given["libvirt"])
    made = bring(source, cloud, said, wishes)
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    for image in made:
        click.echo(f"{image['id']}  {image['name']}  {image['disk_format']}  {image['size'] / 1e6:.1f} MB")


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := next((name for name, equals, _ in pairs if not (name and equals)), None):
        raise click.UsageError(f"--property {wrong}: expected NAME=VALUE.")
    return {name: value for name, _, value in pairs}


@command.group("certificate")
def certificate() -> None:
    """Certificates of who signs images: an image that names one is taken only with content that was signed so."""


@certificate.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--id", "key", type=click.UUID, help="Its id, which images name.  [default: a new one]")
@click.pass_context
def add_certificate(ctx: click.Context, file: Path, key: uuid.UUID | None) -> None:
    """Trust the certificate in FILE (PEM); print its id, for img_signature_certificate_uuid."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from pileus import durable

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise Invalid(f"{file} is no certificate in PEM: {error}.") from error
    folder = _certificates(ctx)
    folder.mkdir(mode=0o755, exist_ok=True)
    name = str(key or uuid.uuid4())
    durable.write(folder / f"{name}.pem", found.public_bytes(Encoding.PEM), 0o644)
    click.echo(name)


@certificate.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_certificates(ctx: click.Context, as_json: bool) -> None:
    """Certificates that are trusted."""
    from cryptography import x509

    found = []
    for path in sorted(_certificates(ctx).glob("*.pem")):
        one = x509.load_pem_x509_certificate(path.read_bytes())
        found.append({"id": path.stem, "subject": one.subject.rfc4514_string(), "not_valid_after": one.not_valid_after_utc.isoformat()})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in found:
        click.echo(f"{line['id']}  {line['not_valid_after'][:10]}  {line['subject']}")


@certificate.command("remove")
@click.argument("key", type=click.UUID, metavar="ID")
@click.pass_context
def remove_certificate(ctx: click.Context, key: uuid.UUID) -> None:
    """Trust it no more; images that are there stay."""
    path = _certificates(ctx) / f"{key}.pem"
    if not path.exists():
        raise NotFound(f"There is no certificate {key}. List them: pileus image certificate list")
    path.unlink()


def _certificates(ctx: click.Context) -> Path:
    from pileus.api.image.signatures import CERTIFICATES
    from pileus.cli.settings import check_store, load

    config = load(state_of(ctx))
    check_store(config)
    return config.directory / "images" / CERTIFICATES
