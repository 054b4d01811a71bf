"""Members: the projects that an image is shared with, and what they answered."""

import uuid
from typing import Any

from pileus import clock
from pileus.api.image.images import isotime, load
from pileus.api.request import Request, Response
from pileus.core.images import MOST_MEMBERS
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from pileus.model.images import Image, ImageMember, MemberStatus, Visibility
from pileus.store import images as store
from pileus.store.database import Transaction


class MemberBody(Model, frozen=True, kw_only=True):
    """Body of POST .../members."""

    member: str


class StatusBody(Model, frozen=True, kw_only=True):
    """Body of PUT .../members/{member_id}."""

    status: str


def view(member: ImageMember) -> dict[str, Any]:
    """The member as the API shows it."""
    return {
        "member_id": member.member_id,
        "image_id": member.image_id,
        "status": member.status,
        "created_at": isotime(member.created_at),
        "updated_at": isotime(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def _owns(request: Request, image: Image) -> bool:
    return request.identity.is_admin or image.owner == request.identity.project_id


async def _shared(request: Request) -> Image:
    image = await load(request)
    if image.visibility != Visibility.SHARED:
        raise Forbidden("Only shared images have members.", id=image.id)
    return image


async def _member(request: Request, image: Image) -> ImageMember:
    """The member of the path; another project's membership is seen by the image's owner alone."""
    member_id = request.params["member_id"]
    found = await store.member(request.cloud.db, image.id, member_id)
    if found is None or not (_owns(request, image) or member_id == request.identity.project_id):
        raise NotFound(f"{member_id} not found in the member list of the image {image.id}.", kind="Member", id=member_id)
    return found


async def index(request: Request) -> dict[str, Any]:
    """GET .../members: all for the owner, a member sees itself."""
    image = await _shared(request)
    found = await store.members(request.cloud.db, image.id)
    if not _owns(request, image):
        found = [one for one in found if one.member_id == request.identity.project_id]
    return {"members": [view(one) for one in found], "schema": "/v2/schemas/members"}


async def show(request: Request) -> dict[str, Any]:
    """GET .../members/{member_id}."""
    image = await load(request)
    if image.visibility != Visibility.SHARED:
        raise NotFound(f"Image {image.id} is not shared: it has no members.", kind="Member", id=request.params["member_id"])
    return view(await _member(request, image))


async def create(request: Request) -> dict[str, Any]:
    """POST .../members: share the image with a project, which has yet to accept."""
    body: MemberBody = request.body
    image = await _shared(request)
    if not _owns(request, image):
        raise Forbidden(f"Not allowed to create members for image {image.id}.", id=image.id)
    if not 0 < len(body.member) <= 255:
        raise Invalid("Member can't be empty, nor longer than 255 characters.", field="member")
    now = clock.now()
    fresh = ImageMember(id=str(uuid.uuid4()), created_at=now, updated_at=now, image_id=image.id, member_id=body.member)

    async def add(tx: Transaction) -> None:
        current = await store.members(tx, image.id)
        if body.member in [one.member_id for one in current]:
            raise Conflict(f"Member {body.member} is duplicated for image {image.id}", id=image.id)
        if len(current) >= MOST_MEMBERS:
            raise TooLarge(f"The limit has been exceeded on the number of allowed image members for this image. Maximum: {MOST_MEMBERS}")
        await store.MEMBERS.insert(tx, fresh)

    await request.cloud.db.write(add)
    return view(fresh)


async def update(request: Request) -> dict[str, Any]:
    """PUT .../members/{member_id}: the member's own answer."""
    body: StatusBody = request.body
    image = await _shared(request)
    found = await _member(request, image)
    if body.status not in MemberStatus.__members__.values():
        raise Invalid(f'Status must be "pending", "accepted" or "rejected", not \'{body.status}\'.', field="status")
    if not request.identity.is_admin and found.member_id != request.identity.project_id:
        raise Forbidden(f"Not allowed to update members for image {image.id}: only the member itself answers.", id=image.id)

    async def write(tx: Transaction) -> ImageMember:
        return await store.set_member_status(tx, found, MemberStatus(body.status))

    return view(await request.cloud.db.write(write))


async def delete(request: Request) -> Response:
    """DELETE .../members/{member_id}: the owner takes the image back."""
    image = await _shared(request)
    if not _owns(request, image):
        raise Forbidden(f"Not allowed to delete members for image {image.id}.", id=image.id)
    found = await _member(request, image)

    async def remove(tx: Transaction) -> bool:
        return await store.MEMBERS.delete(tx, found.id)

    await request.cloud.db.write(remove)
    return Response(204)
