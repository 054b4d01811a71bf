"""The agent of the host to which a server is evacuated is killed before each thing that it does, and that of the lost host when it is back.

As in test_node_kill_points_of_moves: the lost host is fenced (nothing of it runs), the other one starts the guest, from the disks that both
see or from its image, and the lost one forgets it when it is back. The guest runs once, whatever was killed, and `verify` finds nothing.
"""

import os
import signal
import time

import pytest
from msgspec.structs import replace

from pileus.model.messages import ApplyGuest, Done, GuestReply, RemoveGuest
from tests.driver import network_domains as domains
from tests.faults.node_life import Node
from tests.faults.node_state import breaches, wrong_with
from tests.faults.test_node_kill_points_of_moves import Pair, at_each_step, pair, place, sharing  # noqa: F401 fixtures

pytestmark = pytest.mark.skipif(bool(domains.missing()), reason=f"missing: {domains.missing()}")

OFF_WITHIN = 20.0


def fence(node: Node) -> None:
    """Its power is off: what ran there is gone, and nobody has noted that."""
    for pids in node.census().processes.values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + OFF_WITHIN
    while running := node.census().processes:
        assert time.monotonic() < deadline, running
        time.sleep(0.01)


def evacuated(pair: Pair) -> None:  # noqa: F811
    """The guest starts on the other host; then the lost one is back, and the two are the other way round."""
    fence(pair.source)
    anew = 0 if pair.source.shared else 1  # its disks are lost with its host
    pair.guest = replace(pair.guest, generation=pair.guest.generation + 1, builds=pair.guest.builds + anew)
    reply = pair.ask(pair.destination, ApplyGuest(guest=pair.guest, domains=[pair.domain]))
    assert isinstance(reply, GuestReply) and reply.guest.error is None, reply
    assert (reply.guest.power.value, reply.guest.builds) == (pair.guest.power.value, pair.guest.builds)
    assert wrong_with(pair.destination, pair.guest, pair.domain) == []
    assert isinstance(pair.ask(pair.source, RemoveGuest(guest_id=pair.guest.id)), Done)
    assert wrong_with(pair.source, None, pair.domain) == []
    assert breaches([(pair.source, None, pair.domain), (pair.destination, pair.guest, pair.domain)]) == []
    pair.source, pair.destination = pair.destination, pair.source


@pytest.mark.parametrize("verb", [ApplyGuest, RemoveGuest])
def test_from_the_disks_that_both_hosts_see(sharing: Pair, verb: type) -> None:  # noqa: F811
    sharing.boot()
    at_each_step(sharing, verb, evacuated, len(verb.__name__))


@pytest.mark.parametrize("verb", [ApplyGuest, RemoveGuest])
def test_from_the_image_where_the_disks_are_lost(pair: Pair, verb: type) -> None:  # noqa: F811
    pair.boot()
    at_each_step(pair, verb, evacuated, len(verb.__name__))
