"""Archives of container images (`container_format` docker): looked at as bytes, each file hashed, before the image becomes active."""

import hashlib
import tarfile
from dataclasses import replace

from pileus.api.image import archives
from pileus.api.image.unpacking import Taken
from pileus.core import oci
from pileus.core.image_formats.others import COMPRESSED, compression
from pileus.model.errors import Invalid
from pileus.model.images import Image

MOST_MEMBERS = 4096
MOST_LINKS = 8
SHA512 = "blobs/sha512/"


def inspected(taken: Taken, image: Image) -> Taken:
    """The same content, with what its manifests say as properties; what a user has said wins. Blocks.

    Invalid unless it is an OCI image layout or what `docker save` writes, and whole. What an upload has packed is not looked into.
    """
    if compression(taken.inspector.sample()):
        return taken
    with archives.members(taken.path, "The archive", MOST_MEMBERS) as found:
        by_name = _by_name(found)
        unique = {one.offset: _hashed(taken, one) for one in {one.offset: one for one in by_name.values()}.values()}
        files = {name: unique[one.offset] for name, one in by_name.items()}

        def read(name: str) -> bytes:
            if name not in by_name:
                raise Invalid(f"The archive is not whole: {name[:150]} is missing.")
            return archives.document(taken.path, by_name[name], oci.LONGEST)

        told = oci.properties(files, read)
    kept = taken.changes.get("properties", image.properties)
    return replace(taken, changes={**taken.changes, "properties": {**told, **kept}})


def _by_name(found: list[tarfile.TarInfo]) -> dict[str, tarfile.TarInfo]:
    """Files by their names; where Docker has linked a layer to another's, by both. Invalid for whatever else may lie in a tar archive."""
    files: dict[str, tarfile.TarInfo] = {}
    links: dict[str, str] = {}
    for one in found:
        name = oci.safe(one.name)
        if one.issym():
            links[name] = oci.safe(name, one.linkname)
        elif archives.is_plain(one):
            if name in files:
                raise Invalid(f"The archive is refused: it holds {name[:100]!r} twice.")
            files[name] = one
        elif not one.isdir():
            raise Invalid(f"The archive is refused: {name[:100]!r} is neither a file nor a directory.")
    for name, target in links.items():
        for _ in range(MOST_LINKS):
            target = links.get(target, target)
        if target in files and name not in files:
            files[name] = files[target]
    return files


def _hashed(taken: Taken, member: tarfile.TarInfo) -> oci.File:
    sha256, sha512 = hashlib.sha256(), hashlib.sha512() if oci.safe(member.name).startswith(SHA512) else None
    head = b""
    for data in archives.blocks(taken.path, member):
        head = head or data[:8]
        sha256.update(data)
        if sha512:
            sha512.update(data)
    return oci.File(
        size=member.size,
        sha256=sha256.hexdigest(),
        sha512=sha512.hexdigest() if sha512 else "",
        packed=any(head.startswith(magic) for magic in COMPRESSED.values()),
    )
