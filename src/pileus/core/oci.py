"""What an archive of container images holds: an OCI image layout (image-spec 1.1), or what `docker save` writes (image format 1.2).

Who reads the archive has hashed its files; here is decided whether they are what their names and the manifests say.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from pileus.model.base import Model
from pileus.model.errors import Invalid

T = TypeVar("T")
Read = Callable[[str], bytes]
"""read(name): a small file's bytes."""
LONGEST = 4 << 20
"""Bytes of a manifest, as registries limit it."""
MOST_DOCUMENTS = 64
MOST_TEXT = 255
DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)\Z")
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}
"""Go's names as Nova has them; others are the same in both."""
LAYOUT, INDEX, SAVED = "oci-layout", "index.json", "manifest.json"


class File(Model, frozen=True, kw_only=True):
    """A file of the archive. Hashes in hex; sha512 where the file's name has one. `packed`: it begins as a compressed file does."""

    size: int
    sha256: str
    sha512: str = ""
    packed: bool = False


Files = Mapping[str, File]


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Descriptor(msgspec.Struct):
    digest: str
    size: int
    platform: _Platform | None = None
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct):
    """A manifest, or an index of manifests."""

    config: _Descriptor | None = None
    layers: list[_Descriptor] = []
    manifests: list[_Descriptor] = []


class _Roots(msgspec.Struct):
    diff_ids: list[str] = []


class _Config(_Platform):
    rootfs: _Roots = msgspec.field(default_factory=_Roots)


class _Layout(msgspec.Struct, rename="camel"):
    image_layout_version: str


class _Saved(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


class _Found(msgspec.Struct):
    platforms: list[_Platform] = []
    digests: list[str] = []
    names: list[str] = []


def safe(name: str, linked: str = "") -> str:
    """A file's name in the archive, or what a link of this name leads to. Invalid when that lies outside."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), linked) if linked else name)
    if not name or "\0" in name + linked or name.startswith("/") or linked.startswith("/") or path == ".." or path.startswith("../"):
        raise Invalid(f"The archive is refused: its file {name[:100]!r} leads out of it.")
    return path


def properties(files: Files, read: Read) -> dict[str, str]:
    """The image's properties: architecture, os_type, oci_platforms, oci_digest, oci_reference. Invalid when it is not whole and sound."""
    for name, file in files.items():
        _check_blob(name, file)
    found = _Found()
    if LAYOUT in files:
        _layout(files, read, found)
    if SAVED in files:
        _saved(files, read, found)
    if not found.platforms:
        raise Invalid(
            "Image content is not what container_format docker says: it is neither an OCI image layout (oci-layout, index.json, blobs) "
            "nor what `docker save` writes (manifest.json), or holds no image that is whole."
        )
    return _told(found)


def _check_blob(name: str, file: File) -> None:
    blob = BLOB.match(name)
    if blob and getattr(file, blob[1]) != blob[2]:
        raise Invalid(f"The archive is damaged: {name} has another hash than its name says ({getattr(file, blob[1])}).")


def _layout(files: Files, read: Read, found: _Found) -> None:
    if not _decoded(read, LAYOUT, _Layout).image_layout_version.startswith("1."):
        raise Invalid("The OCI image layout has a version that is not known here; 1.0.0 is.")
    waiting = _decoded(read, INDEX, _Manifest).manifests
    seen: set[str] = set()
    while waiting:
        one = waiting.pop(0)
        if one.digest in seen:
            continue
        seen.add(one.digest)
        if len(seen) > MOST_DOCUMENTS:
            raise Invalid(f"The OCI image layout has more than {MOST_DOCUMENTS} manifests.")
        found.names += [
            text for key, text in one.annotations.items() if key in ("org.opencontainers.image.ref.name", "io.containerd.image.name")
        ]
        path = _blob(one)
        if path not in files:  # an index names all platforms, an archive often holds one
            continue
        _check_size(files, one)
        manifest = _decoded(read, path, _Manifest)
        waiting += manifest.manifests
        if manifest.config is not None:
            for part in (manifest.config, *manifest.layers):
                _check_size(files, part)
            found.digests.append(one.digest)
            found.platforms.append(one.platform or _platform(read, _blob(manifest.config)))


def _platform(read: Read, path: str) -> _Platform:
    """What the configuration says of the platform: an artifact's is no document of that kind."""
    try:
        return _decoded(read, path, _Config)
    except Invalid:
        return _Platform()


def _saved(files: Files, read: Read, found: _Found) -> None:
    for one in _decoded(read, SAVED, list[_Saved])[:MOST_DOCUMENTS]:
        found.names += one.repo_tags or []
        config, layers = safe(one.config), [safe(name) for name in one.layers]
        for name in (config, *layers):
            if name not in files:
                raise Invalid(f"The archive is not whole: {name[:150]} is missing.")
        stem = posixpath.basename(config).removesuffix(".json")
        if re.fullmatch("[0-9a-f]{64}", stem) and files[config].sha256 != stem:
            raise Invalid(f"The archive is damaged: {config} has another hash than its name says.")
        document = _decoded(read, config, _Config)
        hashes = document.rootfs.diff_ids
        if len(hashes) != len(layers):
            raise Invalid(f"The archive is damaged: the configuration names {len(hashes)} layers, manifest.json {len(layers)}.")
        for name, digest in zip(layers, hashes, strict=True):
            if not files[name].packed and digest != f"sha256:{files[name].sha256}":
                raise Invalid(f"The archive is damaged: the layer {name} has another hash than the configuration says.")
        if LAYOUT not in files or not found.platforms:
            found.platforms.append(document)
            found.digests.append(f"sha256:{files[config].sha256}")


def _blob(descriptor: _Descriptor) -> str:
    if not DIGEST.match(descriptor.digest):
        raise Invalid(f"The archive is refused: {descriptor.digest[:100]!r} is no digest by sha256 or sha512.")
    return "blobs/" + descriptor.digest.replace(":", "/")


def _check_size(files: Files, descriptor: _Descriptor) -> None:
    file = files.get(_blob(descriptor))
    if file is None:
        raise Invalid(f"The archive is not whole: the blob {descriptor.digest} is missing.")
    if file.size != descriptor.size:
        raise Invalid(f"The archive is damaged: the blob {descriptor.digest} has {file.size} bytes, {descriptor.size} are named.")


def _decoded(read: Read, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(read(name), type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Invalid(f"The archive's {name} can't be read: {error}.") from error


def _told(found: _Found) -> dict[str, str]:
    known = [one for one in found.platforms if one.architecture not in ("", "unknown")]
    told: dict[str, Any] = {"oci_digest": found.digests[0] if len(found.digests) == 1 else ""}
    told["oci_platforms"] = ",".join(
        dict.fromkeys("/".join(part for part in (one.os, one.architecture, one.variant) if part) for one in known)
    )
    told["oci_reference"] = next(iter(found.names), "")
    if len({one.architecture for one in known}) == 1:
        told["architecture"] = ARCHITECTURES.get(known[0].architecture, known[0].architecture)
    if len({one.os for one in known}) == 1:
        told["os_type"] = known[0].os
    return {name: text[:MOST_TEXT] for name, text in told.items() if text}
