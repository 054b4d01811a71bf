"""The bus between the two processes of a separated cloud: a pair of sockets that nobody else has, with typed messages of bounded size.

`ManagersBus` is the unprivileged end, `NodeBus` that of the host's agent. A message has its length, then its bytes. The host believes
nothing of it: what is longer than LARGEST, or is none of our messages, ends the connection or is refused, and touches nothing.
"""

import asyncio
import logging
import math
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pileus import clock
from pileus.bus import encoding
from pileus.bus.line import LARGEST, LATE, Line, Managers, Ready
from pileus.bus.line import encode as _encode
from pileus.bus.local import CONSOLE_TIMEOUT, Handle, Listener
from pileus.bus.streams import PATIENCE, BusStream, ByteStream, couple, to_socket
from pileus.core import request_ids
from pileus.ending import end
from pileus.model.base import Model
from pileus.model.errors import Invalid, NodeFailed, Unavailable
from pileus.model.hosts import HostReport
from pileus.model.messages import ConsoleEndpoint, Failed, NodeReply, NodeRequest, OpenConsole

log = logging.getLogger(__name__)

AT_ONCE, HELD = 1024, 256 << 20
"""Requests that the host works on, and their bytes; further ones wait in the socket."""
STREAMS = 512


class Ask(Model, frozen=True, kw_only=True, tag="ask", forbid_unknown_fields=True):
    """A request, and for whose request it is (for the log)."""

    number: int
    host: str
    request_id: str = ""
    body: bytes


class Answer(Model, frozen=True, kw_only=True, tag="answer", forbid_unknown_fields=True):
    """The reply to the request of that number."""

    number: int
    body: bytes


class Say(Model, frozen=True, kw_only=True, tag="say", forbid_unknown_fields=True):
    """A host's report."""

    body: bytes


class Carry(Model, frozen=True, kw_only=True, tag="carry", forbid_unknown_fields=True):
    """Bytes of a console."""

    stream: int
    body: bytes


class Hosts(Model, frozen=True, kw_only=True, tag="hosts", forbid_unknown_fields=True):
    """From the node process: these hosts answer from now on."""

    names: list[str]


class Used(Model, frozen=True, kw_only=True, tag="used", forbid_unknown_fields=True):
    """From the node process, with each complete report: its CPU time in seconds and its resident memory in bytes."""

    cpu: float
    memory: int


_to_node: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Ask | Carry | Ready)
_to_managers: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Answer | Say | Carry | Hosts | Used)


class ManagersBus(Managers[NodeReply]):
    """The managers' end: a Bus. `end`: our half of the pair; connected in `open`."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end, _to_managers)
        self.connected_at = math.inf
        self.listeners: list[Listener] = []
        self.came_back: list[Callable[[], None]] = []
        self.used: Used | None = None  # by the node process, as it said last
        self._hosts: set[str] = set()
        self._streams: dict[int, BusStream] = {}

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        """The agent's reply."""
        if host not in self._hosts:
            raise Unavailable(f"Host {host} is not connected.")
        body, request_id = _encode(message), request_ids.CURRENT.get()
        try:
            reply = await self._ask(lambda number: Ask(number=number, host=host, request_id=request_id, body=body), timeout)
        except TimeoutError as error:
            raise Unavailable(f"Host {host} did not answer within {timeout:g} s.") from error
        if isinstance(reply, Failed):
            raise NodeFailed(reply.reason, detail=reply.detail, kind=reply.kind)
        return reply

    async def stream(self, host: str, message: OpenConsole) -> ByteStream:
        """The bytes of a guest's console, by the node process."""
        number = next(self._numbers)
        stream = self._streams[number] = BusStream(lambda data: self._line.send(Carry(stream=number, body=data)))
        stream.over.append(lambda: self._streams.pop(number, None))
        try:
            await self.request(host, msgspec.structs.replace(message, stream=str(number)), CONSOLE_TIMEOUT)
        except BaseException:
            await stream.close()
            raise
        return stream

    def report(self, report: HostReport) -> None:
        """Hand a report to every listener."""
        for listener in self.listeners:
            listener(report)

    async def _take(self, message: Answer | Say | Carry | Hosts | Used) -> None:
        match message:
            case Answer(number=number, body=body):
                if number in self._waiting:
                    self._settle(number, encoding.plain_reply(body))
            case Say(body=body):
                self.report(encoding.plain_report(body))
            case Carry(stream=number, body=body):
                if stream := self._streams.get(number):
                    stream.receive(body)
            case Used():
                self.used = message
            case Hosts(names=names):
                self._hosts = set(names)
                self.connected_at = clock.monotonic()
                for callback in self.came_back:
                    callback()

    def _lost(self) -> None:
        self.connected_at = math.inf
        self._hosts = set()
        super()._lost()
        for stream in list(self._streams.values()):
            stream.fail(LATE)


