"""An image: what a disk can be made from, who sees it, and where its content lies."""

from enum import StrEnum
from typing import Any

from pileus.model.base import Resource
from pileus.model.image_stores import ImageLocation


class ImageStatus(StrEnum):
    """Glance's status of an image."""

    QUEUED = "queued"
    SAVING = "saving"
    UPLOADING = "uploading"  # content is staged, import has not begun
    IMPORTING = "importing"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    KILLED = "killed"
    DELETED = "deleted"
    PENDING_DELETE = "pending_delete"


class Visibility(StrEnum):
    """Who sees an image: its project, those it is shared with, everybody who asks for it, everybody."""

    PRIVATE = "private"
    SHARED = "shared"
    COMMUNITY = "community"
    PUBLIC = "public"


class MemberStatus(StrEnum):
    """What a project that an image is shared with says to it."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "luks")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")


class Image(Resource, frozen=True, kw_only=True):
    """An image. `size` and `virtual_size` in bytes, `min_disk` in GiB, `min_ram` in MiB.

    `content` is the SHA-256 of the data, in hex: the file's name in each of `stores`, shared by images of equal content. None: it lies
    nowhere yet, or at `locations` alone. `flaw` says why no server may be made of it, though it was taken.
    `upload` names the write that is under way: only that one may end it.
    """

    owner: str | None
    name: str | None = None
    status: ImageStatus = ImageStatus.QUEUED
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    os_hidden: bool = False
    container_format: str | None = None
    disk_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None  # MD5, in hex
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    content: str | None = None
    stores: list[str] = []
    locations: list[ImageLocation] = []
    flaw: str | None = None
    upload: str | None = None
    staged: int | None = None  # bytes that wait for their import
    tags: list[str] = []
    properties: dict[str, str] = {}


class ImageMember(Resource, frozen=True, kw_only=True):
    """A project that an image is shared with."""

    image_id: str
    member_id: str
    status: MemberStatus = MemberStatus.PENDING


class ImageTask(Resource, frozen=True, kw_only=True):
    """An import of an image's content. `status` is pending, processing, success or failure; `input` is what was asked for."""

    image_id: str
    owner: str | None
    user_id: str
    request_id: str
    status: str
    input: dict[str, Any] = {}
    message: str = ""
    expires_at: float | None = None
