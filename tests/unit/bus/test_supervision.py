"""What managers without privileges ask of root's process, and what becomes of it when one of them is somebody else's, or gone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from pileus.bus import supervision
from pileus.bus.supervision import Ask, Fencer, Supervised, Supervisor
from pileus.model.errors import Invalid, Unavailable
from tests.unit.bus.test_pair import until


async def switch_off(host: str, address: str) -> str:
    return f"{host} at {address} is off"


@asynccontextmanager
async def both(fence: Fencer = switch_off, ready: Callable[[], None] = lambda: None) -> AsyncIterator[tuple[Supervised, Supervisor]]:
    one, other = socket.socketpair()
    managers, root = Supervised(one), Supervisor(other, fence, ready)
    await root.open()
    await managers.open()
    try:
        yield managers, root
    finally:
        await managers.close()
        await root.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await work()

    asyncio.run(bounded())


def test_what_was_done_is_told_and_so_is_why_it_was_not() -> None:
    async def work() -> None:
        async def fence(host: str, address: str) -> str:
            if host == "bad":
                raise Invalid("It has no plug.")
            return await switch_off(host, address)

        async with both(fence) as (managers, _):
            assert await managers.fence("h1", "10.0.0.1") == "h1 at 10.0.0.1 is off"
            with pytest.raises(Unavailable, match="It has no plug"):
                await managers.fence("bad", "")

    run(work)


def test_each_gets_its_own_answer_and_not_more_are_fenced_at_once_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "AT_ONCE", 2)
    now = most = 0

    async def fence(host: str, address: str) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return host

    async def work() -> None:
        async with both(fence) as (managers, _):
            names = [f"h{number}" for number in range(20)]
            assert await asyncio.gather(*(managers.fence(name, "") for name in names)) == names

    run(work)
    assert most == 2


def test_who_waits_when_root_is_gone_is_told_so() -> None:
    begun = asyncio.Event()

    async def fence(host: str, address: str) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    async def work() -> None:
        async with both(fence) as (managers, root):
            waiting = asyncio.create_task(managers.fence("h1", ""))
            await begun.wait()
            await root.close()
            with pytest.raises(Unavailable, match="does not run"):
                await waiting
            assert managers.over.is_set()

    run(work)


def test_root_is_told_once_all_is_at_work() -> None:
    told: list[bool] = []

    async def work() -> None:
        async with both(ready=lambda: told.append(True)) as (managers, _):
            managers.ready()
            await until(lambda: bool(told))

    run(work)


@pytest.mark.parametrize(
    "message",
    [
        b"no message",
        msgspec.msgpack.encode(Ask(number=1, host="h" * supervision.LARGEST, address="")),
        msgspec.msgpack.encode({"type": "ask", "number": 1, "host": "h1", "address": "", "command": "rm"}),
        msgspec.msgpack.encode({"type": "ask", "number": 1, "host": ["h1"], "address": ""}),
        msgspec.msgpack.encode({"type": "run", "command": "rm"}),
    ],
)
def test_what_is_no_request_ends_the_connection_and_does_nothing(message: bytes) -> None:
    asked: list[str] = []

    async def fence(host: str, address: str) -> str:
        asked.append(host)
        return ""

    async def work() -> None:
        one, other = socket.socketpair()
        root = Supervisor(other, fence)
        await root.open()
        one.sendall(len(message).to_bytes(4) + message)
        await root.over.wait()
        await root.close()
        one.close()

    run(work)
    assert asked == []
