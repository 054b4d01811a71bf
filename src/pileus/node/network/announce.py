"""Gratuitous ARP: tell the neighbours where a router's or floating address is now."""

import contextlib
import socket
import struct
from ipaddress import IPv4Address

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6


def addresses(wanted: list[tuple[str, str]]) -> None:
    """Announce each (device, IPv4 address), as a request and as a reply, in the namespace of the calling thread."""
    for device, address in wanted:
        # A device that is down has nobody to tell.
        with contextlib.suppress(OSError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind((device, ETH_P_ARP))
            mac = raw.getsockname()[4]
            for operation, target in ((1, bytes(6)), (2, BROADCAST)):
                raw.send(frame(mac, address, operation, target))


def frame(mac: bytes, address: str, operation: int, target: bytes) -> bytes:
    """An ARP frame in which sender and target address are the same."""
    packed = IPv4Address(address).packed
    header = BROADCAST + mac + struct.pack("!H", ETH_P_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + packed + target + packed
