"""The rules of an image's attributes: which may be given, changed or removed, and with what values (Image API v2, create and update)."""

import re
from typing import Annotated, Any, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.model.errors import Conflict, Forbidden, Invalid, TooLarge
from pileus.model.images import CONTAINER_FORMATS, DISK_FORMATS, Image, ImageStatus, Visibility

MOST_TAGS = 128
MOST_PROPERTIES = 128
MOST_MEMBERS = 128
MIXED = ("aki", "ari", "ami")
READ_ONLY = {"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "os_hash_algo", "os_hash_value"} | {
    "direct_url", "self", "file", "schema", "stores",
}  # fmt: skip
RESERVED = frozenset(("location", "deleted", "deleted_at"))
ATTRIBUTES = frozenset(
    ("id", "name", "owner", "visibility", "protected", "os_hidden", "container_format", "disk_format", "min_disk", "min_ram", "tags")
)  # what an image always has; everything else is a property of the user's
DIGESTS = {"sha256": 64, "sha512": 128}
Digest = tuple[str, str]
"""Algorithm and value, in hex."""
OPERATIONS = ("add", "remove", "replace")

Text = Annotated[str, Meta(max_length=255)]
Count = Annotated[int, Meta(ge=0, le=2147483647)]
Id = Annotated[str, Meta(pattern=r"^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}\Z")]


class Attributes(msgspec.Struct, kw_only=True):
    """Values of attributes, those that were given."""

    id: Id | UnsetType = UNSET
    name: Text | UnsetType | None = UNSET
    owner: Text | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET
    protected: bool | UnsetType = UNSET
    os_hidden: bool | UnsetType = UNSET
    container_format: str | UnsetType | None = UNSET
    disk_format: str | UnsetType | None = UNSET
    min_disk: Count | UnsetType = UNSET
    min_ram: Count | UnsetType = UNSET
    tags: list[Text] | UnsetType = UNSET


class Operation(msgspec.Struct, frozen=True):
    """One step of a patch: `name` is the attribute or property, `rest` what the path says of a place in it."""

    op: str
    name: str
    value: Any = None
    rest: tuple[str, ...] = ()


def accept(values: dict[str, Any]) -> dict[str, Any]:
    """The columns of an image that the given attributes and properties come to.

    Invalid names what does not fit, Forbidden what may not be given.
    """
    for name in values:
        check_name(name)
    given = {name: value for name, value in values.items() if name in ATTRIBUTES}
    try:
        accepted = msgspec.convert(given, Attributes)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"Provided object does not match schema 'image': {error}", field=str(error).rpartition("$.")[2].rstrip("`")
        ) from error
    columns: dict[str, Any] = {name: value for name in given if (value := getattr(accepted, name)) is not UNSET}
    _check_formats(columns)
    if "tags" in columns:
        columns["tags"] = limit_tags(columns["tags"])
    properties = {name: value for name, value in values.items() if name not in ATTRIBUTES}
    if properties:
        columns["properties"] = _check_properties(properties)
    return columns


def check_name(name: str) -> None:
    """Forbidden for what only the service writes."""
    if name in READ_ONLY:
        raise Forbidden(f"Attribute '{name}' is read-only.", field=name)
    if name in RESERVED or name.startswith("os_glance_"):
        raise Forbidden(f"Attribute '{name}' is reserved.", field=name)
    if name == "locations":
        raise Forbidden("It's not allowed to add, replace or remove locations if locations are invisible.", field=name)


def check_digest(algorithm: str | None, value: str | None) -> Digest | None:
    """The hash that content is to have, when one was named. Invalid when it is none that is counted here."""
    if algorithm is None and value is None:
        return None
    if algorithm not in DIGESTS or value is None or not re.fullmatch(rf"[0-9a-fA-F]{{{DIGESTS[algorithm]}}}", value):
        known = ", ".join(f"{name} ({length} hex digits)" for name, length in DIGESTS.items())
        raise Invalid(f"os_hash_algo and os_hash_value must both be given and fit together: {known}.", field="validation_data")
    return algorithm, value.lower()


def limit_tags(tags: list[str]) -> list[str]:
    """The tags without repetitions; TooLarge when there are too many."""
    unique = list(dict.fromkeys(tags))
    if len(unique) > MOST_TAGS:
        raise TooLarge(f"The limit has been exceeded on the number of allowed image tags. Attempted: {len(unique)}, Maximum: {MOST_TAGS}")
    return unique