def used() -> Used:
    """What this process has taken."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Used(cpu=times.ru_utime + times.ru_stime, memory=pages * resource.getpagesize())


class NodeBus:
    """The host's end. `ready` is called when the managers say that the API answers."""

    def __init__(self, end: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
        self._line = Line(end, _to_node, self._take)
        self._ready = ready
        self._agents: dict[str, Handle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._under_way = self._held = 0  # requests, and their bytes
        self._room = asyncio.Event()
        self._streams: dict[int, BusStream] = {}

    @property
    def over(self) -> asyncio.Event:
        """Set when the managers are gone, or have said what no manager says."""
        return self._line.over

    async def open(self) -> None:
        """Begin to listen."""
        await self._line.open()

    async def close(self) -> None:
        """End what is under way."""
        await self._line.close()
        await end(list(self._tasks))
        for stream in list(self._streams.values()):
            stream.fail(LATE)

    def attach(self, host: str, handle: Handle) -> None:
        """From now on requests to this host go there."""
        self._agents[host] = handle
        self._line.post(Hosts(names=sorted(self._agents)))

    def report(self, report: HostReport) -> None:
        """Send a host's report; what is lost, or not taken, is said again by the next complete one."""
        if not self._line.over.is_set() and self._line.waiting < LARGEST:
            self._line.post(Say(body=_encode(report)))
            if report.complete:
                self._line.post(used())

    async def _take(self, message: Ask | Carry | Ready) -> None:
        match message:
            case Ask():
                await self._take_ask(message)
            case Carry(stream=number, body=body):
                if stream := self._streams.get(number):
                    stream.receive(body)
            case Ready():
                self._ready()

    async def _take_ask(self, asked: Ask) -> None:
        """Begin to work on it. Who asks too much waits, and what it sends waits in the socket."""
        size = len(asked.body)
        while self._under_way >= AT_ONCE or (self._under_way and self._held + size > HELD):
            self._room.clear()
            await self._room.wait()
        self._under_way += 1
        self._held += size
        task = asyncio.create_task(self._answer(asked))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(done, size))

    def _done(self, task: "asyncio.Task[Any]", size: int) -> None:
        self._under_way -= 1
        self._held -= size
        self._room.set()
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("a reply is lost, it will be asked for again: %s", task.exception())

    async def _answer(self, asked: Ask) -> None:
        request_ids.CURRENT.set(asked.request_id[:64])  # of a task of its own, and what that begins
        try:
            reply = await self._handled(asked.host, encoding.plain_request(asked.body))
        except Invalid as error:
            log.warning("a request was refused: %s", error.message)
            reply = Failed(reason="The host refuses what it was asked for.", detail=error.message, kind="Invalid")
        await self._line.send(Answer(number=asked.number, body=_encode(reply)))

    async def _handled(self, host: str, request: NodeRequest) -> NodeReply:
        handle = self._agents.get(host)
        if handle is None:
            raise Invalid("There is no such host here.")
        reply = await handle(request)
        if isinstance(request, OpenConsole) and isinstance(reply, ConsoleEndpoint):
            return await self._accept(request.stream, reply.path)
        return reply

    async def _accept(self, name: str, path: str) -> NodeReply:
        """Carry what comes from and goes to a Unix socket here."""
        number = int(name) if name.isdecimal() and len(name) < 16 else 0
        if not number or number in self._streams or len(self._streams) >= STREAMS:
            raise Invalid("The stream that was asked for has no valid name, or there are too many.")
        try:
            local = await to_socket(path)
        except OSError as error:
            return Failed(reason="The console can't be reached on its host.", detail=str(error))
        stream = self._streams[number] = BusStream(lambda data: self._line.send(Carry(stream=number, body=data)))
        task = asyncio.create_task(couple(local, stream))
        stream.over.append(lambda: self._streams.pop(number, None))
        stream.over.append(lambda: asyncio.get_running_loop().call_later(PATIENCE, task.cancel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ConsoleEndpoint(path="")
