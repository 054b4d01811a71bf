"""What `bench identity` puts into a cloud's database is what the service itself would have kept there."""

import asyncio
from pathlib import Path

from bench.identity import Population

from pileus.model.roles import Role
from pileus.store.database import Transaction
from pileus.store.groups import GROUPS
from pileus.store.projects import PROJECTS
from pileus.store.roles import ROLES
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase
from pileus.store.users import USERS


async def _roles(tx: Transaction) -> None:
    for name in ("reader", "member", "manager"):
        await ROLES.insert(tx, Role(id=name, name=name))


def test_users_projects_groups_and_their_roles_are_read_by_the_store(tmp_path: Path) -> None:
    async def run() -> None:
        db = SqliteDatabase(tmp_path / "pileus.db")
        try:
            await migrate(db)
            await db.write(_roles)
            count = Population(40).write(tmp_path / "pileus.db")
            assert 300 < count <= 400, "a role that was given twice counts once"
            assert len(await USERS.find(db, "1 = 1")) == 40
            assert {one.domain_id for one in await GROUPS.find(db, "1 = 1")} == {f"d{n}" for n in range(10)}
            projects = await PROJECTS.find(db, "is_domain = 0")
            assert len(projects) == 10 and all(one.parent_id == one.domain_id for one in projects)
            inherited = await db.all("SELECT actor, target FROM assignments WHERE inherited = 1")
            assert [tuple(row) for row in inherited] == [("user", "domain")]
        finally:
            await db.close()

    asyncio.run(run())
