"""Every invariant names what breaks it and nothing else does, in a world that is whole but for that."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pileus.core.servers import derive
from pileus.core.verify import INVARIANTS, HeldLease, Taken, World, breaches, examine
from pileus.core.verify.references import REFERENCES
from pileus.model.actions import Action, ActionEvent
from pileus.model.census import FoundDisk
from pileus.model.guests import ObservedGuest, ObservedPower, Power
from pileus.model.image_stores import ImageLocation
from pileus.model.images import ImageStatus
from pileus.model.migrations import MigrationKind, MigrationStatus, MigrationStep
from pileus.model.networks import Network
from pileus.model.placement import Consumer, Inventory
from pileus.model.ports import DHCP, FLOATING_IP, ROUTER_INTERFACE
from pileus.model.security_groups import SecurityGroup
from pileus.model.servers import Resize, ResizeStep, ServerFault
from pileus.model.subnets import Pool
from tests.unit.core.verify.whole import (
    EXTERNAL,
    NETWORK,
    NOW,
    PORTS,
    SERVER,
    SUBNET,
    WHOLE,
    but,
    changed,
    host,
    image,
    move,
    port,
    provider,
    seen,
)

Break = Callable[[], World]
ACTION = Action(id="act1", server_id="s1", request_id="req-1", action="stop", started_at=1.0, updated_at=1.0)
OPEN = ActionEvent(id="e1", action_id="act1", event="compute_stop_instance", started_at=1.0)


def server(**changes: Any) -> World:
    """The server's row otherwise, with what follows from it."""
    return but(servers=[derive(msgspec.structs.replace(SERVER, **changes))])


def stored(**changes: Any) -> World:
    """The server's row otherwise, with nothing that follows from it."""
    return but(servers=[msgspec.structs.replace(SERVER, **changes)])


def ports(id: str, **changes: Any) -> World:
    """A port's row otherwise, with the record of its addresses and groups."""
    rows = changed(PORTS, id, **changes)
    taken = [
        Taken(subnet_id=one.subnet_id, ip_address=one.ip_address, port_id=held.id, place=None) for held in rows for one in held.fixed_ips
    ]
    return but(ports=rows, taken=taken, cursors={})


def with_port(extra: Any) -> World:
    """One more port, with the record of its addresses."""
    taken = [Taken(subnet_id=one.subnet_id, ip_address=one.ip_address, port_id=extra.id, place=100) for one in extra.fixed_ips]
    return but(ports=[*PORTS, extra], taken=[*WHOLE.taken, *taken])


def providers(id: str, **changes: Any) -> World:
    """A provider otherwise."""
    return but(providers=changed(WHOLE.providers, id, **changes))


def held(consumer: str, resources: dict[str, int], **changes: Any) -> World:
    """Something else holds this of the second host's provider, which counts it."""
    return but(
        allocations={**WHOLE.allocations, consumer: {"rp-h2": resources}},
        consumers=[*WHOLE.consumers, Consumer(id=consumer, project_id="p1", user_id="u1")],
        providers=changed(WHOLE.providers, "rp-h2", used=resources),
        **changes,
    )


def fixed(*addresses: tuple[str, str]) -> Any:
    """Addresses of a port."""
    return port("none", "n1", 99, *addresses).fixed_ips


