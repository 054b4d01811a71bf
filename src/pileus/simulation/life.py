"""The life of a cloud: days in which customers work and things go wrong, each with an hour's rest at its end, in which all is looked at."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from pileus.api.chain import App
from pileus.api.cloud import Cloud
from pileus.api.request import encode
from pileus.config import Config
from pileus.model.base import Model
from pileus.reconcile.engine import Engine
from pileus.simulation import judge
from pileus.simulation.customers import SERVERS, Answer, Customer, User
from pileus.simulation.hosts import LifeHost
from pileus.simulation.loop import VirtualLoop
from pileus.simulation.plan import FaultPlan, Operation, Operations
from pileus.simulation.processes import Processes
from pileus.simulation.tenants import furnish
from pileus.simulation.trace import Trace
from pileus.simulation.weather import Climate, Weather
from pileus.simulation.wire import CONTROL, Losses, Wire

log = logging.getLogger("pileus.simulation")
DAY, REST, LOOK = 86400.0, 3600.0, 10.0
NO_SPACE = "There is no space left on the device."
PLAN = FaultPlan(
    operations=Operations(
        build=Operation(takes=[1, 20], fails=0.01, error=NO_SPACE),
        rebuild=Operation(takes=[1, 20], fails=0.01, error=NO_SPACE),
        start=Operation(takes=[0.5, 10], fails=0.005, error=NO_SPACE),
        reboot=Operation(takes=[0.5, 10]),
        stop=Operation(takes=[0.5, 60]),
        suspend=Operation(takes=[1, 30], fails=0.01, error=NO_SPACE),
        delete=Operation(takes=[0.1, 5], fails=0.01, error="The device is busy."),
        snapshot=Operation(takes=[5, 100], fails=0.02, error=NO_SPACE),
        move=Operation(takes=[0.5, 5], fails=0.01, error=NO_SPACE),
    )
)


class Control(Protocol):
    """The control plane, as the command line puts it together."""

    db: Any
    cloud: Cloud
    engine: Engine | None

    async def prepare(self) -> None: ...

    async def start(self) -> None: ...

    def password(self) -> str:
        """The administrator's."""
        ...

    def abandon(self) -> None:
        """It was killed: let go of files, write nothing."""
        ...


class Settings(Model, frozen=True, kw_only=True):
    """Of a life. `actions`: of customers, for each host and day."""

    hosts: int = 100
    days: float = 30.0
    seed: int = 1
    customers: int = 10
    actions: float = 4.0
    servers: float = 3.0  # wanted for each host
    silence: float = 3600.0
    plan: FaultPlan = PLAN
    climate: Climate = Climate()
    losses: Losses = Losses()


class Outcome(Model, frozen=True, kw_only=True):
    """What a life came to."""

    seed: int
    days: float
    digest: str
    requests: dict[str, int]
    events: dict[str, int]
    servers: int
    looks: int


class Broken(Exception):
    """What was demanded of the cloud is not so."""