def check_mix(disk_format: str | None, container_format: str | None) -> None:
    """Amazon's kernel formats go only with themselves."""
    if disk_format == container_format or disk_format is None or container_format is None:
        return
    if disk_format in MIXED or container_format in MIXED:
        raise Invalid(
            "Invalid mix of disk and container formats. When setting a disk or container format to one of 'aki', 'ari', or 'ami', "
            "the container and disk formats must match."
        )


def _check_formats(columns: dict[str, Any]) -> None:
    for name, known in (("disk_format", DISK_FORMATS), ("container_format", CONTAINER_FORMATS)):
        value = columns.get(name)
        if value is not None and value not in known:
            raise Invalid(f"Invalid {name} '{value}': it must be one of {', '.join(known)}.", field=name)


def _check_properties(properties: dict[str, Any]) -> dict[str, str]:
    if len(properties) > MOST_PROPERTIES:
        words = f"Attempted: {len(properties)}, Maximum: {MOST_PROPERTIES}"
        raise TooLarge(f"The limit has been exceeded on the number of allowed image properties. {words}")
    for name, value in properties.items():
        if not isinstance(value, str):
            raise Invalid(f"Provided object does not match schema 'image': property '{name}' is not of type 'string'.", field=name)
        if not name or len(name) > 255 or len(value) > 65535:
            raise Invalid(f"Property '{name[:255]}' is too long: a name has 1 to 255 characters, a value at most 65535.", field=name[:255])
    return cast(dict[str, str], properties)


def parse_patch(raw: Any, old_form: bool) -> list[Operation]:
    """The operations of a patch document; `old_form` is the draft that v2.0 took ({"replace": "/name", "value": ...})."""
    if not isinstance(raw, list):
        raise Invalid("Request body must be a JSON array of operation objects.")
    return [_parse_operation(item, old_form) for item in cast(list[Any], raw)]


def _parse_operation(raw: Any, old_form: bool) -> Operation:
    if not isinstance(raw, dict):
        raise Invalid("Operations must be JSON objects.")
    item = cast(dict[str, Any], raw)
    if old_form:
        found = [word for word in OPERATIONS if word in item]
        if len(found) != 1:
            raise Invalid("Operation objects must contain exactly one member named 'add', 'remove', or 'replace'.")
        op, path = found[0], item[found[0]]
    else:
        for word in ("op", "path"):
            if word not in item:
                raise Invalid(f"Unable to find '{word}' in JSON Schema change")
        op, path = item["op"], item["path"]
    if op not in OPERATIONS:
        raise Invalid(f"Invalid operation: `{op}`. It must be one of the following: {', '.join(OPERATIONS)}.")
    if op != "remove" and "value" not in item:
        raise Invalid(f"Operation '{op}' requires a member named 'value'.")
    name, *rest = _attribute(path)
    return Operation(op=op, name=name, value=item.get("value"), rest=tuple(rest))


def _attribute(path: Any) -> list[str]:
    """The attribute that a JSON pointer names, and the place in it."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise Invalid(f'Pointer `{path}` does not start with "/".')
    parts = path[1:].split("/")
    if "" in parts:
        raise Invalid(f'Pointer `{path}` contains an empty part: adjacent "/" or one at its end.')
    for part in parts:
        if "~" in part.replace("~0", "").replace("~1", ""):
            raise Invalid(f'Pointer `{path}` contains "~" not part of a recognized escape sequence.')
    names = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    if len(names) > 1 and names[0] != "locations":
        raise Invalid(f"Invalid JSON pointer for this resource: '{path}'")
    return names


def patched(image: Image, operations: list[Operation]) -> dict[str, Any]:
    """The columns that change when the operations are applied in order.

    Forbidden: what is read-only, an attribute removed, formats of an image that has content. Conflict: a property that is not there.
    """
    values: dict[str, Any] = {}
    properties = dict(image.properties)
    for one in operations:
        check_name(one.name)
        if one.name == "id":
            raise Forbidden("Attribute 'id' is read-only.", field="id")
        if one.name in ATTRIBUTES:
            if one.op == "remove":
                raise Forbidden(f"Property {one.name} may not be removed.", field=one.name)
            if one.name in ("disk_format", "container_format") and image.status != ImageStatus.QUEUED:
                raise Forbidden(f"Attribute {one.name} can be only replaced for a queued image.", field=one.name)
            values[one.name] = one.value
            continue
        if one.op != "add" and one.name not in properties:
            raise Conflict(f"Property {one.name} does not exist.", field=one.name)
        if one.op == "remove":
            del properties[one.name]
        else:
            properties[one.name] = one.value
    columns = accept(values)
    if properties != image.properties:
        columns["properties"] = _check_properties(properties)
    check_mix(columns.get("disk_format", image.disk_format), columns.get("container_format", image.container_format))
    return columns