BROKEN: dict[str, Break] = {
    # guests
    "running_servers_run": lambda: but(views=seen(guests=[ObservedGuest(id="s1", power=ObservedPower.CRASHED)], processes={})),
    "stopped_servers_do_not_run": lambda: server(
        power=Power.STOPPED, observed=ObservedGuest(id="s1", power=ObservedPower.STOPPED, generation=1)
    ),
    "guests_have_servers": lambda: but(views=seen(guest_directories=["s1", "stranger"])),
    "guests_run_once": lambda: but(views=seen(processes={"s1": [7, 8]})),
    "guests_run_on_one_host": lambda: but(
        views=[*seen(), *seen(host="h2", guests=[], taps={}, namespaces=[], domains={})], moves=[move(kind=MigrationKind.EVACUATION)]
    ),
    "fenced_hosts_run_nothing": lambda: but(fenced=frozenset({"h1"})),
    "processes_have_guests": lambda: but(views=seen(processes={"s1": [7], "ghost": [9]})),
    "disks_are_whole": lambda: but(views=seen(broken_disks=["s1/root: 3 errors"])),
    "guests_have_their_disks": lambda: but(views=seen(disks=[])),
    "disks_have_their_bases": lambda: but(
        views=seen(disks=[FoundDisk(guest="s1", name="root", size=1 << 30, backing="gone", backed=False)])
    ),
    "disks_are_as_large_as_flavors": lambda: but(views=seen(disks=[FoundDisk(guest="s1", name="root", size=512)])),
    "hosts_can_be_looked_at": lambda: but(unseen=["host h2: it does not answer"]),
    # servers
    "states_follow": lambda: stored(task_state="rebooting"),
    "next_steps_follow": lambda: stored(next_step="apply"),
    "errors_have_causes": lambda: server(fault=ServerFault(code=500, message=" ", created_at=1.0)),
    "sizes_are_the_flavors": lambda: stored(memory_mib=64),
    "placed_servers_have_hosts": lambda: but(
        hosts=[host("h2", 2)], aggregates=[], providers=changed(WHOLE.providers, "rp-h1", aggregates=[])
    ),
    "zones_are_the_hosts": lambda: stored(availability_zone="elsewhere"),
    "launched_servers_were_placed": lambda: but(
        servers=[derive(msgspec.structs.replace(SERVER, host=None))],
        settled=frozenset[str](),
        views=[],
    ),
    "newest_actions_end": lambda: but(open_events=[(ACTION, OPEN)]),
    "ended_steps_have_results": lambda: but(odd_events=[msgspec.structs.replace(OPEN, result="Success")]),
    "failed_steps_say_why": lambda: but(odd_events=[msgspec.structs.replace(OPEN, result="Error", finished_at=2.0)]),
    # migrations
    "servers_migrations_are_alive": lambda: server(migration="m1"),
    "resizes_have_migrations": lambda: server(resize=Resize(step=ResizeStep.APPLY, old=SERVER.flavor, new=SERVER.flavor, migration="m1")),
    "moves_have_their_servers": lambda: but(moves=[move(step=MigrationStep.SEND)]),
    "moves_have_hosts": lambda: but(moves=[move(source="h9")]),
    "evacuated_servers_are_elsewhere": lambda: but(moves=[move(kind=MigrationKind.EVACUATION, source="h1", destination="h2")]),
    "ended_moves_say_how": lambda: but(moves=[move(step=MigrationStep.DONE, status=MigrationStatus.RUNNING)]),
    "failed_moves_say_why": lambda: but(moves=[move(step=MigrationStep.DONE, status=MigrationStatus.ERROR)]),
    "ended_moves_keep_no_keys": lambda: but(moves=[move(step=MigrationStep.DONE, keys="sealed")]),
    "confirmations_are_in_time": lambda: but(moves=[move(kind=MigrationKind.RESIZE, step=MigrationStep.VERIFY, due_at=1.0)]),
    "ports_move_with_servers": lambda: ports("port1", migrating_to="h2"),
    # Placement
    "servers_have_allocations": lambda: but(
        allocations={"s1": {"rp-h2": {"VCPU": 1, "MEMORY_MB": 128}}},
        providers=[provider("h1", aggregates=["a1"]), provider("h2", used={"VCPU": 1, "MEMORY_MB": 128})],
    ),
    "allocations_have_consumers": lambda: held("gone", {"VCPU": 1}),
    "ended_moves_hold_nothing": lambda: held("m1", {"VCPU": 1}, moves=[move(step=MigrationStep.DONE)]),
    "usage_is_the_sum": lambda: providers("rp-h1", used={"VCPU": 2, "MEMORY_MB": 128}),
    "usage_fits": lambda: providers("rp-h1", inventories={"VCPU": Inventory(total=8), "MEMORY_MB": Inventory(total=64)}),
    "hosts_have_providers": lambda: but(providers=WHOLE.providers[:1]),
    "provider_trees_hang_together": lambda: providers("rp-h2", parent_id="gone"),
    "provider_trees_have_no_cycle": lambda: providers("rp-h2", parent_id="rp-h2"),
    "allocations_are_of_providers": lambda: but(
        allocations={**WHOLE.allocations, "other": {"gone": {"VCPU": 1}}},
        consumers=[*WHOLE.consumers, Consumer(id="other", project_id="p1", user_id="u1")],
    ),
    "allocations_are_positive": lambda: but(
        allocations={**WHOLE.allocations, "other": {"rp-x": {}}},
        consumers=[*WHOLE.consumers, Consumer(id="other", project_id="p1", user_id="u1")],
        providers=[*WHOLE.providers, provider("x")],
    ),
    "consumers_hold_something": lambda: but(consumers=[*WHOLE.consumers, Consumer(id="idle", project_id="p1", user_id="u1")]),
    "holders_are_consumers": lambda: but(consumers=[]),
    "consumers_are_their_servers_projects": lambda: but(consumers=[Consumer(id="s1", project_id="p2", user_id="u1")]),
    "inventories_are_sound": lambda: providers("rp-h2", inventories={"VCPU": Inventory(total=8, reserved=9)}),
    "traits_are_known": lambda: providers("rp-h2", traits=["CUSTOM_NEW"]),
    "resource_classes_are_known": lambda: providers("rp-h2", inventories={"CUSTOM_NEW": Inventory(total=8)}),
    "epoch_is_the_newest": lambda: but(epoch=2),
    # hosts
    "reports_are_the_hosts": lambda: but(hosts=changed(WHOLE.hosts, "rp-h2", report=host("h3", 3).report)),
    "heartbeats_are_past": lambda: but(hosts=changed(WHOLE.hosts, "rp-h2", seen_at=NOW + 3600)),
    "host_numbers_are_unique": lambda: but(hosts=changed(WHOLE.hosts, "rp-h2", number=1)),
    "aggregates_have_hosts": lambda: but(aggregates=changed(WHOLE.aggregates, "a1", hosts=["h1", "gone"])),
    "aggregates_are_in_placement": lambda: but(aggregates=changed(WHOLE.aggregates, "a1", hosts=["h1", "h2"])),
    "host_zones_follow": lambda: but(hosts=changed(WHOLE.hosts, "rp-h2", availability_zone="elsewhere")),
    "clusters_are_led": lambda: but(
        leases=[HeldLease(name="cluster/default", holder="m/1", left=-999.0), HeldLease(name="placement", holder="m/2", left=1.0)]
    ),
    "limits_are_sound": lambda: but(quota_limits=[("p1", "dreams", 5)]),
    # networks
    "segments_are_unique": lambda: but(networks=[NETWORK, EXTERNAL, Network(id="n2", project_id="p1", segmentation_id=1)]),
    "networks_have_segments": lambda: but(networks=[NETWORK, EXTERNAL, Network(id="n2", project_id="p1")]),
    "subnets_have_networks": lambda: but(
        subnets=[
            *WHOLE.subnets,
            msgspec.structs.replace(SUBNET, id="sub2", network_id="gone", cidr="10.0.9.0/24", allocation_pools=[], gateway_ip=None),
        ]
    ),
    "pools_lie_in_their_subnets": lambda: but(
        subnets=changed(WHOLE.subnets, "subext", allocation_pools=[Pool(start="172.24.4.2", end="172.24.5.9")])
    ),
    "pools_do_not_overlap": lambda: but(
        subnets=changed(
            WHOLE.subnets,
            "subext",
            allocation_pools=[Pool(start="172.24.4.2", end="172.24.4.9"), Pool(start="172.24.4.9", end="172.24.4.20")],
        )
    ),
    "gateways_are_not_handed_out": lambda: but(subnets=changed(WHOLE.subnets, "subext", gateway_ip="172.24.4.50")),
    "subnets_do_not_overlap": lambda: but(
        subnets=[*WHOLE.subnets, msgspec.structs.replace(SUBNET, id="sub2", cidr="10.0.0.128/25", subnetpool_id=None, allocation_pools=[])]
    ),
    "subnets_lie_in_their_pools": lambda: but(subnet_pools=[msgspec.structs.replace(WHOLE.subnet_pools[0], prefixes=["10.1.0.0/16"])]),
    "shares_of_pools_do_not_overlap": lambda: but(
        networks=[NETWORK, EXTERNAL, Network(id="n2", project_id="p1", segmentation_id=2)],
        subnets=[*WHOLE.subnets, msgspec.structs.replace(SUBNET, id="sub2", network_id="n2", enable_dhcp=False)],
    ),
    "cursors_pass_over_nothing_free": lambda: but(cursors={"sub1": 4}),
    "dhcp_has_ports": lambda: with_port(port("dhcp2", "n1", 50, ("sub1", "10.0.0.100"), device_owner=DHCP)),
    "grants_are_of_networks": lambda: but(rbac_policies=changed(WHOLE.rbac_policies, "rbac1", object_id="gone")),
    "tags_are_indexed": lambda: but(network_tags=[("n1", "blue"), ("gone", "red")]),
    # ports
    "ports_have_servers": lambda: with_port(port("port2", "n1", 50, ("sub1", "10.0.0.100"), device_id="gone", device_owner="compute:nova")),
    "ports_follow_servers": lambda: ports("port1", host="h2"),
    "ports_have_networks": lambda: with_port(port("port2", "gone", 50)),
    "addresses_have_subnets": lambda: with_port(port("port2", "n1", 50, ("gone", "10.0.0.100"))),
    "addresses_lie_in_their_subnets": lambda: with_port(port("port2", "n1", 50, ("sub1", "10.9.0.100"))),
    "addresses_are_unique": lambda: but(ports=[*PORTS, port("port2", "n1", 50, ("sub1", "10.0.0.5"))]),
    "addresses_are_taken": lambda: but(taken=WHOLE.taken[1:]),
    "taken_addresses_are_used": lambda: but(
        taken=[*WHOLE.taken, Taken(subnet_id="sub1", ip_address="10.0.0.77", port_id="port1", place=77)]
    ),
    "hardware_addresses_are_unique": lambda: with_port(port("port2", "n1", 1, ("sub1", "10.0.0.100"))),
    "security_groups_of_ports_exist": lambda: with_port(port("port2", "n1", 50, security_groups=["gone"])),
    "memberships_follow_ports": lambda: but(memberships=[]),
    "rules_have_groups": lambda: but(rules=changed(WHOLE.rules, "rule1", remote_group_id="gone")),
    "projects_have_one_default_group": lambda: but(
        security_groups=[*WHOLE.security_groups, SecurityGroup(id="sg2", project_id="p1", name="default", is_default=True)]
    ),
    "namespaces_are_wanted": lambda: but(views=seen(namespaces=["n1", "gone"])),
    "wanted_namespaces_exist": lambda: but(views=seen(namespaces=[])),
    "namespaces_are_filtered": lambda: but(views=seen(unfiltered=["n1"])),
    "guests_are_given_their_addresses": lambda: but(views=seen(addresses={"n1": {}})),
    "nobody_else_is_given_addresses": lambda: but(views=seen(addresses={"n1": {"10.0.0.5": "fa:16:3e:00:00:01", "10.0.0.66": "x"}})),
    "taps_have_ports": lambda: but(views=seen(taps={"n1": ["port1", "gone"]})),
    # routers
    "routers_have_their_gateways": lambda: but(
        routers=changed(WHOLE.routers, "r1", gateway_network_id="n1"), floating_ips=[], ports=PORTS[:4], taken=WHOLE.taken[:4]
    ),
    "gateway_addresses_agree": lambda: but(routers=changed(WHOLE.routers, "r1", gateway_ips=[])),
    "legs_have_routers": lambda: with_port(port("leg2", "n1", 50, ("sub1", "10.0.0.100"), device_id="gone", device_owner=ROUTER_INTERFACE)),
    "legs_have_addresses": lambda: with_port(port("leg2", "n1", 50, device_id="r1", device_owner=ROUTER_INTERFACE)),
    "floating_ips_have_ports": lambda: but(floating_ips=changed(WHOLE.floating_ips, "f1", port_id="gone")),
    "floating_ips_stand_for_addresses": lambda: but(floating_ips=changed(WHOLE.floating_ips, "f1", fixed_ip_address="10.0.0.6")),
    "floating_ips_hold_their_addresses": lambda: but(floating_ips=changed(WHOLE.floating_ips, "f1", floating_ip_address="172.24.4.10")),
    "floating_ports_have_floating_ips": lambda: with_port(port("out2", "ext", 50, device_id="f2", device_owner=FLOATING_IP)),
    "floating_networks_are_external": lambda: but(networks=[NETWORK, msgspec.structs.replace(EXTERNAL, external=False)]),
    "floating_ips_are_reached": lambda: but(floating_ips=changed(WHOLE.floating_ips, "f1", router_id="gone")),
    # images
    "images_have_content": lambda: but(image_files={("local", "a" * 64): 9}),
    "contents_have_images": lambda: but(image_files={("local", "a" * 64): 10, ("local", "b" * 64): 1}),
    "active_images_are_described": lambda: but(images=changed(WHOLE.images, "i2", upload="w1")),
    "waiting_images_have_no_content": lambda: but(images=changed(WHOLE.images, "i2", status=ImageStatus.QUEUED)),
    "contents_lie_in_stores": lambda: but(images=changed(WHOLE.images, "i2", content=None, locations=[ImageLocation(url="http://a")])),
    "writes_are_named": lambda: but(images=[*WHOLE.images, image("i3", status=ImageStatus.SAVING, content=None, stores=[])]),
    "hashes_are_well_formed": lambda: but(images=[image("i1", checksum="no")], image_tags=[], image_properties=[]),
    "equal_contents_agree": lambda: but(images=changed(WHOLE.images, "i2", checksum="3" * 32)),
    "images_are_indexed": lambda: but(image_tags=[]),
    "imports_end": lambda: but(image_tasks=changed(WHOLE.image_tasks, "it1", expires_at=None)),
    # identity
    "projects_have_parents": lambda: but(projects=changed(WHOLE.projects, "p2", parent_id="gone")),
    "projects_have_no_cycle": lambda: but(projects=changed(WHOLE.projects, "p2", parent_id="p2")),
    "users_have_domains": lambda: but(users=changed(WHOLE.users, "u2", domain_id="gone")),
    "groups_have_domains": lambda: but(groups=changed(WHOLE.groups, "g1", domain_id="gone")),
    "roles_have_domains": lambda: but(roles=changed(WHOLE.roles, "own", domain_id="gone")),
    "default_projects_are_no_domains": lambda: but(users=changed(WHOLE.users, "u2", default_project_id="default")),
    "roles_imply_no_cycle": lambda: but(implied_roles=[*WHOLE.implied_roles, ("member", "admin")]),
    "trusts_hang_together": lambda: but(trusts=changed(WHOLE.trusts, "t2", redelegated_trust_id="gone")),
    "application_credentials_give_known_roles": lambda: but(
        application_credentials=changed(WHOLE.application_credentials, "ac1", role_ids=["gone"])
    ),
    "application_credentials_have_their_rules": lambda: but(access_rules=frozenset[str]()),
    "regions_have_no_cycle": lambda: but(regions={"RegionOne": "Below", "Below": "RegionOne"}),
    # references: that the store finds these rows is proven in tests/store/test_world.py
    **{
        one.name: lambda one=one: but(dangling={one.name: [(tuple(f"k{column}" for column in one.key), "gone")]})  # type: ignore[misc]
        for one in REFERENCES
    },
}