class Life:
    """One cloud. `make` puts a control plane together over the database in `directory`."""

    def __init__(
        self, loop: VirtualLoop, settings: Settings, directory: Path, make: Callable[[Config, Wire], Control], trace: IO[str] | None = None
    ) -> None:
        self.loop = loop
        self.settings = settings
        self.trace = Trace(loop.virtual, trace)
        self.processes = Processes(loop)
        self.wire = Wire(self.processes, self.trace, settings.plan, settings.seed, settings.losses)
        self.config = Config(
            state=str(directory), simulate=settings.hosts, token_lifetime=7 * DAY, node_silence=settings.silence, list_limit=100_000
        )
        self.hosts = [LifeHost(number, self.wire, self.trace, settings.silence) for number in range(1, settings.hosts + 1)]
        self.control: Control | None = None
        self.requests: Counter[str] = Counter()
        self.looks = 0
        self.servers = 0
        self._make = make
        self._app: App | None = None
        self._armed = 0
        self._number = 0
        self._source = random.Random(f"life {settings.seed}")
        self._restart: asyncio.Task[None] | None = None
        loop.on_fuse = self._kill

    def time(self) -> float:
        """Virtual."""
        return self.loop.time()

    # -- the life ----------------------------------------------------------------------------------------------------------------------

    async def run(self, progress: Callable[["Life"], None] = lambda life: None) -> Outcome:
        """All days; raises Broken."""
        await self._start_control()
        for host in self.hosts:
            await host.start()
        assert self.control is not None  # nobody kills yet
        admin = User(self, "admin", self.control.password(), "admin")
        await self._until_heard()
        count = max(1, self.settings.customers)
        wants = max(1, round(self.settings.servers * self.settings.hosts / count))
        customers = await furnish(self, admin, count, wants, self.settings.seed)
        weather = Weather(self.hosts, self.wire, self.trace, self.loop.virtual, self)
        left = self.settings.days * DAY
        while left > 0:
            await self._day(min(left, DAY), customers, weather)
            left -= DAY
            await self._look(customers[0])
            progress(self)
        return self.outcome()

    def outcome(self) -> Outcome:
        """Up to now."""
        return Outcome(
            seed=self.settings.seed,
            days=self.time() / DAY,
            digest=self.trace.digest,
            requests=dict(sorted(self.requests.items())),
            events=dict(sorted(self.trace.counts.items())),
            servers=self.servers,
            looks=self.looks,
        )

    async def _until_heard(self) -> None:
        """A host that has not been heard of is not there."""
        while True:
            assert self.control is not None
            if await self.control.db.value("SELECT count(*) FROM hosts") == len(self.hosts):
                return
            await asyncio.sleep(1)

    async def _day(self, length: float, customers: list[Customer], weather: Weather) -> None:
        until = self.time() + max(length - REST, length / 2)
        self.wire.losses = self.settings.losses
        storms = weather.storms(self.settings.climate, random.Random(self._source.random()), until)
        await asyncio.gather(*(self._work(customer, until) for customer in customers), *storms)
        await asyncio.sleep(max(0.0, until - self.time()))
        self.wire.losses = Losses(lost=0.0, late=0.0, twice=0.0, reports=0.0)
        self._armed = self.loop.fuse = 0
        if self._restart is not None:
            await self._restart

    async def _work(self, customer: Customer, until: float) -> None:
        rate = self.settings.actions * self.settings.hosts / self.settings.customers / DAY
        source = random.Random(self._source.random())
        while True:
            pause = source.expovariate(rate)
            if self.time() + pause >= until:
                return
            await asyncio.sleep(pause)
            await customer.work()

    # -- what is demanded --------------------------------------------------------------------------------------------------------------

    async def _look(self, customer: Customer) -> None:
        deadline = self.time() + REST
        while left := await self._left():
            if self.time() > deadline:
                raise Broken(f"not at rest after {REST:.0f} s: {left[:10]}")
            await asyncio.sleep(LOOK)
        await asyncio.sleep(self.settings.silence)  # every host has reported what it has
        assert self.control is not None
        images = self.config.image_stores
        found = await judge.broken(self.control.db, images, self.hosts)
        if found:
            await asyncio.sleep(60)
            found = [one for one in await judge.broken(self.control.db, images, self.hosts) if one in found]
        if found:
            raise Broken(f"invariants: {found[:10]}")
        listed = await customer.admin.get(f"{SERVERS}/detail?all_tenants=1&limit=100000")
        if listed is None:
            raise Broken("the servers can't be listed")
        wounded: dict[str, float] = {}
        for host in self.hosts:
            for guest_id, at in host.wounded.items():
                wounded[guest_id] = max(at, wounded.get(guest_id, 0.0))
        problems = customer.ledger.problems(listed["servers"], wounded)
        unfilled = await self.control.db.all("SELECT name, status FROM images WHERE status NOT IN ('active', 'deleted')")
        if problems := problems + [f"the image {name!r} is {status} for ever" for name, status in unfilled]:
            raise Broken(f"customers: {problems[:10]}")
        customer.ledger.settle(listed["servers"])
        self.looks += 1
        self.servers = len(listed["servers"])
        self.trace.note("look", self.servers)

    async def _left(self) -> list[str]:
        if self.control is None or self.control.engine is None or self._app is None:
            return ["the control plane is not there"]
        left = await judge.under_way(self.control.db)
        return left + [f"{name} {id}: {why}" for (name, id), why in self.control.engine.failing.items()]

    # -- the control plane ---------------------------------------------------------------------------------------------------------------

    def strike(self, turns: int) -> None:
        """Kill the control plane so many turns of the event loop after the next request that changes something."""
        self._armed = turns

    def _kill(self) -> None:
        if self.control is None:
            return
        self.trace.note("control killed")
        control, self.control, self._app = self.control, None, None
        control.db.dead = True
        self.wire.listeners.clear()
        self._restart = self.loop.create_task(self._again(control, self.processes.kill(CONTROL)))

    async def _again(self, control: Control, tasks: "list[asyncio.Task[Any]]") -> None:
        await self.processes.ended(tasks)
        control.abandon()
        await asyncio.sleep(self._source.uniform(0.5, 30))
        await self._start_control()

    async def _start_control(self) -> None:
        self.control = control = self._make(self.config, self.wire)

        async def boot() -> None:
            await control.prepare()
            await control.start()

        starting = self.processes.begin(CONTROL, boot())
        await asyncio.wait({starting})
        if not starting.cancelled():
            starting.result()
            self._app = App(control.cloud)
            self.trace.note("control started")

    # -- its API -------------------------------------------------------------------------------------------------------------------------

    async def call(self, method: str, path: str, document: Any = None, token: str = "") -> Answer:
        """One request; `document` may be bytes."""
        self._number += 1
        number = self._number
        self.trace.note("request", number, method, path)
        if self._app is None:
            await asyncio.sleep(1)
            return self._answered(number, Answer(0))
        if self._armed and method != "GET":
            self.loop.fuse, self._armed = self._armed, 0
        asked = self.processes.begin(CONTROL, _ask(self._app, method, path, document, token))
        await asyncio.wait({asked})
        return self._answered(number, Answer(None) if asked.cancelled() else asked.result())

    def heard(self, name: str, what: str, answer: Answer) -> None:
        """What became of a customer's request, for who reads the trace."""
        self.trace.note("told", name, what, answer.status)

    def _answered(self, number: int, answer: Answer) -> Answer:
        self.trace.note("answer", number, answer.status)
        words = {None: "cut off", 0: "nobody there"}.get(answer.status)
        self.requests[words or str(answer.status)] += 1
        return answer


async def _ask(app: App, method: str, path: str, document: Any, token: str) -> Answer:
    data = document if isinstance(document, bytes) else b"" if document is None else encode(document)
    kind = "application/octet-stream" if isinstance(document, bytes) else "application/json"
    headers = {"host": "cloud.test", "x-auth-token": token, "content-type": kind, "openstack-api-version": "compute 2.104"}
    parts, status, answered = [data], 0, {}
    body = bytearray()

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.Future()  # the client stays
        return {"type": "http.request", "body": parts.pop(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, answered
        if message["type"] == "http.response.start":
            status = message["status"]
            answered = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            body.extend(message.get("body", b""))

    where, _, query = path.partition("?")
    scope = {
        "type": "http", "method": method, "path": where, "scheme": "http", "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value], "client": ("192.0.2.1", 40000),
    }  # fmt: skip
    await app(scope, receive, send)
    document = msgspec.json.decode(bytes(body)) if body and answered.get("content-type", "").endswith("json") else None
    return Answer(status, document, answered)
