"""Consoles: tokens, and bytes carried between a WebSocket and the guest's socket."""

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pileus.api.compute.console_proxy import SPEAKERS
from pileus.model.messages import ConsoleEndpoint, NodeReply, NodeRequest, OpenConsole
from tests.api.compute.conftest import Compute


class Browser:
    """The other end of a WebSocket."""

    def __init__(self, compute: Compute, path: str, token: str) -> None:
        self.compute = compute
        self.scope = {"type": "websocket", "path": path, "query_string": f"token={token}".encode(), "subprotocols": ["binary"]}
        self.path = path
        self.sends: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def speak(self) -> None:
        """Run the proxy until it ends."""
        await self.sends.put({"type": "websocket.connect"})
        await SPEAKERS[self.path](self.compute.cloud.cloud, self.scope, self.sends.get, self.got.put)


def wanted(compute: Compute, server: str, protocol: str = "serial", kind: str = "serial") -> Any:
    """A request for a console."""
    return compute.call("POST", f"/servers/{server}/remote-consoles", {"remote_console": {"protocol": protocol, "type": kind}})


def token_of(url: str) -> str:
    """The token in a console's address."""
    return parse_qs(urlsplit(url).query)["token"][0]


def test_each_kind_has_its_address(compute: Compute) -> None:
    server = compute.running()
    serial = wanted(compute, server).json["remote_console"]
    assert serial["url"].startswith("ws://cloud.test/console/serial?token=")
    vnc = wanted(compute, server, "vnc", "novnc").json["remote_console"]
    assert vnc["url"].startswith("http://cloud.test/console/vnc?token=")
    old = compute.act(server, "os-getVNCConsole", {"type": "novnc"}, version="2.5").json["console"]
    assert old["type"] == "novnc"
    shown = compute.call("GET", f"/os-console-auth-tokens/{token_of(vnc['url'])}", who="admin").json["console"]
    assert (shown["instance_uuid"], shown["host"]) == (server, "one")


def test_consoles_that_are_not_there_are_refused(compute: Compute) -> None:
    server = compute.create()
    assert wanted(compute, server).status == 409
    compute.settle(server)
    assert wanted(compute, server, "vnc", "serial").status == 400
    assert wanted(compute, server, "spice", "spice-html5").status == 400
    assert wanted(compute, server, "odd", "odd").status == 400
    compute.act(server, "os-stop")
    compute.settle(server)
    assert wanted(compute, server).status == 409


def test_tokens_are_kept_as_hashes(compute: Compute) -> None:
    token = token_of(wanted(compute, compute.running()).json["remote_console"]["url"])
    rows = compute.cloud.run(compute.cloud.db.all("SELECT * FROM console_tokens"))
    assert len(rows) == 1
    assert token not in str(rows)


def test_bytes_pass_both_ways(compute: Compute, tmp_path: Path) -> None:
    server = compute.running()
    token = token_of(wanted(compute, server).json["remote_console"]["url"])
    socket = tmp_path / "serial.sock"
    asked: list[NodeRequest] = []

    async def node(message: NodeRequest) -> NodeReply:
        asked.append(message)
        return ConsoleEndpoint(path=str(socket))

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"login: ")
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    async def talk() -> list[Any]:
        guest = await asyncio.start_unix_server(echo, str(socket))
        browser = Browser(compute, "/console/serial", token)
        speaking = asyncio.create_task(browser.speak())
        accepted = await asyncio.wait_for(browser.got.get(), 5)
        greeting = await asyncio.wait_for(browser.got.get(), 5)
        await browser.sends.put({"type": "websocket.receive", "bytes": b"root"})
        answer = await asyncio.wait_for(browser.got.get(), 5)
        await browser.sends.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(speaking, 5)
        guest.close()
        return [accepted, greeting["bytes"], answer["bytes"]]

    compute.cloud.bus.attach("one", node)
    accepted, greeting, answer = compute.cloud.run(talk())
    assert accepted == {"type": "websocket.accept", "subprotocol": "binary"}
    assert (greeting, answer) == (b"login: ", b"ROOT")
    assert isinstance(asked[0], OpenConsole)


def test_when_the_guest_ends_the_browser_is_told(compute: Compute, tmp_path: Path) -> None:
    token = token_of(wanted(compute, compute.running()).json["remote_console"]["url"])
    socket = tmp_path / "serial.sock"

    async def node(message: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(socket))

    async def bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def talk() -> dict[str, Any]:
        guest = await asyncio.start_unix_server(bye, str(socket))
        browser = Browser(compute, "/console/serial", token)
        await asyncio.wait_for(browser.speak(), 5)
        guest.close()
        await browser.got.get()
        return await browser.got.get()

    compute.cloud.bus.attach("one", node)
    assert compute.cloud.run(talk())["type"] == "websocket.close"


@pytest.mark.parametrize("case", ["unknown", "another kind", "expired", "unreachable"])
def test_without_a_good_token_nothing_opens(compute: Compute, case: str, tmp_path: Path) -> None:
    token = token_of(wanted(compute, compute.running()).json["remote_console"]["url"])
    path = "/console/vnc" if case == "another kind" else "/console/serial"
    if case == "expired":
        compute.cloud.write(lambda tx: tx.execute("UPDATE console_tokens SET expires_at = ?", time.time() - 1))

    async def node(message: NodeRequest) -> NodeReply:
        return ConsoleEndpoint(path=str(tmp_path / "none.sock"))

    async def talk() -> dict[str, Any]:
        browser = Browser(compute, path, "nonsense" if case == "unknown" else token)
        await asyncio.wait_for(browser.speak(), 5)
        return await browser.got.get()

    compute.cloud.bus.attach("one", node)
    closed = compute.cloud.run(talk())
    assert closed["type"] == "websocket.close"
    assert closed["code"] == (4503 if case == "unreachable" else 4403)
