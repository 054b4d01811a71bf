"""What a JSON patch makes of an image's locations (the old way to set them, which Glance shows with `show_multiple_locations`)."""

import re
from typing import Any, cast

import msgspec

from pileus.core.images import DIGESTS, Operation
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, TooLarge
from pileus.model.image_stores import WEB, ImageLocation
from pileus.model.images import Image, ImageStatus

MOST = 10
"""Locations of an image."""
MOST_NOTES = 32
OWN = "pileus://"


class Validation(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of the content at a location. Nobody compares it before the content is read."""

    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


class Given(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A location as a client writes it."""

    url: str
    metadata: dict[str, str] = {}
    validation_data: Validation | None = None


class Locations:
    """An image's locations while a patch is applied: those in stores of ours, of which the patch may but remove some, and addresses of the
    web. `added` are the new addresses, which nobody has looked at yet."""

    def __init__(self, image: Image, shown: list[ImageLocation]) -> None:
        self.image = image
        self.shown = shown
        self.added: list[str] = []
        self.hashes: dict[str, Any] = {}

    def apply(self, one: Operation) -> None:
        """One step. Forbidden, Conflict or Invalid as Glance has them."""
        if one.op != "remove" and self.image.status not in (ImageStatus.ACTIVE, ImageStatus.QUEUED):
            raise Conflict(f"It's not allowed to {one.op} locations if image status is {self.image.status}.")
        if one.op == "remove":
            self._remove(one.rest)
        elif one.op == "add" and one.rest:
            self._add(_given(one.value), one.rest)
        elif one.rest:
            raise Invalid("Locations are replaced as a whole: by the path /locations.", field="locations")
        else:
            self._replace(one.value)

    def stores(self) -> list[str]:
        """The stores of ours that are left."""
        return [one.metadata["store"] for one in self.shown if one.metadata["store"] != WEB]

    def addresses(self) -> list[ImageLocation]:
        """The addresses of the web."""
        return [
            ImageLocation(url=one.url, metadata={name: value for name, value in one.metadata.items() if name != "store"})
            for one in self.shown
            if one.metadata["store"] == WEB
        ]

    def _remove(self, rest: tuple[str, ...]) -> None:
        if not rest:
            raise Forbidden("Property locations may not be removed.", field="locations")
        place = _number(rest)
        if place >= len(self.shown):
            raise Invalid(f"Invalid location position: {place}; there are {len(self.shown)}.", field="locations")
        if len(self.shown) == 1:
            raise Forbidden("Cannot remove last location in the image.", field="locations")
        del self.shown[place]

    def _add(self, given: Given, rest: tuple[str, ...]) -> None:
        place = len(self.shown) if rest == ("-",) else min(_number(rest), len(self.shown))
        if given.url.startswith(OWN):
            raise Invalid("Content of a store of ours can't be named as a location.", field="locations")
        if given.url in (one.url for one in self.shown):
            raise Invalid(f"The location {given.url} is there already.", field="locations")
        if len(self.shown) >= MOST:
            raise TooLarge(f"The limit has been exceeded on the number of allowed image locations: at most {MOST}.")
        if given.validation_data:
            self._believe(given.validation_data)
        self.shown.insert(place, ImageLocation(url=given.url, metadata={**_notes(given.metadata), "store": WEB}))
        self.added.append(given.url)

    def _replace(self, value: Any) -> None:
        if not isinstance(value, list):
            raise Invalid("Locations are a list of objects with url and metadata.", field="locations")
        given = [_given(one) for one in cast(list[Any], value)]
        if not self.shown:
            for one in given:
                self._add(one, ("-",))
            return
        if [one.url for one in given] != [one.url for one in self.shown]:
            raise Invalid("Original locations is not empty: replacing may change their metadata, not their addresses.", field="locations")
        for index, (new, old) in enumerate(zip(given, self.shown, strict=True)):
            if old.metadata["store"] == WEB:
                self.shown[index] = ImageLocation(url=old.url, metadata={**_notes(new.metadata), "store": WEB})

    def _believe(self, said: Validation) -> None:
        """The first location of an image may bring its hashes; what comes later must say the same."""
        values = {name: value for name, value in msgspec.structs.asdict(said).items() if value is not None}
        known = {name: self.hashes.get(name, getattr(self.image, name)) for name in values}
        if self.image.status == ImageStatus.ACTIVE or self.hashes:
            if known != values:
                raise Conflict("checksum, os_hash_algo and os_hash_value must be those of the image.", field="validation_data")
            return
        algorithm, value = said.os_hash_algo, said.os_hash_value
        if (algorithm is None) != (value is None) or (
            value is not None and not re.fullmatch(rf"[0-9a-f]{{{DIGESTS.get(algorithm or '', 0)}}}", value)
        ):
            raise Invalid("os_hash_algo and os_hash_value must both be given and fit together.", field="validation_data")
        if said.checksum is not None and not re.fullmatch(r"[0-9a-f]{32}", said.checksum):
            raise Invalid("checksum must be an MD5 of 32 hex digits.", field="validation_data")
        self.hashes = values


def _given(value: Any) -> Given:
    try:
        return msgspec.convert(value, Given)
    except msgspec.ValidationError as error:
        raise Invalid(f"A location is an object with url, metadata and validation_data: {error}", field="locations") from error


def _notes(metadata: dict[str, str]) -> dict[str, str]:
    if len(metadata) > MOST_NOTES or any(len(name) > 255 or len(value) > 1024 for name, value in metadata.items()):
        raise Invalid(f"A location's metadata has at most {MOST_NOTES} entries of at most 1024 characters.", field="locations")
    return {name: value for name, value in metadata.items() if name != "store"}


def _number(rest: tuple[str, ...]) -> int:
    if len(rest) != 1 or not re.fullmatch(r"[0-9]{1,4}", rest[0]):
        raise Invalid("The position of a location is a number, or '-' for the end.", field="locations")
    return int(rest[0])
