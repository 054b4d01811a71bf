"""As the random kills, while an operator loses hosts and gets them back: servers start elsewhere, each on one host in the end.

PILEUS_KILLS says how often it is killed (10), PILEUS_SEED how the dice fall: a failure names its seed.
"""

import asyncio
import itertools
import os
import random
from pathlib import Path

from tests.faults.clients import ACTIONS, Client, compare
from tests.faults.incarnation import KILLED, Life, live
from tests.faults.losses import BY_POLICY, SERVICES, down, regain, say
from tests.faults.operations import SERVERS

KILLS = int(os.environ.get("PILEUS_KILLS", "10"))
SEED = int(os.environ.get("PILEUS_SEED", "1"))
HOSTS, CLIENTS, LOSSES, FARTHEST = 3, 3, 8, 400


class Customer(Client):
    """Whose servers are not suspended: one that was to be, when its host was lost, is off afterwards."""

    async def act(self) -> None:
        server = await self.any_server()
        if server:
            action = self.dice.choice(["os-start", "os-stop", "pause", "reboot", "unpause"])
            await self.ask(action, server["name"], "POST", f"{SERVERS}/{server['id']}/action", {action: ACTIONS[action][0]})


async def operate(life: Life, dice: random.Random) -> None:
    """One host at a time is lost for a while; what an earlier life left lost comes back first."""
    await all_back(life)
    names = sorted(one["host"] for one in (await life.get(SERVICES))["services"] if one["binary"] == "nova-compute")
    for _ in range(LOSSES):
        host = dice.choice(names)
        life.silent.add(host)
        await say(life, host, True)
        await asyncio.sleep(dice.random() * 0.3)
        await regain(life, host)
        await asyncio.sleep(dice.random() * 0.1)


async def all_back(life: Life) -> None:
    for host in await down(life):
        await regain(life, host)


async def examine(life: Life) -> None:
    """Every accepted request is accounted for; each server is on one host, with its guest, and on no other."""
    await all_back(life)
    await compare(life)
    places = {row[0]: row[1] for row in await life.db.all("SELECT id, host FROM servers WHERE removed_at IS NULL")}
    guests = [(guest.id, agent.host) for agent in life.control.agents for guest in await agent._hypervisors[0].observe()]
    assert sorted(guests) == sorted(places.items())
    async with asyncio.timeout(20):
        while await life.db.all("SELECT name FROM hosts WHERE fenced_at IS NOT NULL OR fence_error IS NOT NULL"):
            life.engine.scan_soon()
            await asyncio.sleep(0.01)


def test_whatever_was_accepted_is_there_on_one_host_after_many_kills_and_losses(state: Path) -> None:
    dice = random.Random(SEED)
    kills = 0
    for number in itertools.count():
        fuse, seed = dice.randint(1, FARTHEST), dice.random()

        async def script(life: Life, fuse: int = fuse, seed: float = seed, number: int = number) -> None:
            life.points.fuse, life.points.armed = fuse, True
            life.engine.workers = 16
            clients = [Customer(life, letter, random.Random(f"{seed}{letter}")) for letter in "abcdefgh"[:CLIENTS]]
            await asyncio.gather(operate(life, random.Random(f"{seed}operator")), *(client.work() for client in clients))
            if number % 5 == 4:
                await examine(life)

        kills += live(state, script, hosts=HOSTS, settings=BY_POLICY) == KILLED
        if kills >= KILLS:
            break

    async def last(life: Life) -> None:
        await examine(life)
        counted = await life.db.all("SELECT status, count(*) FROM server_migrations WHERE kind = 'evacuation' GROUP BY status")
        assert dict(counted).get("done", 0) >= KILLS, f"too few servers have started elsewhere: {counted}"

    try:
        live(state, last, hosts=HOSTS, settings=BY_POLICY)
    except AssertionError as error:
        raise AssertionError(f"with seed {SEED}: {error}") from None
