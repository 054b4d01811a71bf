"""Clients work at random while the control plane is killed at random; at the end every request that was accepted is accounted for.

PILEUS_KILLS says how often (30), PILEUS_SEED how the dice fall: a failure names its seed.
"""

import asyncio
import itertools
import os
import random
from pathlib import Path

from tests.faults.clients import CLIENTS, Client, compare
from tests.faults.incarnation import KILLED, Life, live

KILLS = int(os.environ.get("PILEUS_KILLS", "30"))
SEED = int(os.environ.get("PILEUS_SEED", "1"))
FARTHEST = 90


def test_whatever_was_accepted_is_there_after_many_kills(state: Path) -> None:
    dice = random.Random(SEED)
    kills = 0
    for number in itertools.count():
        fuse, seed = dice.randint(1, FARTHEST), dice.random()

        async def script(life: Life, fuse: int = fuse, seed: float = seed, number: int = number) -> None:
            life.points.fuse, life.points.armed = fuse, True
            life.engine.workers = 16
            clients = [Client(life, letter, random.Random(f"{seed}{letter}")) for letter in "abcdefgh"[:CLIENTS]]
            await asyncio.gather(*(client.work() for client in clients))
            if number % 5 == 4:
                await compare(life)

        kills += live(state, script) == KILLED
        if kills >= KILLS:
            break
    try:
        live(state, compare)
    except AssertionError as error:
        raise AssertionError(f"with seed {SEED}: {error}") from None
