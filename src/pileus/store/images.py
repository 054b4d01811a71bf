"""Images and their members: who sees which, and how a row comes, changes and goes."""

from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from pileus import clock
from pileus.model.errors import Conflict
from pileus.model.identity import Identity
from pileus.model.images import Image, ImageMember, ImageStatus, MemberStatus, Visibility
from pileus.store.database import Reader, Transaction
from pileus.store.quotas import charge
from pileus.store.tables import ResourceTable

IMAGES = ResourceTable("images", Image)
MEMBERS = ResourceTable("image_members", ImageMember)

MIB = 1 << 20
IS_MEMBER = "EXISTS (SELECT 1 FROM image_members m WHERE m.image_id = images.id AND m.member_id = ?"
HAS_TAG = "EXISTS (SELECT 1 FROM image_tags t WHERE t.image_id = images.id AND t.tag = ?)"
HAS_PROPERTY = "EXISTS (SELECT 1 FROM image_properties p WHERE p.image_id = images.id AND p.name = ? AND p.value = ?)"


async def visible(db: Reader, image_id: str, identity: Identity) -> Image | None:
    """The image when the caller may see it by its id: an admin every one, others their own, public and community ones, and what is shared
    with them, whatever they have answered."""
    image = await IMAGES.get(db, image_id)
    if image is None or identity.is_admin or image.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY):
        return image
    if identity.project_id is None:
        return None
    if image.owner == identity.project_id:
        return image
    if image.visibility == Visibility.SHARED and await member(db, image_id, identity.project_id):
        return image
    return None


def listed(identity: Identity, visibility: str | None, member_status: str) -> tuple[str, list[Any]]:
    """What a list shows, as a condition in SQL with its arguments.

    Without a visibility: the caller's own, public ones, and shared ones that the caller's project has answered with `member_status`
    ("all": whatever it has answered). Community images only when asked for. An admin sees every one.
    """
    clauses: list[str] = []
    args: list[Any] = []
    if visibility not in (None, "all"):
        clauses.append("images.visibility = ?")
        args.append(visibility)
    if not identity.is_admin:
        ways = ["images.visibility = 'public'"]
        if visibility in ("community", "all"):
            ways.append("images.visibility = 'community'")
        if identity.project_id is not None:
            ways.append("images.owner = ?")
            args.append(identity.project_id)
            status = "" if member_status == "all" else " AND m.status = ?"
            ways.append(f"(images.visibility = 'shared' AND {IS_MEMBER}{status}))")
            args.extend([identity.project_id] if member_status == "all" else [identity.project_id, member_status])
        clauses.append(f"({' OR '.join(ways)})")
    return " AND ".join(clauses) or "1 = 1", args


async def insert(tx: Transaction, image: Image) -> Image:
    """Add an image, charged to its owner. An id that is taken, or was, is a Conflict; QuotaExceeded as `charge` says."""
    if await tx.value("SELECT 1 FROM images WHERE id = ? UNION SELECT 1 FROM deleted_images WHERE id = ?", image.id, image.id):
        raise Conflict(f"Image ID {image.id} already exists!", id=image.id)
    if image.owner is not None:
        await charge(tx, image.owner, image_count_total=1)
    await IMAGES.insert(tx, image)
    await _index(tx, image)
    return image


async def save(tx: Transaction, seen: Image, **changes: Any) -> Image:
    """Change an image that was seen at its generation; a Conflict when it has changed since."""
    image = await IMAGES.update(tx, seen, **changes)
    if "tags" in changes or "properties" in changes:
        await tx.execute("DELETE FROM image_tags WHERE image_id = ?", image.id)
        await tx.execute("DELETE FROM image_properties WHERE image_id = ?", image.id)
        await _index(tx, image)
    return image


async def remove(tx: Transaction, image_id: str) -> bool:
    """Take an image's row away, with its members; False when there was none. Its content is freed after the commit."""
    for table in ("image_members", "image_tags", "image_properties"):
        await tx.execute(f"DELETE FROM {table} WHERE image_id = ?", image_id)  # noqa: S608
    gone = await IMAGES.delete(tx, image_id)
    if gone:
        await tx.execute("INSERT INTO deleted_images (id) VALUES (?)", image_id)
    return gone


async def begin_upload(tx: Transaction, image: Image, upload: str, status: ImageStatus = ImageStatus.SAVING) -> Image:
    """From now on the write called `upload`, and no other, may fill the image. A Conflict unless the image waits for content; QuotaExceeded
    when its owner has no room at all."""
    current = await IMAGES.get(tx, image.id)
    if current is None or current.status != image.status:
        state = current.status if current else ImageStatus.DELETED
        raise Conflict(f"Image status transition from {state} to {status} is not allowed")
    if current.owner is not None:
        taken = {"image_stage_total" if status == ImageStatus.UPLOADING else "image_size_total": 1}
        await charge(tx, current.owner, image_count_uploading=int(current.status == ImageStatus.QUEUED), **taken)
    return await save(tx, current, status=status, upload=upload)


