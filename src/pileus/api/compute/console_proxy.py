"""Carries bytes between a browser's WebSocket and a console's Unix socket on the node.

The token in the query opens one console of one server for as long as it is valid; it is never logged. What the guest sends faster
than the browser reads waits in the guest's socket, and the other way round: nothing is gathered here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from pileus.api.cloud import Cloud
from pileus.api.compute.consoles import endpoint
from pileus.model.errors import PileusError
from pileus.model.guests import ConsoleKind
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
    found = await consoles.redeem(cloud.db, token, time.time())
    if found is None or found.kind != kind:
        await send({"type": "websocket.close", "code": REFUSED, "reason": "The token is unknown or has expired."})
        return
    try:
        path = await endpoint(cloud.bus, found.host, found.server_id, kind)
        reader, writer = await asyncio.open_unix_connection(path)
    except (PileusError, OSError) as error:
        log.info("console %s of %s can't be opened: %s", kind, found.server_id, error)
        await send({"type": "websocket.close", "code": UNREACHABLE, "reason": "The console can't be reached."})
        return
    protocols = scope.get("subprotocols") or []
    await send({"type": "websocket.accept", "subprotocol": "binary" if "binary" in protocols else None})
    await _pump(reader, writer, receive, send)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receive: Receive, send: Send) -> None:
    """Both ways at once until one side ends."""
    ways = [asyncio.create_task(_to_guest(writer, receive)), asyncio.create_task(_from_guest(reader, send))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not ways[0].done()  # the browser is still there
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        if left:
            with contextlib.suppress(OSError, RuntimeError):
                await send({"type": "websocket.close", "code": 1000})


async def _to_guest(writer: asyncio.StreamWriter, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        writer.write(data if data is not None else (message.get("text") or "").encode())
        await writer.drain()


async def _from_guest(reader: asyncio.StreamReader, send: Send) -> None:
    while data := await reader.read(CHUNK):
        await send({"type": "websocket.send", "bytes": data})
