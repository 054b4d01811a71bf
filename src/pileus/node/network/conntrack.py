"""Tracked connections, by netlink, in the namespace of the calling thread: forgotten, so that removed rules end what they had let in, or
carried to another host with the guest that has them."""

import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address

from pileus.core.network_changes import Outdated, outdated
from pileus.model.errors import NodeFailed

__all__ = ["available", "connections", "forget", "outdated", "restore"]

NETLINK_NETFILTER = 12
NEW, GET, DELETE = 0x0100, 0x0101, 0x0102  # the conntrack subsystem's messages
REQUEST, ACK, DUMP, CREATE = 0x1, 0x4, 0x300, 0x400
ERROR, DONE = 2, 3
TUPLE_ORIGINAL, TUPLE_REPLY, STATUS, PROTOCOL, TIMEOUT, ZONE = 1, 2, 3, 4, 7, 18
CARRIED = {TUPLE_ORIGINAL: 0x8000, TUPLE_REPLY: 0x8000, STATUS: 0, PROTOCOL: 0x8000, TIMEOUT: 0}  # with the flag for nested ones
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


def connections(addresses: Iterable[str]) -> list[str]:
    """The bridges' entries from or to these addresses, as text that `restore` takes."""
    wanted = {ip_address(address).packed for address in addresses}
    found: list[str] = []
    with _open() as netlink:
        for family, attributes in _entries(netlink, wanted):
            if _is_of(attributes, wanted):
                found.append((bytes([family]) + _encode(attributes)).hex())
    return found


def restore(entries: Iterable[str], addresses: Iterable[str]) -> int:
    """Make entries that another host had; returns how many. Those that are not of these addresses are passed over, as is what the kernel
    does not take: such a connection is judged anew."""
    wanted = {ip_address(address).packed for address in addresses}
    made = 0
    with _open() as netlink:
        for text in entries:
            data = bytes.fromhex(text)
            if not data or not _is_of(_attributes(data[1:]), wanted):
                continue
            _send(netlink, NEW, ACK | CREATE, data[0], _encode(_attributes(data[1:])))
            reply = netlink.recv(65536)
            made += struct.unpack_from("=i", reply, 16)[0] == 0
    return made


def _is_of(attributes: dict[int, bytes], addresses: set[bytes]) -> bool:
    """Whether an entry of the bridges' zone has one of the addresses, in both directions."""
    sides = [set(_addresses(attributes.get(side, b""))) for side in (TUPLE_ORIGINAL, TUPLE_REPLY)]
    return all(side & addresses for side in sides) and not any(attributes.get(ZONE, b""))


def _encode(attributes: dict[int, bytes]) -> bytes:
    data = b""
    for kind, flag in CARRIED.items():
        if kind in attributes:
            value = attributes[kind]
            data += struct.pack("=HH", 4 + len(value), kind | flag) + value + b"\0" * (-len(value) % 4)
    return data


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


def _entries(netlink: socket.socket, addresses: Collection[bytes] = (b"",)) -> Iterator[tuple[int, dict[int, bytes]]]:
    """All entries in which one of the addresses is found: address family and top-level attributes."""
    _send(netlink, GET, DUMP, socket.AF_UNSPEC, b"")
    while True:
        data, start = netlink.recv(1 << 16), 0
        while start < len(data):
            length, kind = struct.unpack_from("=IH", data, start)
            if kind == DONE:
                return
            if kind == ERROR:
                raise NodeFailed("The kernel does not list tracked connections (nf_conntrack_netlink is missing).")
            entry = data[start + 20 : start + length]
            if any(address in entry for address in addresses):
                yield data[start + 16], _attributes(entry)
            start += (length + 3) & ~3


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
