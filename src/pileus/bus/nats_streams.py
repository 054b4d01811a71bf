"""The streams of one process over NATS: which message belongs to which, and what a host does when a manager asks for one."""

import asyncio
import re
import secrets
from typing import Any

from pileus.bus.connection import Connection
from pileus.bus.streams import PATIENCE, BusStream, couple, to_socket
from pileus.bus.subjects import Subjects, name_of
from pileus.ending import end
from pileus.model.messages import ConsoleEndpoint, Failed, NodeReply

NAME = re.compile(r"[0-9a-f]{16}\.[0-9a-f]{32}")


class Streams:
    """All streams of one process over the bus. A stream's name is its asker's, which stands in the subject, and a number nobody guesses."""

    def __init__(self, connection: Connection, subjects: Subjects, me: str) -> None:
        self._connection = connection
        self._subjects = subjects
        self._me = me
        self._open: dict[tuple[str, str], BusStream] = {}  # by the host at one end, and name
        self._couples: set[asyncio.Task[None]] = set()

    async def manage(self) -> None:
        """Hear what hosts send."""
        await self._connection.subscribe(self._subjects.streams_to(self._me), self._take)

    async def serve(self, host: str) -> None:
        """Hear what is sent to this host."""
        await self._connection.subscribe(self._subjects.streams_of(host), self._take)

    def begin(self, host: str) -> tuple[str, BusStream]:
        """A manager's side of a stream, before the host knows of it."""
        name = f"{self._me}.{secrets.token_hex(16)}"
        return name, self._made(host, name, "up")

    async def accept(self, host: str, name: str, path: str) -> NodeReply:
        """This host's side: what comes from and goes to a Unix socket here."""
        if not NAME.fullmatch(name) or (host, name) in self._open:
            return Failed(reason="The stream that was asked for has no valid name.")
        try:
            local = await to_socket(path)
        except OSError as error:
            return Failed(reason="The console can't be reached on its host.", detail=str(error))
        stream = self._made(host, name, "down")
        task = asyncio.ensure_future(couple(local, stream))
        stream.over.append(lambda: asyncio.get_running_loop().call_later(PATIENCE, task.cancel))
        self._couples.add(task)
        task.add_done_callback(self._couples.discard)
        return ConsoleEndpoint(path="")

    def lost(self) -> None:
        """The connection to the bus is gone, and with it what was under way."""
        for stream in list(self._open.values()):
            stream.fail("The connection to the message bus was lost.")

    async def close(self) -> None:
        """End all, and tell the other sides."""
        await end(list(self._couples))
        for stream in list(self._open.values()):
            await stream.close()

    def _made(self, host: str, name: str, way: str) -> BusStream:
        asker, number = name.split(".")
        subject = self._subjects.stream(host, asker, number, way)
        stream = BusStream(lambda message: self._connection.publish(subject, message))
        stream.over.append(lambda: self._open.pop((host, name), None))
        self._open[host, name] = stream
        return stream

    async def _take(self, message: Any) -> None:
        *_, host, _, asker, number = message.subject.split(".")
        stream = self._open.get((name_of(host), f"{asker}.{number}"))
        if stream is not None:
            stream.receive(message.data)
