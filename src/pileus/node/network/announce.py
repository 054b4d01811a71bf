"""Gratuitous ARP: tell the neighbours where a router's or floating address is now.

It is said again after a while: the host that had the address before may have sent something since, by which switches find it there.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address

from pileus.model.errors import NodeFailed
from pileus.node.network import namespaces

Wanted = list[tuple[str, str]]
"""(device, IPv4 address)"""
AGAIN = (1.0, 4.0)  # seconds after what was said before
ETH_P_ARP, SIOCGIFHWADDR = 0x0806, 0x8927
BROADCAST = b"\xff" * 6


class Announcer:
    """Says what is new in each domain, and says it again while it holds."""

    def __init__(self) -> None:
        self._new: dict[str, Wanted] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def say(self, domain_id: str, wanted: Wanted) -> None:
        """Announce, in the namespace of the calling thread."""
        addresses(wanted)
        self._new[domain_id] = wanted

    def repeat(self, domain_id: str, namespace: str, current: Callable[[], Wanted]) -> None:
        """Have what was said last said again, as far as it is among the `current` addresses then."""
        if wanted := self._new.pop(domain_id, []):
            self.stop(domain_id)
            task = self._tasks[domain_id] = asyncio.create_task(self._repeat(namespace, wanted, current))
            task.add_done_callback(lambda done: self._tasks.get(domain_id) is done and self._tasks.pop(domain_id))

    def stop(self, *domain_ids: str) -> None:
        """Say nothing more of these domains; without any, of all."""
        for domain_id in domain_ids or list(self._tasks):
            if task := self._tasks.pop(domain_id, None):
                task.cancel()

    async def _repeat(self, namespace: str, wanted: Wanted, current: Callable[[], Wanted]) -> None:
        for pause in AGAIN:
            await asyncio.sleep(pause)
            held = [one for one in current() if one in wanted]
            with contextlib.suppress(NodeFailed, OSError):  # the domain is gone
                await asyncio.to_thread(namespaces.inside, namespace, lambda held=held: addresses(held))


def addresses(wanted: Wanted) -> None:
    """Announce each (device, IPv4 address), as a request and as a reply, in the namespace of the calling thread."""
    if not wanted:
        return
    # Protocol 0 and no bind: a socket that hears nothing costs the kernel no waiting when it is closed.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        for device, address in wanted:
            with contextlib.suppress(OSError):  # a device that is down has nobody to tell
                mac = fcntl.ioctl(raw, SIOCGIFHWADDR, struct.pack("256s", device.encode()))[18:24]
                for operation, target in ((1, bytes(6)), (2, BROADCAST)):
                    raw.sendto(frame(mac, address, operation, target), (device, ETH_P_ARP))


def frame(mac: bytes, address: str, operation: int, target: bytes) -> bytes:
    """An ARP frame in which sender and target address are the same."""
    packed = IPv4Address(address).packed
    header = BROADCAST + mac + struct.pack("!H", ETH_P_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + packed + target + packed