async def begin_parts(tx: Transaction, image: Image, upload: str, total: int) -> Image:
    """From now on the write called `upload`, and no other, may stage the image in parts; all that are to come are charged to its owner."""
    if image.owner is not None:
        await charge(tx, image.owner, image_stage_total=-(-total // MIB))
    return await save(tx, await begin_upload(tx, image, upload, ImageStatus.UPLOADING), staged=total)


async def end_part(tx: Transaction, image_id: str, upload: str) -> None:
    """The write of a part has ended, well or not; others may go on."""
    current = await IMAGES.get(tx, image_id)
    if current is not None and current.upload == upload:
        await save(tx, current, upload=None)


async def continue_upload(tx: Transaction, image_id: str, upload: str) -> Image:
    """From now on the write called `upload` goes on with what is staged in parts. A Conflict when another does, or when it has ended."""
    current = await IMAGES.get(tx, image_id)
    if current is None or current.status != ImageStatus.UPLOADING or current.upload is not None:
        state = "is being written" if current and current.upload else f"has status {current.status if current else ImageStatus.DELETED}"
        raise Conflict(f"Image {image_id} {state}.", id=image_id)
    return await save(tx, current, upload=upload)


async def end_upload(tx: Transaction, image_id: str, upload: str, **changes: Any) -> Image | None:
    """Write what the upload came to; None when the image is gone or another write has taken over. What it has brought, content (`size`) or
    staged bytes (`staged`), is charged to its owner."""
    current = await IMAGES.get(tx, image_id)
    if current is None or current.upload != upload:
        return None
    brought = {total: changes.get(name) or 0 for name, total in (("size", "image_size_total"), ("staged", "image_stage_total"))}
    if current.owner is not None and any(brought.values()):
        await charge(tx, current.owner, **{total: -(-int(size) // MIB) for total, size in brought.items()})
    return await save(tx, current, upload=None, **{"staged": None, **changes})


async def requeue_broken(tx: Transaction, parts: AbstractSet[str] = frozenset()) -> list[str]:
    """Images whose upload died with the process wait for content again; returns their ids. Those of `parts` keep what is staged of them."""
    broken = await IMAGES.find(tx, "upload IS NOT NULL")
    for image in broken:
        if image.id in parts:
            await save(tx, image, status=ImageStatus.UPLOADING, upload=None)
        else:
            await save(tx, image, status=ImageStatus.QUEUED, upload=None, staged=None)
    return [image.id for image in broken if image.id not in parts]


async def importing(db: Reader, owner: str | None) -> int:
    """How many of a project's images are being filled from the web."""
    return int(await db.value("SELECT count(*) FROM images WHERE owner = ? AND status = 'importing' AND upload IS NOT NULL", owner) or 0)


async def content_used(db: Reader, content: str, place: str) -> bool:
    """Whether an image has this content in that store."""
    return any(place in image.stores for image in await IMAGES.find(db, "content = ?", content))


async def contents(db: Reader) -> set[tuple[str, str]]:
    """(store, content) of every image that has one."""
    rows = await db.all("SELECT DISTINCT content, stores FROM images WHERE content IS NOT NULL")
    return {(place, row[0]) for row in rows for place in msgspec.json.decode(row[1], type=list[str])}


async def member(db: Reader, image_id: str, project_id: str) -> ImageMember | None:
    """A project's membership of an image."""
    return await MEMBERS.first(db, "image_id = ? AND member_id = ?", image_id, project_id)


async def members(db: Reader, image_id: str) -> list[ImageMember]:
    """Every membership of an image, oldest first."""
    return await MEMBERS.find(db, "image_id = ? ORDER BY created_at, id", image_id)


async def set_member_status(tx: Transaction, seen: ImageMember, status: MemberStatus) -> ImageMember:
    """A member's answer."""
    return await MEMBERS.update(tx, seen, status=status, updated_at=clock.now())


async def _index(tx: Transaction, image: Image) -> None:
    await tx.many("INSERT INTO image_tags (image_id, tag) VALUES (?, ?)", [(image.id, tag) for tag in image.tags])
    rows = [(image.id, name, value) for name, value in image.properties.items()]
    await tx.many("INSERT INTO image_properties (image_id, name, value) VALUES (?, ?, ?)", rows)
