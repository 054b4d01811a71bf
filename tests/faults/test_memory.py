"""The control plane reaches its memory limit under a storm of large requests: it says so, or dies and is started again; what it has
accepted is there afterwards, whole."""

import asyncio
import base64
import faulthandler
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.incarnation import Answer, Life, journal, live
from tests.faults.operations import IMAGES, SERVERS, image_ids, one

MIB = 1 << 20
STORM = 40
REFUSALS = {413, 429, 503}
SERVED = {200, 201, 202, 204}
SETTLES_WITHIN = 60.0


def limit(room: int) -> None:
    """From now on this process gets so many bytes more, and no others."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


async def large_server(life: Life, number: int, body: dict[str, Any]) -> None:
    name = f"storm-{number}"
    answer = await life.call("POST", SERVERS, {"server": {**body, "name": name}})
    note(life, name, answer)


async def large_image(life: Life, number: int) -> None:
    name = f"image-{number}"
    made = await life.call("POST", IMAGES, {"name": name, "disk_format": "raw", "container_format": "bare"})
    if made.status == 201:
        answer = await life.call("PUT", f"{IMAGES}/{made.json['id']}/file", content=os.urandom(6 * MIB))
        note(life, name, answer)


async def long_list(life: Life, number: int) -> None:
    note(life, f"list-{number}", await life.call("GET", f"{SERVERS}/detail?all_tenants=1", who="admin"))


async def quietly(script: Any, life: Life) -> None:
    """A life that the kernel ends for want of memory says nothing about it either."""
    faulthandler.disable()
    await script(life)


def note(life: Life, name: str, answer: Answer) -> None:
    life.points.note(name=name, status=answer.status, words=answer.body[:300].decode(errors="replace") if answer.status >= 400 else "")


async def storm(life: Life, room: int) -> None:
    """Everything at once. A request that fails without an answer is one whose connection would break."""
    linux = (await image_ids(life, "linux"))[0]["id"]
    body = {
        "imageRef": linux,
        "flavorRef": "tiny",
        "networks": [{"uuid": await one(life, "network", "private")}],
        "user_data": base64.b64encode(os.urandom(40_000)).decode(),
        "metadata": {f"key-{index}": "x" * 255 for index in range(100)},
    }
    kinds: list[Any] = []
    for number in range(STORM):
        kinds += [large_server(life, number, body), large_image(life, number), long_list(life, number)]
    limit(room)
    await asyncio.gather(*kinds, return_exceptions=True)


@pytest.mark.parametrize("room", [1, 4, 16, 48, 128])
def test_what_was_accepted_at_the_memory_limit_is_there_afterwards(state: Path, room: int) -> None:
    async def script(life: Life) -> None:
        life.engine.workers = 16
        await storm(life, room * MIB)

    with suppress(AssertionError):  # it may die of it
        live(state, lambda life: quietly(script, life))
    told = [line for line in journal(state) if "name" in line]
    assert {line["status"] for line in told} <= SERVED | REFUSALS, [line for line in told if line["status"] not in SERVED | REFUSALS]
    accepted = {line["name"] for line in told if line["status"] in SERVED}
    assert room < 128 or accepted, "nothing at all was served"

    async def examine(life: Life) -> None:
        await life.settled(SETTLES_WITHIN)
        assert await life.verify() == []
        servers = {row["name"]: row for row in (await life.get(f"{SERVERS}/detail?all_tenants=1&limit=1000"))["servers"]}
        lost = {name for name in accepted if name.startswith("storm")} - servers.keys()
        assert not lost, f"accepted, and gone: {lost}"
        assert {row["status"] for row in servers.values()} <= {"ACTIVE"}, {row["name"]: row["status"] for row in servers.values()}
        for name in (name for name in accepted if name.startswith("image")):
            assert [row["status"] for row in await image_ids(life, name)] == ["active"], name
        life.points.note(servers=len(servers), refused=sum(line["status"] in REFUSALS for line in told))

    live(state, examine)
    if figures := os.environ.get("PILEUS_FIGURES"):
        with Path(figures).open("a") as file:
            file.write(f"{room} MiB of room: {len(accepted)} accepted, {len(told) - len(accepted)} refused\n")
