"""Forget tracked connections, by netlink, in the namespace of the calling thread; so that removed rules end what they had let in."""

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

from pileus.core.network_changes import Outdated, outdated
from pileus.model.errors import NodeFailed

__all__ = ["available", "forget", "outdated"]

NETLINK_NETFILTER = 12
GET, DELETE = 0x0101, 0x0102  # the conntrack subsystem's messages
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
TUPLE_ORIGINAL, TUPLE_REPLY, ZONE = 1, 2, 18
TUPLE_IP = 1
TYPE_MASK = 0x3FFF  # without the flags for nested and network order


def forget(what: Outdated) -> None:
    """Delete entries of the bridges' zone (0) from or to the filtered addresses, and any entry of the translated ones."""
    if not what.filtered and not what.translated:
        return
    filtered = {ip_address(address).packed for address in what.filtered}
    translated = {ip_address(address).packed for address in what.translated}
    with _open() as netlink:
        entries = list(_entries(netlink))
        for family, attributes in entries:
            zone = attributes.get(ZONE, b"")
            addresses = set(_addresses(attributes.get(TUPLE_ORIGINAL, b""))) | set(_addresses(attributes.get(TUPLE_REPLY, b"")))
            if (addresses & filtered and not any(zone)) or addresses & translated:
                _delete(netlink, family, attributes)


def available() -> str:
    """Why entries can't be read here; empty when they can."""
    try:
        with _open() as netlink:
            list(_entries(netlink))
    except (OSError, NodeFailed) as failure:
        return str(failure)
    return ""


def _open() -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    netlink.settimeout(5.0)
    netlink.bind((0, 0))
    return netlink


def _send(netlink: socket.socket, kind: int, flags: int, family: int, payload: bytes) -> None:
    body = struct.pack("=BBH", family, 0, 0) + payload
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0) + body)


def _entries(netlink: socket.socket) -> Iterator[tuple[int, dict[int, bytes]]]:
    """All entries: address family and top-level attributes."""
    _send(netlink, GET, DUMP, socket.AF_UNSPEC, b"")
    while True:
        data = netlink.recv(1 << 20)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == DONE:
                return
            if kind == ERROR:
                raise NodeFailed("The kernel does not list tracked connections (nf_conntrack_netlink is missing).")
            yield data[16], _attributes(data[20:length])
            data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & TYPE_MASK] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _addresses(tuple_data: bytes) -> list[bytes]:
    return list(_attributes(_attributes(tuple_data).get(TUPLE_IP, b"")).values())


def _delete(netlink: socket.socket, family: int, attributes: dict[int, bytes]) -> None:
    payload = b""
    for kind, flag in ((TUPLE_ORIGINAL, 0x8000), (ZONE, 0)):
        if kind in attributes:
            value = attributes[kind]
            payload += struct.pack("=HH", 4 + len(value), kind | flag) + value + b"\0" * (-len(value) % 4)
    _send(netlink, DELETE, ACK, family, payload)
    netlink.recv(65536)  # an entry that ended by itself meanwhile is as good
