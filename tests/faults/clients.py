"""Clients that ask a cloud for things at random, and what may be true of those things after what they were told."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tests.faults.incarnation import Answer, Life, journal
from tests.faults.operations import NETWORK, SERVERS, image_ids, named, one, servers

CLIENTS, REQUESTS = 3, 12
"""How many work at once, and what each asks for in a life."""
ACTIONS: dict[str, tuple[Any, str]] = {
    "os-stop": (None, "SHUTOFF"),
    "os-start": (None, "ACTIVE"),
    "pause": (None, "PAUSED"),
    "unpause": (None, "ACTIVE"),
    "suspend": (None, "SUSPENDED"),
    "resume": (None, "ACTIVE"),
    "reboot": ({"type": "HARD"}, "ACTIVE"),
}


class Client:
    """Makes requests about servers and ports of its own, whose names begin with its letter; notes each before it asks, and the answer."""

    def __init__(self, life: Life, letter: str, dice: random.Random) -> None:
        self.life = life
        self.letter = letter
        self.dice = dice

    async def work(self) -> None:
        doings: list[Callable[[], Awaitable[None]]] = [
            self.create,
            self.act,
            self.act,
            self.act,
            self.delete,
            self.mark,
            self.port,
            self.copy,
            self.move,
            self.move,
        ]
        for _ in range(REQUESTS):
            await self.dice.choice(doings)()
            if self.dice.random() < 0.3:
                await asyncio.sleep(self.dice.random() * 0.02)

    async def ask(self, what: str, name: str, method: str, path: str, json: Any = None, who: str = "member", **more: str) -> Answer:
        self.life.points.note(asked=what, name=name, **more)
        answer = await self.life.call(method, path, json, who=who)
        self.life.points.note(answered=what, name=name, accepted=answer.status < 300)
        assert answer.status < 500, f"{what} {name}: {answer}"
        return answer

    def fresh_name(self) -> str:
        return f"{self.letter}{self.dice.randrange(10**9)}"

    async def any_server(self) -> dict[str, Any] | None:
        found = [one for one in await servers(self.life, self.letter) if one["OS-EXT-STS:task_state"] != "deleting"]
        return self.dice.choice(found) if found else None

    async def create(self) -> None:
        if len(await servers(self.life, self.letter)) >= 3:
            return
        linux, private = (await image_ids(self.life, "linux"))[0]["id"], await one(self.life, "network", "private")
        name = self.fresh_name()
        document = {"name": name, "imageRef": linux, "flavorRef": "tiny", "networks": [{"uuid": private}]}
        await self.ask("create", name, "POST", SERVERS, {"server": document})

    async def act(self) -> None:
        server = await self.any_server()
        if server:
            action = self.dice.choice(sorted(ACTIONS))
            await self.ask(action, server["name"], "POST", f"{SERVERS}/{server['id']}/action", {action: ACTIONS[action][0]})

    async def delete(self) -> None:
        server = await self.any_server()
        if server and self.dice.random() < 0.5:
            await self.ask("delete", server["name"], "DELETE", f"{SERVERS}/{server['id']}")

    async def mark(self) -> None:
        server = await self.any_server()
        if server:
            value = str(self.dice.randrange(10**6))
            document = {"metadata": {"mark": value}}
            await self.ask("mark", server["name"], "POST", f"{SERVERS}/{server['id']}/metadata", document, value=value)

    async def copy(self) -> None:
        server = await self.any_server()
        if server:
            await self.ask("copy", server["name"], "POST", f"{SERVERS}/{server['id']}/action", {"createImage": {"name": self.fresh_name()}})

    async def move(self) -> None:
        server = await self.any_server()
        if server:
            body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
            await self.ask("move", server["name"], "POST", f"{SERVERS}/{server['id']}/action", body, who="admin")

    async def port(self) -> None:
        ports = [one for one in (await self.life.get(f"{NETWORK}/ports"))["ports"] if one["name"].startswith(self.letter)]
        if ports and self.dice.random() < 0.5:
            gone = self.dice.choice(ports)
            await self.ask("unplug", gone["name"], "DELETE", f"{NETWORK}/ports/{gone['id']}")
        else:
            name, private = self.fresh_name(), await one(self.life, "network", "private")
            await self.ask("plug", name, "POST", f"{NETWORK}/ports", {"port": {"network_id": private, "name": name}})


class Expected(msgspec.Struct):
    """What may be true of a thing with a name, after what its client was told."""

    there: set[bool] = msgspec.field(default_factory=lambda: {False})
    statuses: set[str] = msgspec.field(default_factory=set)
    marks: set[str | None] = msgspec.field(default_factory=lambda: {None})

    def take(self, line: dict[str, Any], certain: bool) -> None:
        """A request that was accepted (`certain`), or whose answer never came."""
        before = Expected(set(self.there), set(self.statuses), set(self.marks))
        match line["asked"]:
            case "create":
                self.there, self.statuses = {True}, {"ACTIVE"}
            case "plug":
                self.there = {True}
            case "delete" | "unplug":
                self.there = {False}
            case "mark":
                self.marks = {line["value"]}
            case action if action in ACTIONS:
                self.statuses = {ACTIONS[action][1]}
        if not certain:
            self.there |= before.there
            self.statuses |= before.statuses
            self.marks |= before.marks


def expected(lines: list[dict[str, Any]]) -> dict[str, Expected]:
    """By name. Each client asks one thing at a time, so an answer belongs to the newest question about the name."""
    found: dict[str, Expected] = {}
    open_: dict[str, dict[str, Any]] = {}
    for line in lines:
        if "killed" in line:
            for name, question in open_.items():
                found.setdefault(name, Expected()).take(question, certain=False)
            open_ = {}
        elif "asked" in line:
            open_[line["name"]] = line
        elif "answered" in line and "accepted" in line:
            question = open_.pop(line["name"])
            if line["accepted"]:
                found.setdefault(line["name"], Expected()).take(question, certain=True)
    return found


async def compare(life: Life, or_else: set[str] | None = None) -> None:
    """Demand what clients were told. `or_else`: statuses that any server may have, too."""
    await life.settled()
    assert await life.verify() == []
    there = {server["name"]: server for server in await servers(life)}
    assert len(there) == len(await servers(life)), "a server is there twice"
    ports = {port["name"] for port in (await life.get(f"{NETWORK}/ports"))["ports"] if port["name"]}
    for name, may in expected(journal(life.directory)).items():
        assert (name in there or name in ports) in may.there, f"{name} should be there: {may.there}"
        if name in there:
            assert there[name]["status"] in may.statuses | (or_else or set()), f"{name} is {there[name]}, not of {may.statuses}"
            assert there[name]["metadata"].get("mark") in may.marks, f"{name}: {there[name]['metadata']}, should be of {may.marks}"
    waiting = [image for image in (await life.get("/image/v2/images?limit=1000"))["images"] if image["status"] != "active"]
    assert waiting == [], "images whose content never came"
    assert await named(life, "network", "private")
