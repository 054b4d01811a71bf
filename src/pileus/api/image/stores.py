"""The stores of this cloud: which there are, which of them a request names, in which an image's content is found.

A store is a directory with contents named by their SHA-256, each once for all images that have it there; `web` is that of contents which
stay elsewhere.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pileus.api.cloud import Cloud
from pileus.api.request import Request
from pileus.config import Config
from pileus.model.errors import Conflict, Invalid
from pileus.model.image_stores import LOCAL, WEB, ImageLocation
from pileus.model.images import Image
from pileus.store import contents
from pileus.store.sealing import Seal, seal_of

HEADER = "x-image-meta-store"


def names(config: Config) -> list[str]:
    """Every store that content can be written to, the default one first."""
    return list(config.image_stores)


def heaviest_first(config: Config, some: Iterable[str]) -> list[str]:
    """Stores in the order in which they are shown and read: by weight, else as they came."""
    known = config.image.stores
    return sorted(some, key=lambda name: -known[name].weight if name in known else 0)


def shown(config: Config, image: Image) -> list[str]:
    """The stores that an image is in."""
    return heaviest_first(config, [*image.stores, *([WEB] if image.locations else [])])


def locations(config: Config, image: Image) -> list[ImageLocation]:
    """An image's locations as its owner sees them. Of a store of ours they name store and content, and lead nowhere."""
    found: list[ImageLocation] = []
    for name in shown(config, image):
        if name == WEB:
            found += [ImageLocation(url=one.url, metadata={**one.metadata, "store": WEB}) for one in image.locations]
        else:
            found.append(ImageLocation(url=f"pileus://{name}/{image.content}", metadata={"store": name}))
    return found


def one(request: Request) -> str:
    """The store that an upload is for."""
    name = request.headers.get(HEADER, LOCAL)
    if name not in request.cloud.image_stores:
        raise Invalid(f"There is no store {name[:80]!r} to upload to; there are {', '.join(names(request.cloud.config))}.", field=HEADER)
    return name


def wanted(request: Request, some: list[str] | None, every: bool) -> tuple[str, ...]:
    """The stores that an import is for. Invalid when they are said twice, Conflict for one that is not there or can't be written."""
    header = request.headers.get(HEADER)
    if every and (some is not None or header is not None):
        raise Invalid(f"all_stores can't be used together with stores or the header {HEADER}.", field="all_stores")
    if some is not None and header is not None:
        raise Invalid(f"Name stores either in the body or in the header {HEADER}, not in both.", field="stores")
    known = names(request.cloud.config)
    found = known if every else list(dict.fromkeys(some or [header or LOCAL]))
    if unknown := [name for name in found if name not in known]:
        why = "is read-only" if unknown[0] == WEB and request.cloud.config.image.web_store else "is not there"
        raise Conflict(f"The store {unknown[0][:80]!r} {why}; there are {', '.join(known)}.")
    return tuple(heaviest_first(request.cloud.config, found))


def find(cloud: Cloud, image: Image) -> Path | None:
    """The file of an image's content, in the first of its stores that has it whole."""
    for name in heaviest_first(cloud.config, image.stores):
        directory = cloud.image_stores.get(name)
        if directory is not None and image.content is not None and size_of(directory / image.content) == image.size:
            return directory / image.content
    return None


def size_of(path: Path) -> int | None:
    """Bytes of a content, however its file has them; None when it is not there."""
    try:
        return contents.size_of(path)
    except OSError:  # its disk may be away
        return None


def is_encrypted(config: Config, name: str) -> bool:
    """Whether what is written to that store is to be encrypted."""
    said = config.image.stores.get(name)
    return said is not None and said.encrypted


def seal(cloud: Cloud) -> Seal:
    """What seals the keys of encrypted contents."""
    return seal_of(cloud.config.directory)


def anywhere(cloud: Cloud, content: str) -> Path | None:
    """The file of a content, whatever images have it."""
    return next((path for directory in cloud.image_stores.values() if (path := directory / content).is_file()), None)


def entries(config: Config, detail: bool) -> list[dict[str, Any]]:
    """The stores as the API tells of them; `detail`: with where they lie."""
    found: list[dict[str, Any]] = []
    for name, directory in config.image_stores.items():
        said = config.image.stores.get(name)
        text = said.description if said and said.description else "Files named by their SHA-256"
        entry: dict[str, Any] = {"id": name, "description": text}
        if name == LOCAL:
            entry["default"] = "true"
        weight = said.weight if said else 0
        if detail:
            about = {"data_dir": str(directory), "thin_provisioning": not is_encrypted(config, name)}
            entry |= {"type": "file", "weight": weight, "properties": about}
        elif weight:
            entry["weight"] = weight
        found.append(entry)
    if config.image.web_store:
        entry = {"id": WEB, "description": "Addresses of the web, read from there", "read-only": "true"}
        found.append(entry | ({"type": "http", "weight": 0, "properties": {}} if detail else {}))
    return found
