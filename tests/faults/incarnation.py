"""One life of a control plane, in a process of its own that can be killed at any numbered step.

A life is a forked child: being killed is `os._exit`, so nothing is tidied up, as with `kill -9`. Everything that it leaves lies in the
state directory, and in `journal` beside it, what its client asked and was told. The next life opens the same files.
"""

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from pileus import threads
from pileus.api.chain import App
from pileus.api.identity import passwords
from pileus.api.identity.tokens import audit_id
from pileus.api.image import downloads, files
from pileus.api.request import encode
from pileus.cli import agents
from pileus.cli.control_plane import ControlPlane, load_services
from pileus.cli.world import gather
from pileus.config import Config
from pileus.core.verify import View, breaches
from pileus.model.errors import Conflict, Unavailable
from pileus.model.identity import Identity
from pileus.model.messages import NodeReply, NodeRequest
from pileus.model.migrations import Migration
from pileus.model.projects import DEFAULT_DOMAIN
from pileus.reconcile import availability
from pileus.reconcile.engine import Engine
from pileus.store import routing
from pileus.store.database import Work
from pileus.store.hosts import every_host
from pileus.store.migration_records import alive
from pileus.store.projects import project_named
from pileus.store.servers import SERVERS
from pileus.store.users import user_named

KILLED = 9
TIMES = ("updated_at", "seen_at", "report", "progress")  # columns that say when and how far, not what
IMPORTED_LATE = ("pileus.cli.reconcilers", "pileus.cli.first_start", "pileus.node.hypervisor.simulated", "pileus.node.network.simulated")
SETTLES_WITHIN = 20.0
LONGEST_LIFE = 300.0
"""Seconds after which a life hangs: it fails its test then, and does not hold up all others for ever."""
LADDER = ("admin", "manager", "member", "reader")


class Answer(msgspec.Struct):
    """A response."""

    status: int = 0
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The document."""
        return json.loads(self.body)


class Points:
    """Counts the steps at which a life can end, and ends it at one. `fuse` None: it lives on."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.reached = 0
        self.fuse: int | None = None
        self.armed = False

    def reach(self, name: str) -> None:
        """A step begins or has ended."""
        if not self.armed:
            return
        self.reached += 1
        if self.reached == self.fuse:
            self.note(killed=name)
            os._exit(KILLED)

    def note(self, **line: Any) -> None:
        """A line of the journal; it is written before anything goes on."""
        with self.journal.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _begin_threads_of_services() -> None:
    """As a control plane does: at its memory limit it can't begin any. A process that was forked has none of those that its parent had."""
    for module, name in ((passwords, "_pool"), (downloads, "_pool"), (files, "_counters"), (files, "unpackers")):
        setattr(module, name, ThreadPoolExecutor(max_workers=getattr(module, name)._max_workers))
    for service in (passwords, downloads, files):
        service.begin()


