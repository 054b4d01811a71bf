"""Operations in which a host is lost, its server starts elsewhere, and the host comes back, for the crash tests."""

from typing import Any

from tests.faults.incarnation import Life
from tests.faults.operations import MOVED_LIVE, SERVERS, Operation, act, history, move_live, running, server_id

HOST = "OS-EXT-SRV-ATTR:host"
SERVICES = "/compute/v2.1/os-services"
BY_POLICY: dict[str, Any] = {"evacuate": "all", "fencing": {"*": "command:none"}}
SLOWLY: dict[str, Any] = {"evacuate": "none", "move_bandwidth": 48 << 20}
"""Bytes a second, so that a move takes two seconds."""
BY_HAND: dict[str, Any] = {"evacuate": "none", "fencing": {"*": "command:none"}}


async def say(life: Life, host: str, forced_down: bool) -> None:
    """What the operator says of a host."""
    found = (await life.get(f"{SERVICES}?host={host}&binary=nova-compute"))["services"][0]["id"]
    await life.do("PUT", f"{SERVICES}/{found}", {"forced_down": forced_down}, who="admin")


async def down(life: Life) -> list[str]:
    """The hosts that are said to be lost."""
    return [one["host"] for one in (await life.get(SERVICES))["services"] if one["forced_down"]]


async def server_host(life: Life) -> str:
    """Where the server is."""
    return str((await life.get(f"{SERVERS}/{await server_id(life)}"))["server"][HOST])


async def lose(life: Life) -> str:
    """The server's host answers nothing any more, and its operator says so."""
    host = await server_host(life)
    life.silent.add(host)
    await say(life, host, True)
    return host


async def regain(life: Life, host: str) -> None:
    """It reports and answers again, and its operator says so."""
    life.silent.discard(host)
    await next(agent for agent in life.control.agents if agent.host == host)._report_all()
    life.engine.retry()  # as when a host comes
    await say(life, host, False)


async def lost_for_a_while(life: Life) -> None:
    host = await lose(life)
    await life.settled()
    await regain(life, host)


async def lost_and_evacuated(life: Life) -> None:
    host = await lose(life)
    await act(life, "evacuate", {}, who="admin")
    await life.settled()
    await regain(life, host)


async def lost_while_moving(life: Life) -> None:
    await move_live(life)
    host = await lose(life)
    await life.settled()
    await regain(life, host)


async def lost_as_it_sends(life: Life) -> None:
    """The source answers nothing any more before it has sent all; nothing starts elsewhere by itself."""

    def sends() -> bool:
        states = [state for agent in life.control.agents for state in agent._hypervisors[0]._states.values()]
        return any(state.move and not state.move.incoming for state in states)

    waits, life.each_step_twice = life.each_step_twice, False  # for the end of each request
    await move_live(life)
    life.each_step_twice = waits
    await life.until(sends, "it is being sent")
    host = await lose(life)
    await life.settled()
    await regain(life, host)


async def refuge(life: Life) -> str:
    """As `history`. One host owns the server: its guest is there; a copy elsewhere is on a host that is switched off."""
    told, host = await history(life), await server_host(life)
    kept = {agent.host: guest for agent in life.control.agents for guest in await agent._hypervisors[0].observe()}
    assert kept.pop(host).power == ("stopped" if told.startswith("SHUTOFF") else "running"), (told, host, kept)
    assert set(kept) <= set(await down(life)), (told, host, kept)
    ports = (await life.get(f"/network/v2.0/ports?device_id={await server_id(life)}"))["ports"]
    assert [one["binding:host_id"] for one in ports] == [host], ports
    return told


BEGUN = "ACTIVE after create Success"
STARTED = "ACTIVE after evacuate Success"
STOPPED = "SHUTOFF after evacuate Success"
LOSSES = [
    Operation("a host is lost for a while", running, lost_for_a_while, refuge, [BEGUN, STARTED, STARTED], BY_POLICY),
    Operation("evacuation as asked for", running, lost_and_evacuated, refuge, [BEGUN, BEGUN, STOPPED, STOPPED], BY_HAND),
    Operation("a host is lost while its server moves", running, lost_while_moving, refuge,
              [BEGUN, MOVED_LIVE, f"{STARTED}|{MOVED_LIVE}", f"{STARTED}|{MOVED_LIVE}"], BY_POLICY),
    Operation("the source of a move is lost for a while", running, lost_as_it_sends, refuge,
              [BEGUN, MOVED_LIVE, MOVED_LIVE, MOVED_LIVE], SLOWLY),
]  # fmt: skip
