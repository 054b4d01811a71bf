"""What a new cloud starts with, and what goes with what is removed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pileus.model.assignments import Actor, Assignment, Target
from pileus.model.identity import Identity
from pileus.model.projects import Project
from pileus.store import assignments, revocations
from pileus.store.bootstrap_identity import bootstrap
from pileus.store.database import Database
from pileus.store.domains import delete_domain
from pileus.store.groups import GROUPS
from pileus.store.projects import PROJECTS, ancestors, delete_project, descendants, project_named
from pileus.store.roles import ROLES, role_named
from pileus.store.schema import migrate
from pileus.store.users import USERS, delete_user, user_named
from tests.store.conftest import store_at


def on_a_fresh_cloud(directory: Path, test: Callable[[Database], Awaitable[None]]) -> None:
    async def run() -> None:
        db = store_at(directory)
        try:
            await migrate(db)
            await start(db)
            await test(db)
        finally:
            await db.close()

    asyncio.run(run())


async def start(db: Database) -> None:
    now = time.time()
    await db.write(lambda tx: bootstrap(tx, admin_password_hash="a", demo_password_hash="d", region="RegionOne", now=now))


async def add_project(db: Database, key: str, parent: str, domain: str = "default") -> Project:
    project = Project(id=key, name=key, domain_id=domain, parent_id=parent)
    return await db.write(lambda tx: PROJECTS.insert(tx, project))


def test_admin_and_demo_have_their_roles(tmp_path: Path) -> None:
    async def test(db: Database) -> None:
        admin, demo = await user_named(db, "admin", "default"), await user_named(db, "demo", "default")
        project = await project_named(db, "demo", "default")
        assert admin and demo and project
        assert [role.name for role in await assignments.roles_on_project(db, demo.id, project)] == ["member", "reader"]
        assert {role.name for role in await assignments.roles_on_system(db, admin.id)} == {"admin", "manager", "member", "reader"}
        assert await assignments.roles_on_domain(db, admin.id, "default")
        assert await assignments.roles_on_project(db, admin.id, project) == []

    on_a_fresh_cloud(tmp_path, test)


def test_a_second_start_brings_nothing_back(tmp_path: Path) -> None:
    async def test(db: Database) -> None:
        demo = await project_named(db, "demo", "default")
        assert demo
        await db.write(lambda tx: delete_project(tx, demo.id))
        await start(db)
        assert await project_named(db, "demo", "default") is None
        assert len(await USERS.find(db)) == 2

    on_a_fresh_cloud(tmp_path, test)


def test_inherited_roles_come_down_the_tree(tmp_path: Path) -> None:
    async def test(db: Database) -> None:
        await add_project(db, "top", "default")
        below = await add_project(db, "below", "top")
        demo, role = await user_named(db, "demo", "default"), await role_named(db, "manager")
        assert demo and role
        one = Assignment(actor=Actor.USER, actor_id=demo.id, target=Target.PROJECT, target_id="top", role_id=role.id, inherited=True)
        await db.write(lambda tx: assignments.grant(tx, one))
        assert "manager" in [found.name for found in await assignments.roles_on_project(db, demo.id, below)]
        assert "below" in await assignments.projects_of(db, demo.id)
        assert "top" not in await assignments.projects_of(db, demo.id)
        assert await ancestors(db, "below") == ["top", "default"]
        assert await descendants(db, "top") == ["below"]
        assert await db.write(lambda tx: assignments.withdraw(tx, one))
        assert await assignments.roles_on_project(db, demo.id, below) == []
        assert f"user-project:{demo.id}:below" in dict(await revocations.since(db, 0))

    on_a_fresh_cloud(tmp_path, test)


def test_a_deleted_user_leaves_no_row(tmp_path: Path) -> None:
    async def test(db: Database) -> None:
        demo = await user_named(db, "demo", "default")
        assert demo
        await db.write(lambda tx: delete_user(tx, demo.id))
        assert await assignments.of_actors(db, demo.id) == []
        assert f"user:{demo.id}" in dict(await revocations.since(db, 0))

    on_a_fresh_cloud(tmp_path, test)


def test_a_deleted_domain_takes_everything_in_it_along(tmp_path: Path) -> None:
    async def test(db: Database) -> None:
        await db.write(lambda tx: PROJECTS.insert(tx, Project(id="d", name="d", is_domain=True)))
        await add_project(db, "p", "d", "d")
        await add_project(db, "q", "p", "d")
        before = len(await PROJECTS.find(db))
        await db.write(lambda tx: delete_domain(tx, "d"))
        assert len(await PROJECTS.find(db)) == before - 3
        assert await GROUPS.find(db, "domain_id = 'd'") == []
        assert await ROLES.find(db, "domain_id = 'd'") == []

    on_a_fresh_cloud(tmp_path, test)


def test_a_token_knows_every_key_it_can_be_revoked_by() -> None:
    identity = Identity(
        user_id="u",
        project_id="p",
        project_domain_id="d",
        roles=frozenset({"member"}),
        audit_ids=("a", "c"),
        application_credential_id="x",
    )
    assert set(revocations.keys_of(identity)) == {
        "user:u", "domain:default", "domain:d", "audit:a", "chain:c", "project:p", "user-project:u:p", "role:member", "appcred:x",
    }  # fmt: skip


def test_old_revocations_are_forgotten(tmp_path: Path) -> None:
    async def test(db: Database) -> None:
        now = time.time()
        await db.write(lambda tx: revocations.revoke(tx, "user:old", at=now - revocations.KEPT - 1))
        await db.write(lambda tx: revocations.revoke(tx, "user:new", at=now))
        await db.write(lambda tx: revocations.purge(tx, now))
        assert [key for key, _ in await revocations.since(db, 0)] == ["user:new"]

    on_a_fresh_cloud(tmp_path, test)
