"""Gratuitous ARP: tell the neighbours where a router's or floating address is now."""

import contextlib
import fcntl
import socket
import struct
from ipaddress import IPv4Address

ETH_P_ARP, SIOCGIFHWADDR = 0x0806, 0x8927
BROADCAST = b"\xff" * 6


def addresses(wanted: list[tuple[str, str]]) -> None:
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
