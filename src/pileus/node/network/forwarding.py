"""Forwarding and neighbour entries by netlink, in the namespace of the calling thread: what is there is read, what differs is written.

Messages are packed here and sent many at a time: a network has an entry for each of its ports, and a move has to be told at once.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

from pileus.core.network_plan import DomainPlan
from pileus.core.network_vxlan import FLOOD
from pileus.model.errors import NodeFailed

NEW, DELETE, GET = 28, 29, 30
REQUEST, ACK, DUMP, REPLACE, CREATE, APPEND = 0x1, 0x4, 0x300, 0x100, 0x400, 0x800
ERROR, DONE = 2, 3
DESTINATION, MAC, MASTER = 1, 2, 9
SELF_FLAG, MASTER_FLAG = 0x02, 0x04  # the entry is the device's, the bridge's
REACHABLE, NOARP, PERMANENT = 0x02, 0x40, 0x80
BATCH = 100
GONE = {errno.ENOENT, errno.ENODEV}

Message = tuple[int, int, int, int, int, int, bytes]
"""Type, flags of the message, family, device, state, flags of the entry, attributes."""


def converge(plan: DomainPlan) -> None:
    """Bring the entries of the plan's VXLAN devices and bridges to the plan; frames to what did not change pass all the time."""
    devices = {link.name: socket.if_nametoindex(link.name) for link in plan.links if link.kind == "vxlan"}
    bridges = {link.name: socket.if_nametoindex(link.name) for link in plan.links if link.kind == "bridge"}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(10.0)
        netlink.bind((0, 0))
        if devices:
            wanted = {(devices[one.device], _packed_mac(one.mac), ip_address(one.remote).packed) for one in plan.forwarding}
            _write(netlink, _forwarding(netlink, set(devices.values()), wanted))
        neighbours = {(bridges[one.device], ip_address(one.address).packed): _packed_mac(one.mac) for one in plan.neighbours}
        _write(netlink, _neighbours(netlink, set(bridges.values()), neighbours))


def _forwarding(netlink: socket.socket, devices: set[int], wanted: set[tuple[int, bytes, bytes]]) -> list[Message]:
    flood = _packed_mac(FLOOD)
    tunnels: set[tuple[int, bytes, bytes]] = set()
    bridged: set[tuple[int, bytes]] = set()
    for device, state, attributes in _entries(netlink, socket.AF_BRIDGE):
        if device in devices and MASTER in attributes and not state & PERMANENT:
            bridged.add((device, attributes[MAC]))
        elif device in devices and MASTER not in attributes and DESTINATION in attributes:
            tunnels.add((device, attributes[MAC], attributes[DESTINATION]))
    known = {(device, mac) for device, mac, _ in wanted if mac != flood}
    state = NOARP | REACHABLE  # for the bridge: stays until removed; for the device: the same, with a state that it takes
    messages: list[Message] = []
    for device, mac, remote in sorted(wanted - tunnels):
        attributes = _attribute(MAC, mac) + _attribute(DESTINATION, remote)
        messages.append((NEW, CREATE | (APPEND if mac == flood else REPLACE), socket.AF_BRIDGE, device, state, SELF_FLAG, attributes))
    for device, mac in sorted(known - bridged):
        messages.append((NEW, CREATE | REPLACE, socket.AF_BRIDGE, device, state, MASTER_FLAG, _attribute(MAC, mac)))
    for device, mac in sorted(bridged - known):
        messages.append((DELETE, 0, socket.AF_BRIDGE, device, 0, MASTER_FLAG, _attribute(MAC, mac)))
    for device, mac, remote in sorted(tunnels - wanted):
        if mac == flood or (device, mac) not in known:  # else it was replaced above
            attributes = _attribute(MAC, mac) + _attribute(DESTINATION, remote)
            messages.append((DELETE, 0, socket.AF_BRIDGE, device, 0, SELF_FLAG, attributes))
    return messages


def _neighbours(netlink: socket.socket, bridges: set[int], wanted: dict[tuple[int, bytes], bytes]) -> list[Message]:
    present = {
        (device, attributes[DESTINATION]): attributes.get(MAC, b"")
        for device, state, attributes in _entries(netlink, socket.AF_UNSPEC)
        if device in bridges and state & PERMANENT and DESTINATION in attributes
    }
    messages: list[Message] = []
    for (device, address), mac in sorted(wanted.items()):
        if present.get((device, address)) != mac:
            attributes = _attribute(DESTINATION, address) + _attribute(MAC, mac)
            messages.append((NEW, CREATE | REPLACE, _family(address), device, PERMANENT, 0, attributes))
    for device, address in sorted(present.keys() - wanted.keys()):
        messages.append((DELETE, 0, _family(address), device, 0, 0, _attribute(DESTINATION, address)))
    return messages


def _entries(netlink: socket.socket, family: int) -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """Device, state and attributes of each entry."""
    netlink.send(_encode((GET, DUMP, family, 0, 0, 0, b""), 1))
    while True:
        data = netlink.recv(1 << 20)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == DONE:
                return
            if kind == ERROR:
                raise NodeFailed("The kernel does not list forwarding entries.")
            device, state = struct.unpack_from("=iH", data, 20)
            yield device, state, _attributes(data[28:length])
            data = data[(length + 3) & ~3 :]


def _write(netlink: socket.socket, messages: list[Message]) -> None:
    for start in range(0, len(messages), BATCH):
        part = messages[start : start + BATCH]
        netlink.send(b"".join(_encode(message, start + number, ACK) for number, message in enumerate(part)))
        answered = 0
        while answered < len(part):
            data = netlink.recv(1 << 20)
            while data:
                length, kind, _, number = struct.unpack_from("=IHHI", data)
                if kind == ERROR:
                    answered += 1
                    _check(-struct.unpack_from("=i", data, 16)[0], messages[number])
                data = data[(length + 3) & ~3 :]


def _check(number: int, message: Message) -> None:
    if number and not (message[0] == DELETE and number in GONE):  # what is gone by itself is as good
        raise NodeFailed(f"A forwarding entry can't be written: {os.strerror(number)}")


def _encode(message: Message, number: int, more: int = 0) -> bytes:
    kind, flags, family, device, state, entry_flags, attributes = message
    body = struct.pack("=BBHiHBB", family, 0, 0, device, state, entry_flags, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags | more, number, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _packed_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6
