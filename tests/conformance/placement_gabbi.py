"""Runs the gabbi tests of the released openstack-placement package against our Placement.

    python -m venv judge && judge/bin/pip install openstack-placement gabbi oslotest wsgi-intercept <pileus>
    judge/bin/python -m tests.conformance.placement_gabbi [part of a file's name ...]

Each YAML file gets a fresh database; what the package's fixtures make with its own objects is made through our store instead.
Prints what failed, and how many tests passed, failed and were skipped. `placement_known.py` says which differences are meant.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import threading
import time
import unittest
import uuid
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import uvicorn
from gabbi import driver
from gabbi.handlers import core
from placement.tests.functional.fixtures import gabbits

from pileus.api.chain import App
from pileus.api.cloud import Cloud
from pileus.api.placement.routes import SERVICE
from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.model.errors import Unauthorized
from pileus.model.identity import Identity
from pileus.model.placement import Inventory, Wanted
from pileus.store import allocations, placement_names, providers
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase
from tests.conformance.placement_known import MEANT, SKIPPED_FILES, WORDING

T = TypeVar("T")
IDS = [
    "RP_UUID", "RP_NAME", "RP_UUID1", "RP_NAME1", "RP_UUID2", "RP_NAME2", "PROJECT_ID", "ADMIN_PROJECT_ID", "SERVICE_PROJECT_ID", "USER_ID",
    "PROJECT_ID_ALT", "USER_ID_ALT", "INSTANCE_UUID", "MIGRATION_UUID", "CONSUMER_UUID", "PARENT_PROVIDER_UUID", "ALT_PARENT_PROVIDER_UUID",
]  # fmt: skip


class Tokens:
    """Takes the tokens of the tests, joined by `World` with the headers that say who that is."""

    def validate(self, text: str) -> Identity:
        """Who that is."""
        try:
            said = json.loads(text)
        except ValueError as error:
            raise Unauthorized("no token of the tests") from error
        user, _, project = said["token"].partition(":")
        roles = said["roles"].split(",") if said["roles"] else ["admin"] if user == "admin" else []
        system = bool(said["system"])
        place = None if system else said["project"] or project or user
        return Identity(user_id=user, project_id=place, system=system, roles=frozenset(roles))


class World:
    """The listener, and behind it the cloud of the file that is being run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.app: App | None = None
        self.server = uvicorn.Server(uvicorn.Config(self, host="127.0.0.1", port=0, lifespan="off", log_level="error", access_log=False))
        asyncio.run_coroutine_threadsafe(self.server.serve(), self.loop)
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.directory: tempfile.TemporaryDirectory[str] | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop of the listener."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def start(self, overrides: dict[str, str]) -> None:
        """A cloud with an empty database."""
        self.directory = tempfile.TemporaryDirectory(prefix="pileus-gabbi-")

        async def make() -> None:
            db = SqliteDatabase(Path(self.directory.name) / "pileus.db")  # type: ignore[union-attr]
            await migrate(db)
            cloud = Cloud(config=Config(state=self.directory.name), db=db, bus=LocalBus(), tokens=Tokens(), wake=lambda name, key: None)  # type: ignore[union-attr]
            cloud.services, cloud.policy_overrides = {"placement": SERVICE}, overrides
            self.app = App(cloud)

        self.run(make())

    def stop(self) -> None:
        """Drop the cloud."""
        assert self.app and self.directory
        self.run(self.app.cloud.db.close())
        self.directory.cleanup()

    def write(self, work: Any) -> Any:
        """Run a transaction."""
        assert self.app
        return self.run(self.app.cloud.db.write(work))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if "x-auth-token" in headers:
            names = {"roles": "x-roles", "project": "x-project-id", "system": "openstack-system-scope"}
            said = {"token": headers["x-auth-token"], **{key: headers.get(name) for key, name in names.items()}}
            kept = [pair for pair in scope["headers"] if pair[0] != b"x-auth-token"]
            scope = {**scope, "headers": [*kept, (b"x-auth-token", json.dumps(said).encode())]}
        assert self.app
        await self.app({**scope, "path": f"/placement{scope['path']}"}, receive, self.unmounted(send))

    def unmounted(self, send: Any) -> Any:
        """The tests think of the service as alone on its listener: /placement is taken from every address."""
        held: dict[str, Any] = {}

        async def pass_on(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                held.update(message)
                return
            body = message.get("body", b"").replace(b'"/placement/', b'"/')
            pairs = [(name, value.replace(b"/placement/", b"/")) for name, value in held["headers"] if name != b"content-length"]
            if held["status"] != 204:
                pairs.append((b"content-length", str(len(body)).encode()))
            await send({**held, "headers": pairs})
            await send({**message, "body": body})

        return pass_on


WORLD = World()


class ProviderStub:
    """What the fixtures hold of a provider."""

    def __init__(self, key: str) -> None:
        self.uuid = key

    def change(self, save: Any = providers.save, **changes: Any) -> None:
        """Change the row."""

        async def work(tx: Any) -> None:
            await save(tx, await providers.get(tx, self.uuid), **changes)

        WORLD.write(work)

    def set_aggregates(self, aggregates: list[str]) -> None:
        """Put it into aggregates."""
        self.change(providers.amend, aggregates=sorted(aggregates))


def create_provider(context: Any, name: str, *aggregates: str, **more: str) -> ProviderStub:
    key = more.get("uuid") or getattr(gabbits.uuids, name)
    WORLD.write(lambda tx: providers.create(tx, key, name, more.get("parent")))
    stub = ProviderStub(key)
    if aggregates:
        stub.set_aggregates(list(aggregates))
    return stub


def add_inventory(stub: ProviderStub, name: str, total: int, **more: Any) -> None:
    async def work(tx: Any) -> None:
        await placement_names.add_resource_class(tx, name)
        provider = await providers.get(tx, stub.uuid)
        inventory = Inventory(**{"total": total, "max_unit": total, **more})
        await providers.save(tx, provider, inventories={**provider.inventories, name: inventory})

    WORLD.write(work)


def set_traits(stub: ProviderStub, *names: str) -> None:
    async def work(tx: Any) -> None:
        for name in names:
            await placement_names.add_trait(tx, name)
        await providers.save(tx, await providers.get(tx, stub.uuid), traits=sorted(names))

    WORLD.write(work)


def ensure_consumer(context: Any, user: Any, project: Any, consumer_id: str | None = None) -> Any:
    return SimpleNamespace(uuid=consumer_id or str(uuid.uuid4()), user=user, project=project)


def set_allocation(context: Any, stub: ProviderStub, consumer: Any, used: dict[str, int]) -> None:
    wanted = Wanted(
        consumer_id=consumer.uuid,
        allocations={stub.uuid: used},
        project_id=consumer.project.external_id,
        user_id=consumer.user.external_id,
        unguarded=True,
    )
    WORLD.write(lambda tx: allocations.replace(tx, [wanted]))


def create_user_and_project(context: Any, prefix: str = "fake") -> tuple[Any, Any]:
    return Named(external_id=f"{prefix}-user"), Named(external_id=f"{prefix}-project")


class Named:
    """Stands for the package's users, projects, resource classes and traits."""

    def __init__(self, context: Any = None, external_id: str = "", name: str = "") -> None:
        self.external_id, self.name = external_id, name

    def create(self) -> None:
        """Resource classes are all that has to exist before it is used."""
        if self.name:
            WORLD.write(lambda tx: placement_names.add_resource_class(tx, self.name))


def start_fixture(self: Any) -> None:
    """Instead of the package's own: a fresh cloud, and the names that its tests use."""
    open_policy = isinstance(self, gabbits.OpenPolicyFixture)
    legacy = {} if self._secure_rbac else {"placement:reshaper:reshape": "project_admin_or_service"}
    WORLD.start(dict.fromkeys(SERVICE.policy, "anyone") if open_policy else legacy)
    self.context = None
    self.conf_fixture = self.policy_fixture = SimpleNamespace(config=lambda **more: None, set_rules=lambda rules: None)
    os.environ.update({name: str(uuid.uuid4()) for name in IDS})
    for number in ("", "1", "2"):
        os.environ[f"CUSTOM_RES_CLASS{number}"] = f"CUSTOM_IRON_NFV{number}"


def stop_fixture(self: Any) -> None:
    """Drop it."""
    WORLD.stop()


class Patched:
    """Counts the wording that is not compared."""

    skipped_strings = 0


def install() -> None:
    """Put our fixtures and the relaxed comparison of wording in place."""
    gabbits.APIFixture.start_fixture = start_fixture
    gabbits.APIFixture.stop_fixture = stop_fixture
    gabbits.tb = sys.modules[__name__]
    for module, name in (("user_obj", "User"), ("project_obj", "Project"), ("rc_obj", "ResourceClass")):
        setattr(gabbits, module, SimpleNamespace(**{name: Named}))
    compare = core.StringResponseHandler.action

    def action(self: Any, test: Any, expected: str, value: Any = None) -> None:
        if any(re.search(pattern, expected) for pattern in WORDING):
            Patched.skipped_strings += 1
            return
        compare(self, test, expected, value)

    core.StringResponseHandler.action = action


def main() -> int:
    """Run everything, or the files named."""
    install()
    folder = Path(gabbits.__file__).parents[1] / "gabbits"
    wanted = sys.argv[1:]
    totals: dict[str, list[tuple[str, str, str]]] = {}
    for path in sorted(folder.glob("*.yaml")):
        if wanted and not any(part in path.stem for part in wanted):
            continue
        for kind, rows in judge_file(path).items():
            totals.setdefault(kind, []).extend(rows)
    for file, name, trace in totals["failed"]:
        print(f"FAILED {file}: {name}\n    " + "\n    ".join(trace.splitlines()[-12:]))
    counts = {kind: len(rows) for kind, rows in totals.items()}
    print(json.dumps({**counts, "strings not compared": Patched.skipped_strings}))
    return 1 if totals["failed"] else 0


def judge_file(path: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Run one YAML file."""
    found: dict[str, list[tuple[str, str, str]]] = {"passed": [], "failed": [], "meant": [], "skipped": []}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / path.name).write_text(path.read_text())
        suite = driver.build_tests(
            place, unittest.TestLoader(), host="127.0.0.1", port=WORLD.port, fixture_module=gabbits, test_loader_name="judge"
        )
    for one in suite:
        tests = list(one)
        if path.stem in SKIPPED_FILES:
            found["skipped"] += [(path.stem, test.test_data["name"], SKIPPED_FILES[path.stem]) for test in tests]
            continue
        result = unittest.TestResult()
        one.run(result)
        bad = {test.id(): trace for test, trace in [*result.failures, *result.errors] if hasattr(test, "test_data")}
        for test in tests:
            name, trace = test.test_data["name"], bad.get(test.id())
            meant = MEANT.get((path.stem, name))
            kind = "passed" if not trace else "meant" if meant else "failed"
            found[kind].append((path.stem, name, trace or ""))
        found["failed"] += [(path.stem, "fixture", trace) for test, trace in result.errors if not hasattr(test, "test_data")]
    return found


if __name__ == "__main__":
    sys.exit(main())
