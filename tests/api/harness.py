"""A cloud for tests: every service that there is, on a fresh database, called in process or over a socket.

`TestCloud.call` drives the chain without a socket; `TestCloud.url` starts the listener for real clients. Everything that touches
the database runs on the cloud's own event loop in a thread: use `run` for coroutines of the store.
With PILEUS_TEST_DATABASE=postgresql every cloud is on PostgreSQL: `PILEUS_TEST_DATABASE=postgresql ./pileus test api`.
"""

import asyncio
import atexit
import functools
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pileus.api.chain import App
from pileus.api.cloud import Cloud
from pileus.api.identity.passwords import hash_now
from pileus.api.identity.tokens import FernetTokens, audit_id
from pileus.api.request import encode
from pileus.api.routes import Service
from pileus.bus.local import LocalBus
from pileus.config import Config
from pileus.model.assignments import Actor, Assignment, Target
from pileus.model.identity import Identity
from pileus.model.projects import DEFAULT_DOMAIN, Project
from pileus.model.users import User
from pileus.store.assignments import grant
from pileus.store.bootstrap_identity import bootstrap
from pileus.store.database import Database, Transaction
from pileus.store.open import open_database
from pileus.store.projects import PROJECTS, project_named
from pileus.store.roles import role_named
from pileus.store.schema import migrate
from pileus.store.sqlite import SqliteDatabase
from pileus.store.unified_quotas import set_sources, sources_of
from pileus.store.users import USERS, user_named
from tests import postgresql

T = TypeVar("T")
PASSWORD = "a password for tests"
FOLDERS = ("identity", "image", "compute", "network", "placement", "console", "cluster", "block_storage")
LADDER = ("admin", "manager", "member", "reader")
PERSONAS = ("nobody", "other_project_member", "reader", "member", "manager", "admin")
"""Whom the access test tries. All but `nobody` (no token) and `other_project_member` have the role of their name on project demo."""


@functools.cache
def password_hash() -> str:
    """argon2id of PASSWORD, once a session."""
    return hash_now(PASSWORD)


@functools.cache
def services() -> dict[str, Service]:
    """Every service whose routes can be imported, by prefix; a folder without routes is not there yet."""
    found: dict[str, Service] = {}
    for folder in FOLDERS:
        name = f"pileus.api.{folder}.routes"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.rpartition(".")[0]):
                raise
            continue
        found[module.SERVICE.prefix] = module.SERVICE
    return found


