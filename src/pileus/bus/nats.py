"""The bus over NATS: requests with signs of life, reports, wake-ups. It is never a source of truth: what is lost is asked again.

A request's reply comes on a subject that names host and asker, so that no host can answer for another. While a host works on a request
it says so every few seconds; silence, a lost connection or a host that has started anew end the request at once as Unavailable.
"""

import asyncio
import itertools
import logging
import math
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from pileus import clock
from pileus.bus import encoding
from pileus.bus.connection import BusCredentials, Connection
from pileus.bus.local import CONSOLE_TIMEOUT, Handle, Listener
from pileus.bus.nats_streams import Streams
from pileus.bus.streams import ByteStream
from pileus.bus.subjects import Subjects, name_of
from pileus.core import request_ids
from pileus.ending import end
from pileus.model.errors import Invalid, NodeFailed, PileusError, Unavailable
from pileus.model.hosts import HostReport
from pileus.model.messages import ConsoleEndpoint, Failed, NodeReply, NodeRequest, OpenConsole

log = logging.getLogger(__name__)
SIGN_OF_LIFE = 2.0
REQUEST_ID = "Pileus-Request-Id"
"""The header that says whose work a request is, for the host's log."""
CLOCK_TOLERANCE = 60.0
SILENCE = 10.0
"""Seconds without a sign of life after which a host is given up for this request."""
Wake = Callable[[str, str], None]


