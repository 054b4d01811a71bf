"""What a control plane lives in misbehaves while clients work: the clock jumps, messages are lost or late, the disk is slow.

PILEUS_SEED says how the dice fall: a failure names its seed.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pileus.model.errors import Unavailable
from pileus.model.messages import NodeReply, NodeRequest
from tests.faults.clients import Client, compare
from tests.faults.incarnation import Life, live
from tests.faults.losses import SERVICES

SEED = int(os.environ.get("PILEUS_SEED", "1"))
HOUR = 3600.0
Trouble = Callable[[Life, random.Random, asyncio.Event], Awaitable[None]]
"""Makes trouble until the event says that the clients have ended, and leaves all as it was."""


def under(state: Path, trouble: Trouble, customers: str = "abc") -> None:
    """Clients work while there is trouble; afterwards every accepted request is accounted for, and no host was given up."""

    async def script(life: Life) -> None:
        life.engine.workers = 16
        over = asyncio.Event()
        troubled = asyncio.create_task(trouble(life, random.Random(SEED), over))
        await asyncio.gather(*(Client(life, letter, random.Random(f"{SEED}{letter}")).work() for letter in customers))
        over.set()
        await troubled
        await compare(life)
        services = (await life.get(SERVICES))["services"]
        assert {one["state"] for one in services if one["binary"] == "nova-compute"} == {"up"}

    try:
        live(state, script, settings={"node_silence": 3.0})
    except AssertionError as error:
        raise AssertionError(f"with seed {SEED}: {error}") from None


def test_the_clock_jumps_by_an_hour_both_ways(state: Path) -> None:
    async def jump(life: Life, dice: random.Random, over: asyncio.Event) -> None:
        now, offset = time.time, [0.0]
        time.time = lambda: now() + offset[0]
        while not over.is_set():
            offset[0] = dice.choice([-HOUR, 0.0, HOUR])
            await asyncio.sleep(dice.uniform(0.05, 0.3))
        offset[0] = 0.0

    under(state, jump)


def test_messages_to_hosts_and_from_them_are_lost_and_late(state: Path) -> None:
    async def lose(life: Life, dice: random.Random, over: asyncio.Event) -> None:
        request, report = life.control.bus.request, life.control.bus.report

        async def unsure(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
            fate = dice.random()
            if fate < 0.1:
                raise Unavailable(f"Host {host} gives no sign of life.")
            if fate < 0.3:
                await asyncio.sleep(dice.random() * 0.2)
            reply = await request(host, message, timeout)
            if fate > 0.9:
                raise Unavailable(f"Host {host} gives no sign of life.")
            return reply

        def rarely(said: Any) -> None:
            if dice.random() < 0.5:
                asyncio.get_running_loop().call_later(dice.random() * 0.2, report, said)

        life.control.bus.request = unsure
        for agent in life.control.agents:
            agent._report = rarely
        await over.wait()
        life.control.bus.request = request
        for agent in life.control.agents:
            agent._report = report
        life.engine.retry()  # as when a connection comes back

    under(state, lose)


def test_the_disk_is_slow(state: Path) -> None:
    async def slow_down(life: Life, dice: random.Random, over: asyncio.Event) -> None:
        write = life.db.write

        async def late(work: Any) -> Any:
            await asyncio.sleep(dice.choice([0.0, 0.0, 0.02, 0.3]))
            result = await write(work)
            await asyncio.sleep(dice.choice([0.0, 0.0, 0.02, 0.3]))
            return result

        life.control.db.write = late  # type: ignore[method-assign]
        await over.wait()
        life.control.db.write = write  # type: ignore[method-assign]

    under(state, slow_down)