class Life:
    """A control plane, its simulated hosts and a client, in this process."""

    def __init__(
        self,
        directory: Path,
        hosts: int = 2,
        each_step_twice: bool = False,
        fuse: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """`fuse`: the point at which it ends, counted from its very beginning. `settings`: of its configuration."""
        self.directory = directory
        self.points = Points(directory / "journal")
        self.points.fuse, self.points.armed = fuse, fuse is not None
        self.control = ControlPlane(Config(state=str(directory), simulate=hosts, **(settings or {})))
        self.silent: set[str] = set()  # hosts that answer nothing
        self.each_step_twice = each_step_twice
        self.tokens: dict[str, str] = {}
        self._wrap()

    @property
    def db(self) -> Any:
        return self.control.db

    @property
    def engine(self) -> Engine:
        assert self.control.engine is not None  # it is started
        return self.control.engine

    def _wrap(self) -> None:
        points, write, request = self.points, self.control.db.write, self.control.bus.request

        async def deadly_write(work: Work[Any]) -> Any:
            name = getattr(work, "__qualname__", "write")
            points.reach(f"before {name}")
            result = await write(work)
            points.reach(f"after {name}")
            return result

        async def deadly_request(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
            name = type(message).__name__
            points.reach(f"before {name}")
            if host in self.silent:
                raise Unavailable(f"Host {host} is not connected.")
            reply = await request(host, message, timeout)
            points.reach(f"after {name}")
            return reply

        self.control.db.write = deadly_write  # type: ignore[method-assign]
        self.control.bus.request = deadly_request  # type: ignore[method-assign]

        async def deadly_fence(host: str, *_: object) -> str:
            points.reach("before fence")
            points.reach("after fence")
            return f"{host} is off"

        availability.fence = deadly_fence  # type: ignore[assignment]
        availability.LOOK_AGAIN = 0.02

    async def start(self) -> None:
        """Up to where the API answers and all hosts have reported."""
        threads.begin_own()
        _begin_threads_of_services()
        await self.control.prepare()
        engine = self.engine
        engine.workers = 1  # so that the steps have one order
        if self.each_step_twice:
            self._double()
        self.app = App(self.control.cloud)
        agents.make_agents = share(agents.make_agents)
        await self.control.start()
        await next(task for task in self.control._tasks if "_start_agents" in str(task.get_coro()))

    def _double(self) -> None:
        """Every step is called again right after itself, and must change nothing."""
        reconcilers: dict[str, Any] = self.engine.reconcilers
        servers, hosts, networks = reconcilers["servers"], reconcilers["hosts"], reconcilers["routing"]
        for kind, action in list(servers.actions.items()):
            servers.actions[kind] = self._twice(action, f"servers {kind.value}")
        migrations = reconcilers["migrations"]
        for step, action in list(migrations.actions.items()):
            migrations.actions[step] = self._twice(action, f"migrations {step.value}")
        record = hosts._record

        async def record_twice(report: Any) -> None:
            await record(report)
            await self._again(lambda: record(report), "hosts record")

        hosts._record = record_twice
        networks.step = self._twice(networks.step, "routing")
        reconcilers["availability"].step = self._twice(reconcilers["availability"].step, "availability")

    def _twice(self, action: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def twice(*arguments: Any) -> Any:
            result = await action(*arguments)
            if not (isinstance(result, float) and result):  # else it was put off, and nothing was done yet
                await self._again(lambda: action(*arguments), name)
            return result

        return twice

    async def _again(self, action: Callable[[], Awaitable[Any]], name: str) -> None:
        before = await self.dump()
        try:
            await action()
        except Conflict as error:
            assert error.data.get("stale"), error
        after = await self.dump()
        if before != after:
            changed = [(table, rows ^ after[table]) for table, rows in before.items() if rows != after[table]]
            (self.directory / "error").write_text(f"{name} done twice changed {changed}")
            os._exit(1)

    async def dump(self) -> dict[str, set[str]]:
        """Every row of every table, without the times of change."""
        tables = [row[0] for row in await self.db.all("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables.remove("placement_epoch")  # it says when, too
        found: dict[str, set[str]] = {}
        for table in tables:
            columns = [row[1] for row in await self.db.all(f"PRAGMA table_info({table})") if row[1] not in TIMES]
            found[table] = {repr(tuple(row)) for row in await self.db.all(f"SELECT {', '.join(columns)} FROM {table}")}
        return found

    async def _token(self, who: str) -> str:
        user = await user_named(self.db, who, DEFAULT_DOMAIN)
        project = await project_named(self.db, "demo", DEFAULT_DOMAIN)
        assert user and project
        now = time.time()
        identity = Identity(
            user_id=user.id, project_id=project.id, project_domain_id=DEFAULT_DOMAIN, roles=frozenset(LADDER[LADDER.index(who) :]),
            issued_at=now, expires_at=now + 86400, methods=("password",), audit_ids=(audit_id(),),
        )  # fmt: skip
        return self.control.cloud.tokens.issue(identity)  # type: ignore[attr-defined]

    # the client

    async def call(self, method: str, path: str, json: Any = None, content: bytes | None = None, who: str = "member") -> Answer:
        """One request through the chain. It is in the journal before it is sent, its answer when it came."""
        if who not in self.tokens:
            self.tokens[who] = await self._token(who)
        answer = Answer()
        data = content if content is not None else b"" if json is None else encode(json)
        kind = "application/octet-stream" if content is not None else "application/json"
        headers = {
            "host": "cloud.test", "x-auth-token": self.tokens[who], "content-type": kind, "openstack-api-version": "compute 2.104",
        }  # fmt: skip
        left = [data[: len(data) // 2], data[len(data) // 2 :]] if content is not None else [data]

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Future()  # the client stays
            part = left.pop(0)
            self.points.reach(f"a part of {method} {path}")
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
            else:
                answer.body += message.get("body", b"")

        where, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": where, "scheme": "http", "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": ("127.0.0.1", 40000),
        }  # fmt: skip
        await self.app(scope, receive, send)
        return answer

    async def do(self, method: str, path: str, json: Any = None, content: bytes | None = None, who: str = "member") -> Any:
        """A request of the operation under test: its answer is noted, and must be a success. Returns the document."""
        answer = await self.call(method, path, json, content, who)
        assert answer.status < 300, f"{method} {path} was answered by {answer}"
        self.points.note(answered=f"{method} {path}", status=answer.status)
        if self.each_step_twice:
            await self.settled()
        return answer.json if answer.body else None

    async def get(self, path: str, who: str = "admin") -> Any:
        """A document."""
        answer = await self.call("GET", path, who=who)
        assert answer.status == 200, f"GET {path} was answered by {answer}"
        return answer.json

    # what is demanded of it

    async def settled(self, within: float = SETTLES_WITHIN) -> None:
        """Wait until nothing is being done, nothing fails, and nothing is due; but for what waits for a host that is silent."""
        engine = self.engine
        deadline = time.monotonic() + within
        while True:
            rows = await SERVERS.find(self.db, "removed_at IS NULL")
            open_ = [f"{one.name} {one.status} {one.task_state} {one.next_step}" for one in rows if one.next_step != "nothing"]
            down = {one.name for one in await every_host(self.db) if one.forced_down}
            left = [one for one in await alive(self.db) if one.step != "verify" and not waits_for(one, down)]
            open_ += [f"{one.kind} {one.status} {one.step} {one.error}" for one in left]
            waits = {item for item, why in engine.failing.items() if any(f"Host {host} " in why for host in self.silent)}
            if engine.idle() and engine._timers.keys() <= waits and not open_ and engine.failing.keys() <= waits:
                return
            assert time.monotonic() < deadline, f"not settled within {within:g} s: {open_}, failing: {engine.failing}"
            await asyncio.sleep(0.002)

    async def until(self, condition: Callable[[], Any], what: str, within: float = SETTLES_WITHIN) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true within {within:g} s"
            await asyncio.sleep(0.002)

    async def verify(self) -> list[tuple[str, str]]:
        """Breaches, with what the simulated hosts say taken in."""
        world = await gather(self.db, self.control.config)
        views = [await self._view_of(agent) for agent in self.control.agents]
        return sorted(set(breaches(msgspec.structs.replace(world, views=views))))

    async def _view_of(self, agent: Any) -> View:
        guests = await agent._hypervisors[0].observe()
        domains = {domain.id: [port.id for port in domain.ports if port.local] for domain in await routing.all_domains(self.db, agent.host)}
        return View(
            host=agent.host,
            guests=guests,
            guest_directories=[one.id for one in guests],
            namespaces=sorted(await agent._network.observe()),
            domains=domains,
        )


def waits_for(move: Migration, down: set[str]) -> bool:
    """Whether a move is over but for what a host that is down is still to be told of it."""
    if move.step == "clean":
        return move.source in down
    return move.step == "undo" and move.restored and bool(down & {move.source, move.destination})


def share(make: Callable[[Config], list[Any]]) -> Callable[[Config], list[Any]]:
    """Where servers start elsewhere by themselves, all hosts see their disks."""

    def made(config: Config) -> list[Any]:
        found = make(config)
        for agent in found:
            agent.shared_disks = bool(config.fencing)
        return found

    return made


def live(directory: Path, script: Callable[[Life], Coroutine[Any, Any, None]], **options: Any) -> int:
    """Run a script in a life of its own; how that ended: 0, or KILLED. A failure of the script is the caller's; TimeoutError: it hung."""
    (directory / "error").unlink(missing_ok=True)
    for module in IMPORTED_LATE:  # once, here
        importlib.import_module(module)
    load_services()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            gc.freeze()
            asyncio.run(_lead(directory, script, options))
            status = 0
        except BaseException:
            (directory / "error").write_text(traceback.format_exc())
        finally:
            os._exit(status)
    hangs = not _ends(child)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if hangs:
        raise TimeoutError(f"a life hung after {journal(directory)[-5:]}")
    if ended not in (0, KILLED):
        error = directory / "error"
        raise AssertionError(f"after {journal(directory)[-5:]}:\n{error.read_text() if error.exists() else f'ended with {ended}'}")
    return ended


def _ends(child: int) -> bool:
    """Whether it ends by itself in its time; it is killed otherwise."""
    handle = os.pidfd_open(child)
    try:
        if select.select([handle], [], [], LONGEST_LIFE)[0]:
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return False
    finally:
        os.close(handle)


async def _lead(directory: Path, script: Callable[[Life], Coroutine[Any, Any, None]], options: dict[str, Any]) -> None:
    life = Life(directory, **options)
    await life.start()
    await script(life)
    os._exit(0)  # it never ends otherwise than by being killed


def journal(directory: Path) -> list[dict[str, Any]]:
    """What the clients of all lives noted."""
    file = directory / "journal"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
