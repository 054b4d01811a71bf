"""Each invariant names what was broken, and a whole world has no breach."""

from typing import Any

import msgspec
import pytest

from pileus.core.servers import derive
from pileus.core.verify import INVARIANTS, World, WorldMove, WorldPort, breaches
from pileus.model.guests import ObservedGuest, ObservedPower, Power
from pileus.model.servers import Server, ServerFlavor

SERVER = derive(
    Server(
        id="s1", project_id="p", user_id="u", name="hello", hostname="hello", host="h1", vcpus=1, memory_mib=128, generation=1,
        flavor=ServerFlavor(id="1", name="m1.nano", vcpus=1, ram=128, disk=1), launched_at=1.0,
        observed=ObservedGuest(id="s1", power=ObservedPower.RUNNING, generation=1, pid=7),
    )
)  # fmt: skip
PORT = WorldPort(id="port1", network_id="n1", device_id="s1", device_owner="compute:nova", host="h1", addresses=[("sub1", "10.0.0.5")])
WHOLE = World(
    host="h1", servers=[SERVER], settled=frozenset({"s1"}), ports=[PORT], networks=frozenset({"n1"}), subnets=frozenset({"sub1"}),
    floating=[("172.24.4.9", "port1")], allocations={"s1": {"rp1": {"VCPU": 1, "MEMORY_MB": 128}}},
    provider_used={"rp1": {"VCPU": 1, "MEMORY_MB": 128}}, provider_capacity={"rp1": {"VCPU": 8, "MEMORY_MB": 1024}},
    provider_of_host={"h1": "rp1"}, image_contents={"aa": [("i1", 10)]}, image_files={"aa": 10},
    guests=[ObservedGuest(id="s1", power=ObservedPower.RUNNING, pid=7)], guest_directories=["s1"], processes={"s1": [7]},
    taps={"n1": ["port1"]}, namespaces=["n1"], domains={"n1": ["port1"]},
)  # fmt: skip
STOPPED = derive(msgspec.structs.replace(SERVER, power=Power.STOPPED))
SECOND_PORT = msgspec.structs.replace(PORT, id="port2", device_owner="")

BROKEN: dict[str, dict[str, Any]] = {
    "running_servers_run": {"guests": [ObservedGuest(id="s1", power=ObservedPower.CRASHED)]},
    "stopped_servers_do_not_run": {"servers": [STOPPED]},
    "guests_have_servers": {"guest_directories": ["s1", "stranger"]},
    "guests_run_once": {"processes": {"s1": [7, 8]}},
    "guests_run_on_one_host": {"running_on": {"s1": ["h1", "h2"]}},
    "fenced_hosts_run_nothing": {"fenced": frozenset({"h1"})},
    "evacuated_servers_are_elsewhere": {"moves": [WorldMove(id="m1", server_id="s1", hosts=["h1", "h2"], evacuation=True, left=True)]},
    "processes_have_guests": {"processes": {"s1": [7], "ghost": [9]}},
    "disks_are_whole": {"broken_disks": ["s1/root: 3 errors"]},
    "servers_have_allocations": {"provider_of_host": {"h1": "rp2"}},
    "allocations_have_consumers": {"allocations": {**WHOLE.allocations, "gone": {"rp1": {}}}},
    "usage_is_the_sum": {"provider_used": {"rp1": {"VCPU": 2, "MEMORY_MB": 128}}},
    "usage_fits": {"provider_capacity": {"rp1": {"VCPU": 8, "MEMORY_MB": 64}}},
    "ports_have_servers": {"ports": [PORT, msgspec.structs.replace(PORT, id="port2", device_id="gone", addresses=[])]},
    "ports_follow_servers": {"ports": [msgspec.structs.replace(PORT, host="h2")]},
    "addresses_are_unique": {"ports": [PORT, SECOND_PORT]},
    "ports_have_networks": {"subnets": frozenset[str]()},
    "floating_ips_have_ports": {"floating": [("172.24.4.9", "gone")]},
    "images_have_content": {"image_files": {"aa": 9}},
    "contents_have_images": {"image_files": {"aa": 10, "bb": 1}},
    "namespaces_are_wanted": {"namespaces": ["n1", "gone"]},
    "wanted_namespaces_exist": {"namespaces": []},
    "taps_have_ports": {"taps": {"n1": ["port1", "gone"]}},
    "states_follow": {"servers": [msgspec.structs.replace(SERVER, task_state="rebooting")]},
}


def test_a_whole_world_has_no_breach() -> None:
    assert breaches(WHOLE) == []


@pytest.mark.parametrize("name", [one.name for one in INVARIANTS])
def test_breaking_what_an_invariant_says_is_named_by_it(name: str) -> None:
    found = breaches(msgspec.structs.replace(WHOLE, **BROKEN[name]))
    assert name in [breach for breach, _ in found]
    assert all(evidence for _, evidence in found)


def test_a_server_on_its_way_may_differ_from_its_guest() -> None:
    world = msgspec.structs.replace(WHOLE, settled=frozenset[str](), guests=[])
    assert breaches(world) == []


def test_a_guest_that_is_sent_has_a_process_on_both_hosts() -> None:
    move = WorldMove(id="m1", server_id="s1", hosts=["h2", "h1"])
    assert breaches(msgspec.structs.replace(WHOLE, running_on={"s1": ["h1", "h2"]}, moves=[move])) == []
    evacuation = msgspec.structs.replace(move, evacuation=True)
    world = msgspec.structs.replace(WHOLE, running_on={"s1": ["h1", "h2"]}, moves=[evacuation])
    assert [name for name, _ in breaches(world)] == ["guests_run_on_one_host"]
    third = msgspec.structs.replace(WHOLE, running_on={"s1": ["h1", "h2", "h3"]}, moves=[move])
    assert [name for name, _ in breaches(third)] == ["guests_run_on_one_host"]


def test_a_fenced_host_that_is_another_one_says_nothing_here() -> None:
    assert breaches(msgspec.structs.replace(WHOLE, fenced=frozenset({"h2"}))) == []


def test_what_a_move_that_is_over_holds_is_named() -> None:
    held = {**WHOLE.allocations, "m1": {"rp1": {"VCPU": 1}}}
    world = msgspec.structs.replace(WHOLE, allocations=held, provider_used={"rp1": {"VCPU": 2, "MEMORY_MB": 128}})
    assert [name for name, _ in breaches(world)] == ["allocations_have_consumers"]
    alive = WorldMove(id="m1", server_id="s1", hosts=["h1", "h2"], left=True)
    assert breaches(msgspec.structs.replace(world, moves=[alive])) == []


def test_ports_of_a_server_on_its_way_may_differ() -> None:
    ports = [msgspec.structs.replace(PORT, host="h2")]
    move = WorldMove(id="m1", server_id="s1", hosts=["h1", "h2"])
    assert breaches(msgspec.structs.replace(WHOLE, ports=ports, moves=[move])) == []
