"""Tracked connections of a guest that moves: gathered where it was, tracked again where it comes to.

The guest is paused meanwhile, so both take a moment at most, and neither ever fails the move: a connection that is not carried is judged
anew by the rules, as if it had begun at that moment.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from pileus.model.errors import PileusError
from pileus.node.network.driver import NetworkDriver

MOST = 512 * 1024  # characters: some 1,500 connections, which fit a message of any bus
PATIENCE = 0.1  # seconds for all ports of a guest

log = logging.getLogger(__name__)


async def gathered(network: NetworkDriver, guest_id: str) -> dict[str, list[str]]:
    """Port -> the connections that are tracked of it here."""
    found: dict[str, list[str]] = {}
    room = MOST
    try:
        async with asyncio.timeout(PATIENCE):
            for port_id, (domain_id, addresses) in network.ports_of(guest_id).items():
                kept: list[str] = []
                for one in await network.connections(domain_id, addresses):
                    room -= len(one)
                    if room < 0:
                        log.warning("guest %s has more connections than are carried; the others are judged anew", guest_id)
                        return found | {port_id: kept}
                    kept.append(one)
                found[port_id] = kept
    except (PileusError, OSError) as error:  # also a TimeoutError
        log.warning("connections of guest %s are not carried: %s", guest_id, error or "there was no time for it")
    return found


async def tracked(network: NetworkDriver, guest_id: str, connections: Mapping[str, Sequence[str]]) -> int:
    """Track what another host gathered; how many connections that are."""
    made = 0
    if not any(connections.values()):
        return made
    try:
        async with asyncio.timeout(PATIENCE):
            for port_id, (domain_id, addresses) in network.ports_of(guest_id).items():
                if entries := connections.get(port_id):
                    made += await network.restore(domain_id, addresses, list(entries))
    except (PileusError, OSError, ValueError) as error:
        log.warning("connections of guest %s are judged anew: %s", guest_id, error or "there was no time for more")
    return made