class _Waiting:
    """A request under way."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.reply: asyncio.Future[NodeReply] = asyncio.get_running_loop().create_future()
        self.heard_at = asyncio.get_running_loop().time()

    def fail(self, reason: str) -> None:
        if not self.reply.done():
            self.reply.set_exception(Unavailable(reason))
            self.reply.exception()  # whoever asked may have been cancelled, and nobody else wants to know


class NatsBus:
    """One process's end of the bus. A manager sends requests and hears reports and wake-ups; a host's agent answers and reports."""

    def __init__(self, credentials: BusCredentials, name: str) -> None:
        self.connection = Connection(credentials, name)
        self.subjects = Subjects(cloud=credentials.cloud)
        self.listeners: list[Listener] = []
        self.wakers: list[Wake] = []
        self.connected_at = math.inf  # by the monotonic clock; infinite while there is no connection
        self.came_back: list[Callable[[], None]] = []
        self.outgoing: Callable[[NodeRequest], NodeRequest] = lambda request: request  # what is changed about each request that is sent
        self._me = secrets.token_hex(8)
        self._streams = Streams(self.connection, self.subjects, self._me)
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiting] = {}
        self._wakes: set[tuple[str, str]] = set()
        self._started: dict[str, float] = {}
        self._clocks: dict[str, float] = {}  # host -> seconds that our clock is ahead of its own
        self._tasks: set[asyncio.Task[None]] = set()
        self.connection.changed = self._changed

    async def open(self, patience: float = 5.0) -> None:
        """Connect, in the background when it takes long."""
        await self.connection.open(patience)

    async def close(self) -> None:
        """End; requests and streams under way fail."""
        await self._streams.close()
        await end(list(self._tasks))
        await self.connection.close()

    # -- managers --------------------------------------------------------------------------------------------------------------------

    async def manage(self, reports: bool) -> None:
        """Take replies, streams and, for a cluster, reports and wake-ups."""
        await self.connection.subscribe(self.subjects.replies_to(self._me), self._take_reply)
        await self._streams.manage()
        if reports:
            await self.connection.subscribe(self.subjects.report("*"), self._take_report)
            await self.connection.subscribe(self.subjects.wake(">"), self._take_wake)

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        """The agent's reply."""
        number = str(next(self._numbers))
        waiting = _Waiting(host)
        self._waiting[number] = waiting
        try:
            reply_to = self.subjects.reply(host, self._me, number)
            asker = {REQUEST_ID: current} if (current := request_ids.CURRENT.get()) else None
            await self.connection.publish(self.subjects.node(host), encoding.encode(self.outgoing(message)), reply_to, asker)
            reply = await self._wait(waiting, timeout)
        finally:
            del self._waiting[number]
        if isinstance(reply, Failed):
            raise NodeFailed(reply.reason, detail=reply.detail, kind=reply.kind)
        return reply

    async def stream(self, host: str, message: OpenConsole) -> ByteStream:
        """The bytes of a guest's console, by the host's agent."""
        name, stream = self._streams.begin(host)
        try:
            await self.request(host, msgspec.structs.replace(message, stream=name), CONSOLE_TIMEOUT)
        except BaseException:
            await stream.close()
            raise
        return stream

    async def _wait(self, waiting: _Waiting, timeout: float) -> NodeReply:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            until = min(deadline, waiting.heard_at + SILENCE)
            done, _ = await asyncio.wait({waiting.reply}, timeout=max(until - loop.time(), 0.001))
            if done:
                return waiting.reply.result()
            if loop.time() >= deadline:
                raise Unavailable(f"Host {waiting.host} did not answer within {timeout:g} s.")
            if loop.time() >= waiting.heard_at + SILENCE:
                raise Unavailable(f"Host {waiting.host} gives no sign of life.")

    async def _take_reply(self, message: Any) -> None:
        *_, host, _, number = message.subject.split(".")
        waiting = self._waiting.get(number)
        if waiting is None or waiting.reply.done() or name_of(host) != waiting.host:
            return
        waiting.heard_at = asyncio.get_running_loop().time()
        if message.headers and message.headers.get("Status") == "503":
            waiting.fail(f"Host {waiting.host} is not connected.")
        elif message.data:
            try:
                waiting.reply.set_result(encoding.reply(message.data))
            except Invalid as error:
                log.warning("host %s: %s", waiting.host, error.message)
                waiting.fail(f"Host {waiting.host} gave an answer that can't be read; it may run another version of pileus.")

    async def _take_report(self, message: Any) -> None:
        host = name_of(message.subject.rpartition(".")[2])
        try:
            report = encoding.report(message.data)
        except Invalid as error:
            log.warning("host %s: %s", host, error.message)
            return
        if report.host != host:
            log.warning("host %s reports in the name of %s; that is dropped", host, report.host)
            return
        if self._started.get(host, report.started_at) != report.started_at:
            for waiting in self._waiting.values():
                if waiting.host == host:
                    waiting.fail(f"Host {host} has started anew.")
        self._started[host] = report.started_at
        report = self._by_our_clock(report)
        for listener in self.listeners:
            listener(report)

    def _by_our_clock(self, report: HostReport) -> HostReport:
        """Reports are compared with what we did and when: a host's clock may differ, and jump. The quickest report of a host says by how
        much it differs."""
        late = clock.now() - report.reported_at
        known = self._clocks.get(report.host)
        if known is None or late < known or late > known + SILENCE:
            if abs(late) > CLOCK_TOLERANCE:
                log.warning("the clock of host %s differs from ours by %.0f s; set it, by NTP for instance", report.host, late)
            self._clocks[report.host] = known = late
        return msgspec.structs.replace(report, reported_at=report.reported_at + known)

    def wake(self, name: str, id: str) -> None:
        """Tell the clusters to look at this soon. What is lost costs time only: they look at everything from time to time."""
        if not self._wakes:
            self._begin(self._send_wakes())
        self._wakes.add((name, id))

    async def _send_wakes(self) -> None:
        wakes, self._wakes = self._wakes, set()
        for name, id in wakes:
            try:
                await self.connection.publish(self.subjects.wake(name), id.encode())
            except Unavailable:
                return  # a cluster's own scan finds it

    async def _take_wake(self, message: Any) -> None:
        name, id = message.subject.rpartition(".")[2], message.data.decode(errors="replace")
        for waker in self.wakers:
            waker(name, id)

    # -- hosts -----------------------------------------------------------------------------------------------------------------------

    async def serve(self, host: str, handle: Handle) -> None:
        """Answer this host's requests."""

        async def take(message: Any) -> None:
            self._begin(self._answer(host, handle, message))

        await self._streams.serve(host)
        await self.connection.subscribe(self.subjects.node(host), take)

    async def _answer(self, host: str, handle: Handle, message: Any) -> None:
        if not message.reply.startswith(self.subjects.replies_of(host)):
            return
        try:
            request = encoding.request(message.data)
        except Invalid as error:
            log.warning("a request could not be read: %s", error.message)
            reply: NodeReply = Failed(reason="The host runs another version of pileus than who asks it.", detail=error.message)
            await self._say(message.reply, encoding.encode(reply))
            return
        request_ids.CURRENT.set((message.headers or {}).get(REQUEST_ID, "")[:64])  # of a task of its own, and what that begins
        work = asyncio.ensure_future(self._handled(host, handle, request))
        try:
            while True:
                await self._say(message.reply, b"")
                done, _ = await asyncio.wait({work}, timeout=SIGN_OF_LIFE)
                if done:
                    await self._say(message.reply, encoding.encode(work.result()))
                    return
        finally:
            work.cancel()

    async def _handled(self, host: str, handle: Handle, request: NodeRequest) -> NodeReply:
        reply = await handle(request)
        if isinstance(request, OpenConsole) and request.stream and isinstance(reply, ConsoleEndpoint):
            return await self._streams.accept(host, request.stream, reply.path)
        return reply

    async def _say(self, subject: str, data: bytes) -> None:
        try:
            await self.connection.publish(subject, data)
        except PileusError as error:
            log.info("a reply is lost, it will be asked for again: %s", error.message)

    def report(self, report: HostReport) -> None:
        """Send a host's report; what is lost is said again by the next complete one."""
        self._begin(self._say(self.subjects.report(report.host), encoding.encode(report)))

    # -- both ------------------------------------------------------------------------------------------------------------------------

    def _changed(self, connected: bool) -> None:
        self.connected_at = clock.monotonic() if connected else math.inf
        if connected:
            for callback in self.came_back:
                callback()
            return
        self._streams.lost()
        for waiting in self._waiting.values():
            waiting.fail("The connection to the message bus was lost.")

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