@functools.cache
def _template() -> Path:
    """A state directory with a filled database, made once a session and copied for each test."""
    directory = Path(tempfile.mkdtemp(prefix="pileus-test-template-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)

    async def make() -> None:
        db = SqliteDatabase(directory / "pileus.db")
        await _furnish(db)
        FernetTokens(directory / "secrets" / "token-keys", db)
        await db.close()

    asyncio.run(make())
    return directory


async def _furnish(db: Database) -> None:
    await migrate(db)
    await db.write(_fill)


def on_postgresql() -> str:
    """The URL of a filled database of its own on PostgreSQL: `TestCloud(database=on_postgresql())`."""
    return postgresql.database(_furnish)


async def _fill(tx: Transaction) -> None:
    now = time.time()
    await bootstrap(tx, admin_password_hash=password_hash(), demo_password_hash=password_hash(), region="RegionOne", now=now)
    demo = await project_named(tx, "demo", DEFAULT_DOMAIN)
    other = Project(id=uuid.uuid4().hex, created_at=now, updated_at=now, name="other", domain_id=DEFAULT_DOMAIN, parent_id=DEFAULT_DOMAIN)
    await PROJECTS.insert(tx, other)
    assert demo
    for persona, role, project in [*((name, name, demo) for name in LADDER[1:]), ("other_project_member", "member", other)]:
        user = User(
            id=uuid.uuid4().hex,
            created_at=now,
            updated_at=now,
            name=persona,
            domain_id=DEFAULT_DOMAIN,
            default_project_id=project.id,
            password_hash=password_hash(),
        )
        await USERS.insert(tx, user)
        found = await role_named(tx, role)
        assert found
        await grant(tx, Assignment(actor=Actor.USER, actor_id=user.id, target=Target.PROJECT, target_id=project.id, role_id=found.id))
    admin, role = await user_named(tx, "admin", DEFAULT_DOMAIN), await role_named(tx, "admin")
    assert admin and role
    await grant(tx, Assignment(actor=Actor.USER, actor_id=admin.id, target=Target.PROJECT, target_id=demo.id, role_id=role.id))


class Answer:
    """A response: `status`, `headers` (lower case), `body` (bytes), `json`."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def json(self) -> Any:
        """The body as plain Python."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:2000].decode(errors='replace')}>"


class TestCloud:
    """One cloud. `woken` holds every (reconciler, id) that the API has woken."""

    __test__ = False

    def __init__(self, **settings: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pileus-test-"))
        shutil.copytree(_template(), self.directory, dirs_exist_ok=True)
        self.woken: list[tuple[str, str]] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-cloud", daemon=True)
        self._thread.start()
        self._server: Any = None
        self._serving: Any = None
        self._url = ""
        if os.environ.get("PILEUS_TEST_DATABASE") == "postgresql":
            settings.setdefault("database", on_postgresql())
        config = Config(state=str(self.directory), **settings)
        self.db = open_database(config)
        self.tokens = FernetTokens(self.directory / "secrets" / "token-keys", self.db)
        self.bus = LocalBus()
        self.cloud = Cloud(
            config=config,
            db=self.db,
            bus=self.bus,
            tokens=self.tokens,
            wake=lambda name, key: self.woken.append((name, key)),
            services=services(),
        )
        self.app = App(self.cloud)
        self.run(self.tokens.load())
        if config.unified_limits.services:
            self.write(lambda tx: set_sources(tx, sources_of(config)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the cloud's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a transaction."""
        return self.run(self.db.write(work))

    def close(self) -> None:
        """Stop everything and remove the directory."""
        if self._server is not None:
            self._server.should_exit = True
            self._serving.result(20)
        self.run(self.db.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # who

    def user_id(self, name: str) -> str:
        """The id of a user of the default domain."""
        found = self.run(user_named(self.db, name, DEFAULT_DOMAIN))
        assert found, f"there is no user {name}"
        return found.id

    def project_id(self, name: str = "demo") -> str:
        """The id of a project of the default domain."""
        found = self.run(project_named(self.db, name, DEFAULT_DOMAIN))
        assert found, f"there is no project {name}"
        return found.id

    def token(
        self, user: str = "member", *, project: str | None = None, roles: set[str] | None = None, system: bool = False, **rest: Any
    ) -> str:
        """A token for a user, without a login. The personas: other_project_member, reader, member, manager, admin (on project demo).

        `admin` has the project admin unless `project` says otherwise; `system=True` gives the system scope. `rest`: fields of Identity.
        """
        role = {"other_project_member": "member", "demo": "member"}.get(user, user if user in LADDER else "member")
        names = roles if roles is not None else set(LADDER[LADDER.index(role) :])
        if not system and "domain_id" not in rest:
            place = project or {"other_project_member": "other", "admin": "admin"}.get(user, "demo")
            rest |= {"project_id": self.project_id(place), "project_domain_id": DEFAULT_DOMAIN}
        now = time.time()
        fields = {"issued_at": now, "expires_at": now + 3600, "methods": ("password",), "audit_ids": (audit_id(),), **rest}
        return self.tokens.issue(Identity(user_id=self.user_id(user), roles=frozenset(names), system=system, **fields))

    def grant(self, user: str, role: str, project: str) -> None:
        """Give a user a role on a project, as the database knows it."""

        async def work(tx: Transaction) -> None:
            found = await role_named(tx, role)
            assert found
            one = Assignment(actor=Actor.USER, actor_id=user_id, target=Target.PROJECT, target_id=project_id, role_id=found.id)
            await grant(tx, one)

        user_id, project_id = self.user_id(user), self.project_id(project)
        self.write(work)

    # calls

    def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        json: Any = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """One request through the chain, without a socket. `token`: a token's text, or a persona's name. `path` may carry a query."""
        if token in PERSONAS:
            token = None if token == "nobody" else self.token(token)
        given = {"host": "cloud.test", **{name.lower(): value for name, value in (headers or {}).items()}}
        if token is not None:
            given["x-auth-token"] = token
        data = content if content is not None else b"" if json is None else encode(json)
        if json is not None:
            given.setdefault("content-type", "application/json")
        return self.run(self._call(method, path, given, data))

    async def _call(self, method: str, path: str, headers: dict[str, str], data: bytes) -> Answer:
        answer = Answer()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.Future()  # the client stays
            sent = True
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        where, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": where,
            "scheme": "http",
            "query_string": quote(query, safe="=&%+,:;/?@!$'()*[]-._~").encode(),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("127.0.0.1", 40000),
        }
        await self.app(scope, receive, send)
        return answer

    # over a socket, for real clients

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT; starts the listener."""
        if not self._url:
            import uvicorn

            listener = socket.create_server(("127.0.0.1", 0))
            settings = uvicorn.Config(self.app, lifespan="off", log_level="warning", access_log=False)
            self._server = uvicorn.Server(settings)
            self._serving = asyncio.run_coroutine_threadsafe(self._server.serve(sockets=[listener]), self.loop)
            deadline = time.monotonic() + 20
            while not self._server.started:
                assert time.monotonic() < deadline and not self._serving.done(), "the listener did not start"
                threading.Event().wait(0.01)
            self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return self._url

    def environment(self, user: str = "demo", project: str | None = "demo", **rest: str) -> dict[str, str]:
        """OS_* variables for a client's process. `project=None` leaves the scope out; add `OS_SYSTEM_SCOPE="all"` and the like."""
        values = {
            "OS_AUTH_URL": f"{self.url}/identity",
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_USER_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.directory),
        }
        if project:
            values |= {"OS_PROJECT_NAME": project, "OS_PROJECT_DOMAIN_ID": "default"}
        return values | rest

    def openstack(self, *words: str, user: str = "demo", project: str | None = "demo", check: bool = True, **rest: str) -> Any:
        """Run the official client; the JSON that it prints, or its text where it prints none. Needs python-openstackclient."""
        command = [str(Path(sys.executable).parent / "openstack"), *words]
        ran = subprocess.run(command, env=self.environment(user, project, **rest), capture_output=True, text=True, timeout=120)
        if check and ran.returncode != 0:
            raise AssertionError(f"openstack {' '.join(words)} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
        try:
            return json.loads(ran.stdout)
        except ValueError:
            return ran.stdout + ran.stderr

    def connection(self, user: str = "demo", project: str = "demo") -> Any:
        """An openstacksdk connection."""
        import openstack

        return openstack.connect(
            auth_url=f"{self.url}/identity",
            username=user,
            password=PASSWORD,
            project_name=project,
            user_domain_id="default",
            project_domain_id="default",
            region_name="RegionOne",
        )
