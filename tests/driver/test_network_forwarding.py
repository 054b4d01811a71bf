"""Forwarding and neighbour entries in the kernel: as planned, whatever was there, and only what differs is written."""

import json
import subprocess
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pileus.core.network_plan import DomainPlan, LinkPlan
from pileus.core.network_vxlan import FLOOD, Entry, Neighbour
from pileus.node.network import forwarding, namespaces
from pileus.node.network.links import Links
from tests.driver.network_domains import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"networks need {missing()}")
DEVICES = [
    LinkPlan(name="brnet", kind="bridge", mac="02:00:00:00:00:01"),
    LinkPlan(name="vxnet", kind="vxlan", master="brnet", vni=7, local="192.0.2.1", suppress=True),
]


def mac(number: int) -> str:
    return f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}"


def plan(ports: int, at: Callable[[int], str] = lambda number: f"192.0.2.{2 + number % 3}") -> DomainPlan:
    """Ports on three other hosts."""
    flood = [Entry(device="vxnet", mac=FLOOD, remote=f"192.0.2.{number}") for number in (2, 3, 4)]
    entries = [Entry(device="vxnet", mac=mac(number), remote=at(number)) for number in range(ports)]
    neighbours = [
        Neighbour(device="brnet", address=f"10.0.{1 + number // 250}.{1 + number % 250}", mac=mac(number)) for number in range(ports)
    ]
    return DomainPlan(links=DEVICES, addresses=[], routes=[], rules=[], announce=[], forwarding=flood + entries, neighbours=neighbours)


def prepared() -> None:
    with Links() as links:
        links.netlink.link("add", ifname="vxnet", kind="vxlan", vxlan_id=7, vxlan_local="192.0.2.1", vxlan_port=4789, vxlan_learning=False)
        links.refresh()
        links.converge(replace(plan(0), neighbours=[]), 0)


def shown() -> tuple[set[tuple[str, str]], set[str], set[tuple[str, str]]]:
    """What the kernel has: (MAC, remote), MACs that the bridge sends to the device, (address, MAC)."""

    def ask(*command: str) -> list[dict[str, str]]:
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    found = ask("bridge", "-j", "fdb", "show", "dev", "vxnet")
    neighbours = {(one["dst"], one["lladdr"]) for one in ask("ip", "-j", "neigh", "show", "dev", "brnet", "nud", "permanent")}
    static = {one["mac"] for one in found if "master" in one and one.get("state") != "permanent"}
    return {(one["mac"], one["dst"]) for one in found if "dst" in one}, static, neighbours


def expected(wanted: DomainPlan) -> tuple[set[tuple[str, str]], set[str], set[tuple[str, str]]]:
    return (
        {(one.mac, one.remote) for one in wanted.forwarding},
        {one.mac for one in wanted.forwarding if one.mac != FLOOD},
        {(one.address, one.mac) for one in wanted.neighbours},
    )


def test_entries_follow_the_plan_and_a_move_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[forwarding.Message] = []
    write = forwarding._write  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(forwarding, "_write", lambda netlink, messages: (written.extend(messages), write(netlink, messages)))

    def body() -> None:
        prepared()
        for wanted in (plan(5), plan(3), plan(0), plan(4)):
            forwarding.converge(wanted)
            assert shown() == expected(wanted)
        written.clear()
        forwarding.converge(plan(4))
        assert written == [], "nothing differs"
        moved = plan(4, lambda number: "192.0.2.4" if number == 0 else f"192.0.2.{2 + number % 3}")
        forwarding.converge(moved)
        assert len(written) == 1 and shown() == expected(moved)

    namespaces.throwaway(body)


def test_a_thousand_ports_take_a_moment_and_a_move_among_them_no_time() -> None:
    def body() -> tuple[float, float]:
        prepared()
        began = time.monotonic()
        forwarding.converge(plan(1000))
        all_written = time.monotonic()
        moved = plan(1000, lambda number: f"192.0.2.{2 + (number % 3 if number else 2)}")
        forwarding.converge(moved)
        one_moved = time.monotonic()
        assert shown() == expected(moved)
        return all_written - began, one_moved - all_written

    first, second = namespaces.throwaway(body)
    print(f"1,000 ports: {first * 1000:.0f} ms; one moved: {second * 1000:.0f} ms")
    assert first < 3 and second < 0.5
