"""Hosts that go wrong as a plan says: what an outcome depends on, and what is lost with a host."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.guests import Guest, ObservedGuest, ObservedPower, Power
from pileus.model.messages import ApplyGuest, Done, NodeReply, NodeRequest, RemoveGuest
from pileus.simulation.bus import FaultyBus, operation_of
from pileus.simulation.dice import Dice
from pileus.simulation.plan import FaultPlan, Operation, Operations

HALF = FaultPlan(operations=Operations(build=Operation(fails=0.5, error="No disk."), delete=Operation(fails=0.5)))


def guest(name: str, generation: int = 1, power: Power = Power.RUNNING, **more: Any) -> Guest:
    return Guest(
        id=f"id of {name}", name=name, project_id="p", user_id="u", generation=generation, power=power, vcpus=1, memory_mib=64, **more
    )


def seen(power: ObservedPower, generation: int = 1, **more: Any) -> ObservedGuest:
    return ObservedGuest(id="id", power=power, generation=generation, **more)


async def obey(request: NodeRequest) -> NodeReply:
    return Done()


def bus_of(plan: FaultPlan, seed: int = 1) -> FaultyBus:
    bus = FaultyBus(plan, Dice(seed))
    bus.attach("h1", obey)
    return bus


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def outcome(bus: FaultyBus, request: NodeRequest) -> str:
    try:
        await bus.request("h1", request)
    except NodeFailed as error:
        return error.message
    return ""


def test_the_same_seed_gives_the_same_outcomes_in_any_order() -> None:
    names = [f"s{number}" for number in range(40)]

    async def of(order: list[str], seed: int) -> dict[str, str]:
        bus = bus_of(HALF, seed)
        return {name: await outcome(bus, ApplyGuest(guest=guest(name))) for name in order}

    first = run(of(names, 1))
    assert set(first.values()) == {"", "No disk."}
    assert run(of(names[::-1], 1)) == first
    assert run(of(names, 2)) != first


def test_what_is_asked_again_has_the_same_outcome_and_the_next_generation_another() -> None:
    async def script() -> None:
        bus = bus_of(HALF)
        for name in ("a", "b", "c", "d"):
            request = ApplyGuest(guest=guest(name))
            assert await outcome(bus, request) == await outcome(bus, request)
        found = [await outcome(bus, ApplyGuest(guest=guest("a", generation=number))) for number in range(30)]
        assert len(set(found)) == 2

    run(script())


def test_a_delete_is_drawn_anew_each_time_so_that_it_ends() -> None:
    async def script() -> None:
        bus = bus_of(HALF)
        found = [await outcome(bus, RemoveGuest(guest_id="id")) for _ in range(30)]
        assert "" in found and len(set(found)) == 2

    run(script())


def test_what_a_host_was_doing_is_lost_with_it() -> None:
    async def script() -> None:
        bus = bus_of(FaultPlan(operations=Operations(build=Operation(takes=0.05))))
        asked = asyncio.ensure_future(bus.request("h1", ApplyGuest(guest=guest("a"))))
        await asyncio.sleep(0)
        bus.away.add("h1")
        bus.lives["h1"] += 1
        bus.away.discard("h1")  # it is back before that was done
        with pytest.raises(Unavailable, match="was lost before it answered"):
            await asked
        bus.away.add("h1")
        with pytest.raises(Unavailable, match="is not connected"):
            await bus.request("h1", RemoveGuest(guest_id="id"))

    run(script())


@pytest.mark.parametrize(
    ("wanted", "known", "operation"),
    [
        (guest("a"), None, "build"),
        (guest("a", builds=2), seen(ObservedPower.RUNNING), "rebuild"),
        (guest("a", reboots_hard=1), seen(ObservedPower.RUNNING), "reboot"),
        (guest("a"), seen(ObservedPower.STOPPED), "start"),
        (guest("a"), seen(ObservedPower.PAUSED), "unpause"),
        (guest("a"), seen(ObservedPower.SUSPENDED), "resume"),
        (guest("a"), seen(ObservedPower.RUNNING), "change"),
        (guest("a", power=Power.STOPPED), seen(ObservedPower.RUNNING), "stop"),
        (guest("a", power=Power.PAUSED), seen(ObservedPower.RUNNING), "pause"),
        (guest("a", power=Power.SUSPENDED), seen(ObservedPower.RUNNING), "suspend"),
    ],
)
def test_an_operation_is_told_by_what_was_seen(wanted: Guest, known: ObservedGuest | None, operation: str) -> None:
    assert operation_of(wanted, known) == operation