def test_a_whole_world_has_no_breach() -> None:
    assert breaches(WHOLE) == []


def test_images_of_one_content_may_show_hashes_of_different_algorithms() -> None:
    right = changed(WHOLE.images, "i2", os_hash_algo="sha256", os_hash_value="a" * 64)
    wrong = changed(WHOLE.images, "i2", os_hash_algo="sha256", os_hash_value="b" * 64)
    assert breaches(but(images=right)) == []
    assert {one.name for one in examine(but(images=wrong))} == {"equal_contents_agree"}


def test_there_are_at_least_sixty_and_each_is_proven() -> None:
    names = [one.name for one in INVARIANTS]
    assert len(names) == len(set(names)) >= 60
    assert set(names) == BROKEN.keys()


@pytest.mark.parametrize("name", [one.name for one in INVARIANTS])
def test_breaking_what_an_invariant_says_is_named_by_it_and_by_no_other(name: str) -> None:
    found = examine(BROKEN[name]())
    assert {breach.name for breach in found} == {name}
    assert all(breach.evidence and breach.sentence for breach in found)


@pytest.mark.parametrize("name", [one.name for one in INVARIANTS if not one.repairable])
def test_what_is_not_called_repairable_offers_no_repair(name: str) -> None:
    assert [breach.repair for breach in examine(BROKEN[name]()) if breach.repair] == []


@pytest.mark.parametrize("one", INVARIANTS, ids=lambda one: one.name)
def test_an_invariant_is_a_name_and_a_whole_sentence(one: Any) -> None:
    assert one.name.replace("_", "").isalpha() and one.name == one.name.lower()
    assert one.sentence[0].isupper() and one.sentence.endswith(".")
