"""Images in the store: who sees which, quota, uploads that have one owner."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.model.errors import Conflict, QuotaExceeded
from pileus.model.identity import Identity
from pileus.model.images import Image, ImageMember, ImageStatus, MemberStatus, Visibility
from pileus.store import images
from pileus.store.database import Database, Transaction
from pileus.store.listing import Listing, list_rows
from pileus.store.quotas import set_limits
from pileus.store.schema import migrate
from tests.store.conftest import store_at

ADMIN = Identity(user_id="a", project_id="operators", roles=frozenset({"admin"}))
MINE = Identity(user_id="m", project_id="mine", roles=frozenset({"member"}))
THEIRS = Identity(user_id="t", project_id="theirs", roles=frozenset({"member"}))
NOWHERE = Identity(user_id="n")


def with_database(path: Path, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        db = store_at(path)
        try:
            await migrate(db)
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


async def add(db: Database, name: str, **fields: Any) -> Image:
    image = Image(id=str(uuid.uuid4()), name=name, **{"owner": "mine", **fields})

    async def insert(tx: Transaction) -> Image:
        return await images.insert(tx, image)

    return await db.write(insert)


async def share(db: Database, image: Image, project: str, status: MemberStatus) -> None:
    async def insert(tx: Transaction) -> None:
        await images.MEMBERS.insert(tx, ImageMember(id=str(uuid.uuid4()), image_id=image.id, member_id=project, status=status))

    await db.write(insert)


async def names(db: Database, who: Identity, visibility: str | None = None, status: str = "accepted") -> list[str]:
    where, args = images.listed(who, visibility, status)
    return [str(image.name) for image in await list_rows(db, images.IMAGES, Listing(where=where, args=args, sort=[("name", "asc")]))]


def test_everybody_sees_what_is_theirs_to_see(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        made = {str(one): await add(db, str(one), visibility=one) for one in Visibility}
        accepted = await add(db, "accepted")
        pending = await add(db, "pending")
        await share(db, accepted, "theirs", MemberStatus.ACCEPTED)
        await share(db, pending, "theirs", MemberStatus.PENDING)

        everything = ["accepted", "community", "pending", "private", "public", "shared"]
        assert await names(db, ADMIN) == everything
        assert await names(db, MINE) == everything
        assert await names(db, THEIRS) == ["accepted", "public"]
        assert await names(db, THEIRS, "community") == ["community"]
        assert await names(db, THEIRS, "all") == ["accepted", "community", "public"]
        assert await names(db, THEIRS, "shared", "pending") == ["pending"]
        assert await names(db, THEIRS, "shared", "all") == ["accepted", "pending"]
        assert await names(db, THEIRS, "private") == []
        assert await names(db, NOWHERE) == ["public"]

        by_id = {name: await images.visible(db, image.id, THEIRS) for name, image in {**made, "pending": pending}.items()}
        assert [name for name, found in by_id.items() if found] == ["community", "public", "pending"]
        assert await images.visible(db, made["private"].id, ADMIN)
        assert not await images.visible(db, made["private"].id, NOWHERE)
        assert not await images.visible(db, "no such image", ADMIN)

    with_database(tmp_path, work)


def test_the_quota_is_counted_in_the_insert(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        async def limit(tx: Transaction) -> None:
            await set_limits(tx, "mine", {"image_count_total": 2})

        await db.write(limit)
        results = await asyncio.gather(*(add(db, str(number)) for number in range(5)), return_exceptions=True)
        assert sum(isinstance(one, Image) for one in results) == 2
        assert sum(isinstance(one, QuotaExceeded) for one in results) == 3
        assert (await add(db, "elsewhere", owner="theirs")).owner == "theirs"

    with_database(tmp_path, work)


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        image = await add(db, "one")

        async def again(tx: Transaction) -> None:
            await images.insert(tx, image)

        with pytest.raises(Conflict, match="already exists"):
            await db.write(again)

    with_database(tmp_path, work)


def test_of_two_uploads_one_wins_and_a_late_one_changes_nothing(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        image = await add(db, "one")

        async def begin(tx: Transaction, upload: str) -> Image:
            return await images.begin_upload(tx, image, upload)

        async def end(tx: Transaction, upload: str) -> Image | None:
            return await images.end_upload(tx, image.id, upload, status=ImageStatus.ACTIVE, content="c", stores=["disk"])

        await db.write(lambda tx: begin(tx, "first"))
        with pytest.raises(Conflict, match="from saving to saving"):
            await db.write(lambda tx: begin(tx, "second"))
        assert await db.write(lambda tx: end(tx, "second")) is None
        active = await db.write(lambda tx: end(tx, "first"))
        assert active and active.status == ImageStatus.ACTIVE and active.upload is None
        assert await images.content_used(db, "c", "disk") and not await images.content_used(db, "c", "local")
        assert await images.contents(db) == {("disk", "c")}

    with_database(tmp_path, work)


def test_removing_an_image_removes_all_that_hangs_on_it(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        image = await add(db, "one", tags=["t"], properties={"a": "b"})
        await share(db, image, "theirs", MemberStatus.ACCEPTED)

        async def change(tx: Transaction) -> Image:
            return await images.save(tx, image, tags=["u"], properties={"c": "d"})

        await db.write(change)
        assert await db.all("SELECT tag FROM image_tags") == [("u",)]
        assert await db.all("SELECT name, value FROM image_properties") == [("c", "d")]

        async def remove(tx: Transaction) -> bool:
            return await images.remove(tx, image.id)

        assert await db.write(remove) is True
        assert await db.write(remove) is False
        for table in ("images", "image_members", "image_tags", "image_properties"):
            assert await db.value(f"SELECT count(*) FROM {table}") == 0

    with_database(tmp_path, work)
