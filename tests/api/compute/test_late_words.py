"""Words on a routing domain that reach their host late, or after the managers' clock was set back: a host has what was read last."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pileus.model.messages import ApplyDomain, NodeReply, NodeRequest
from pileus.model.routing import RoutingDomain
from tests.api.compute.moving import Moving, pause
from tests.api.harness import TestCloud

AHEAD = 3_600_000_000


@pytest.fixture
def moving(cloud: TestCloud) -> Iterator[Moving]:
    """One host."""
    made = Moving(cloud, hosts=1)
    yield made
    made.close()


def domains(moving: Moving) -> dict[str, RoutingDomain]:
    network: Any = moving.agents["h1"]._network
    found: dict[str, RoutingDomain] = network.domains
    return found


def has(moving: Moving, server: str) -> bool:
    """Whether the host has the server's port."""
    return any(port.guest_id == server and port.local for domain in domains(moving).values() for port in domain.ports)


def test_a_word_that_was_read_before_a_server_was_made_does_not_take_its_port_away(moving: Moving) -> None:
    bus, held, arrived = moving.cloud.bus, asyncio.Event(), list[ApplyDomain]()
    request = bus.request

    async def slowly(host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        if isinstance(message, ApplyDomain) and not arrived:
            arrived.append(message)
            await held.wait()
        return await request(host, message, timeout)

    first = moving.placed("first")
    bus.request = slowly  # type: ignore[method-assign]
    (port,) = moving.cloud.run(moving.cloud.db.all("SELECT id FROM ports WHERE device_id = ?", first))
    answer = moving.cloud.call("PUT", f"/network/v2.0/ports/{port[0]}", "member", {"port": {"admin_state_up": False}})
    assert answer.status == 200, answer
    moving.until(lambda: arrived, "the host is being told of the change")
    second = moving.placed("second")
    assert has(moving, second)

    async def arrive() -> None:
        held.set()
        await pause()

    moving.cloud.run(arrive())
    assert has(moving, second), "the older word counted"
    moving.until(moving.engine.idle, "it is idle")
    assert has(moving, first) and has(moving, second)


def test_a_host_that_was_told_by_a_clock_that_was_ahead_is_told_all_the_same(moving: Moving) -> None:
    """As after a clock was set back, or by managers that start from a copy of the records on another machine."""
    first = moving.placed("first")
    known = domains(moving)
    known.update({id: msgspec.structs.replace(one, read_at=one.read_at + AHEAD) for id, one in known.items()})
    second = moving.placed("second")
    assert has(moving, first) and has(moving, second)
    known.update({id: msgspec.structs.replace(one, read_at=one.read_at + AHEAD) for id, one in known.items()})
    assert moving.call("DELETE", f"/servers/{first}").status == 204
    moving.until(lambda: not has(moving, first), "its port goes")
    assert has(moving, second)
    assert moving.call("DELETE", f"/servers/{second}").status == 204
    moving.until(lambda: not has(moving, second), "the last one's, too")
