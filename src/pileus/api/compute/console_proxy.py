"""Carries bytes between a browser's WebSocket and a console of a guest, by the bus.

The token in the query opens one console of one server for as long as it is valid; it is never logged. What the guest sends faster
than the browser reads waits in the guest's socket, and the other way round: nothing is gathered here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from pileus import clock
from pileus.api.cloud import Cloud
from pileus.bus.streams import ByteStream
from pileus.model.errors import PileusError
from pileus.model.guests import ConsoleKind
from pileus.model.messages import OpenConsole
from pileus.store import consoles

log = logging.getLogger("pileus.consoles")
CHUNK = 64 << 10
REFUSED = 4403
UNREACHABLE = 4503
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def vnc(cloud: Cloud, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """/console/vnc: RFB."""
    await _speak(cloud, scope, receive, send, ConsoleKind.VNC)


async def serial(cloud: Cloud, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """/console/serial: the guest's terminal."""
    await _speak(cloud, scope, receive, send, ConsoleKind.SERIAL)


SPEAKERS = {"/console/vnc": vnc, "/console/serial": serial}


async def _speak(cloud: Cloud, scope: dict[str, Any], receive: Receive, send: Send, kind: ConsoleKind) -> None:
    await receive()  # websocket.connect
    token = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
    found = await consoles.redeem(cloud.db, token, clock.now())
    if found is None or found.kind != kind:
        await send({"type": "websocket.close", "code": REFUSED, "reason": "The token is unknown or has expired."})
        return
    try:
        stream = await cloud.bus.stream(found.host, OpenConsole(guest_id=found.server_id, kind=kind))
    except (PileusError, OSError) as error:
        log.info("console %s of %s can't be opened: %s", kind, found.server_id, error)
        await send({"type": "websocket.close", "code": UNREACHABLE, "reason": "The console can't be reached."})
        return
    protocols = scope.get("subprotocols") or []
    await send({"type": "websocket.accept", "subprotocol": "binary" if "binary" in protocols else None})
    await _pump(stream, receive, send)


async def _pump(stream: ByteStream, receive: Receive, send: Send) -> None:
    """Both ways at once until one side ends."""
    ways = [asyncio.create_task(_to_guest(stream, receive)), asyncio.create_task(_from_guest(stream, send))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not ways[0].done()  # the browser is still there
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await stream.close()
        if left:
            with contextlib.suppress(OSError, RuntimeError):
                await send({"type": "websocket.close", "code": 1000})


async def _to_guest(stream: ByteStream, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        await stream.write(data if data is not None else (message.get("text") or "").encode())


async def _from_guest(stream: ByteStream, send: Send) -> None:
    while data := await stream.read(CHUNK):
        await send({"type": "websocket.send", "bytes": data})
