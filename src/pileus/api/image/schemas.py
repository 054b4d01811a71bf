"""JSON schemas of images and members, in the shape that clients of the Image API read."""

from typing import Any

from pileus.core.images import READ_ONLY
from pileus.model.images import CONTAINER_FORMATS, DISK_FORMATS, ImageStatus, MemberStatus, Visibility

UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"


def _text(description: str, longest: int | None = 255, null: bool = True) -> dict[str, Any]:
    one: dict[str, Any] = {"type": ["null", "string"] if null else "string", "description": description}
    return one if longest is None else {**one, "maxLength": longest}


def _number(description: str, null: bool = False) -> dict[str, Any]:
    return {"type": ["null", "integer"] if null else "integer", "description": description, **({} if null else {"minimum": 0})}


IMAGE: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "pattern": UUID, "description": "The image's identifier"},
    "name": _text("A name for people"),
    "status": {"type": "string", "enum": [str(one) for one in ImageStatus], "description": "Where the image is in its life"},
    "visibility": {"type": "string", "enum": [str(one) for one in Visibility], "description": "Who sees the image"},
    "protected": {"type": "boolean", "description": "A protected image can't be deleted"},
    "os_hidden": {"type": "boolean", "description": "A hidden image is not in the default list"},
    "owner": _text("The project that the image belongs to"),
    "container_format": {"type": ["null", "string"], "enum": [None, *CONTAINER_FORMATS], "description": "What the disk is wrapped in"},
    "disk_format": {"type": ["null", "string"], "enum": [None, *DISK_FORMATS], "description": "The disk's format"},
    "min_disk": _number("Disk space that the image needs, in GiB"),
    "min_ram": _number("Memory that the image needs, in MiB"),
    "size": _number("Length of the content, in bytes", null=True),
    "virtual_size": _number("Size of the disk that the content holds, in bytes", null=True),
    "checksum": _text("MD5 of the content", 32),
    "os_hash_algo": _text("Name of the hash in os_hash_value", 64),
    "os_hash_value": _text("Hash of the content, in hex", 128),
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}, "description": "Labels"},
    "created_at": _text("When the image was made", None, null=False),
    "updated_at": _text("When the image was last changed", None, null=False),
    "file": _text("Path of the content", None, null=False),
    "self": _text("Path of the image", None, null=False),
    "schema": _text("Path of this schema", None, null=False),
    "stores": _text("The stores that hold the content", None, null=False),
}
IMAGE = {name: {**one, "readOnly": True} if name in READ_ONLY else one for name, one in IMAGE.items()}

MEMBER: dict[str, dict[str, Any]] = {
    "member_id": _text("The project that the image is shared with", None, null=False),
    "image_id": {"type": "string", "pattern": UUID, "description": "The image's identifier"},
    "status": {"type": "string", "enum": [str(one) for one in MemberStatus], "description": "What the project answered"},
    "created_at": _text("When the image was shared", None, null=False),
    "updated_at": _text("When the membership was last changed", None, null=False),
    "schema": _text("Path of this schema", None, null=False),
}

IMAGE_SCHEMA: dict[str, Any] = {
    "name": "image",
    "properties": IMAGE,
    "additionalProperties": {"type": "string"},
    "links": [{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"}, {"rel": "describedby", "href": "{schema}"}],
}
MEMBER_SCHEMA: dict[str, Any] = {"name": "member", "properties": MEMBER}

SCHEMAS: dict[str, dict[str, Any]] = {
    "image": IMAGE_SCHEMA,
    "images": {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": IMAGE_SCHEMA},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, {"rel": "describedby", "href": "{schema}"}],
    },
    "member": MEMBER_SCHEMA,
    "members": {
        "name": "members",
        "properties": {"members": {"type": "array", "items": MEMBER_SCHEMA}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    },
}
