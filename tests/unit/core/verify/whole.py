"""A small world in which everything is well: one server on one host of two, with all that belongs to it."""

from typing import Any

import msgspec

from pileus.core.servers import derive
from pileus.core.verify import HeldLease, Taken, View, World
from pileus.model.aggregates import Aggregate
from pileus.model.application_credentials import ApplicationCredential
from pileus.model.census import FoundDisk
from pileus.model.floating_ips import FloatingIp
from pileus.model.groups import Group
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.hosts import Host, HostReport
from pileus.model.images import Image, ImageStatus, ImageTask
from pileus.model.migrations import Migration, MigrationKind, MigrationStatus, MigrationStep
from pileus.model.networks import Network, RbacPolicy
from pileus.model.placement import Consumer, Inventory, Provider
from pileus.model.ports import DHCP, FLOATING_IP, ROUTER_GATEWAY, ROUTER_INTERFACE, FixedIp, Port
from pileus.model.projects import Project
from pileus.model.roles import Role
from pileus.model.routers import Router
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.model.servers import Server, ServerFlavor
from pileus.model.subnet_pools import SubnetPool
from pileus.model.subnets import Pool, Subnet
from pileus.model.trusts import Trust
from pileus.model.users import User

NOW = 1_000_000.0
FLAVOR = ServerFlavor(id="1", name="m1.nano", vcpus=1, ram=128, disk=1)
SERVER = derive(
    Server(
        id="s1", project_id="p1", user_id="u1", name="hello", hostname="hello", host="h1", availability_zone="nova", vcpus=1,
        memory_mib=128, generation=1, flavor=FLAVOR, launched_at=1.0, request_id="req-1",
        observed=ObservedGuest(id="s1", power=ObservedPower.RUNNING, generation=1, pid=7, hypervisor="qemu"),
    )
)  # fmt: skip
RUNS = ObservedGuest(id="s1", power=ObservedPower.RUNNING, pid=7)


def host(name: str, number: int) -> Host:
    """A host of the default cluster; its provider is called `rp-` and its name."""
    report = HostReport(
        host=name, address="10.1.0.1", version="1", started_at=1.0, reported_at=NOW - 1, vcpus=8, memory_mib=1024, disk_gib=100
    )
    return Host(id=f"rp-{name}", name=name, number=number, service_id=f"service-{number}", seen_at=NOW - 1, report=report)


def provider(name: str, **changes: Any) -> Provider:
    """The provider of a host, which gives nothing."""
    stock = {"VCPU": Inventory(total=8), "MEMORY_MB": Inventory(total=1024)}
    whole = Provider(id=f"rp-{name}", name=name, root_id=f"rp-{name}", inventories=stock, traits=["HW_CPU_X86_VMX"], changed=3)
    return msgspec.structs.replace(whole, **changes)


def port(id: str, network: str, mac: int, *addresses: tuple[str, str], **rest: Any) -> Port:
    """A port with (subnet, address) pairs."""
    fixed = [FixedIp(subnet_id=subnet, ip_address=address) for subnet, address in addresses]
    return Port(id=id, project_id="p1", network_id=network, mac_address=f"fa:16:3e:00:00:{mac:02x}", fixed_ips=fixed, **rest)


def image(id: str, **changes: Any) -> Image:
    """An active image of 10 bytes."""
    whole = Image(
        id=id, owner="p1", status=ImageStatus.ACTIVE, size=10, checksum="1" * 32, os_hash_algo="sha512", os_hash_value="2" * 128,
        content="a" * 64, stores=["local"],
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def move(id: str = "m1", **changes: Any) -> Migration:
    """A live migration of the server from its host to the other one, which is over but for what it left at the source."""
    whole = Migration(
        id=id, number=1, server_id="s1", kind=MigrationKind.LIVE, source="h2", destination="h1", status=MigrationStatus.COMPLETED,
        step=MigrationStep.CLEAN,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


SERVER_PORT = port("port1", "n1", 1, ("sub1", "10.0.0.5"), device_id="s1", device_owner="compute:nova", host="h1", security_groups=["sg1"])
LEG = port("leg", "n1", 2, ("sub1", "10.0.0.1"), device_id="r1", device_owner=ROUTER_INTERFACE)
SERVES = port("dhcp", "n1", 3, ("sub1", "10.0.0.2"), device_id="dhcp", device_owner=DHCP)
GATEWAY = port("gateway", "ext", 4, ("subext", "172.24.4.2"), device_id="r1", device_owner=ROUTER_GATEWAY)
OUTSIDE = port("outside", "ext", 5, ("subext", "172.24.4.9"), device_id="f1", device_owner=FLOATING_IP)
PORTS = [SERVER_PORT, LEG, SERVES, GATEWAY, OUTSIDE]
SUBNET = Subnet(
    id="sub1", project_id="p1", network_id="n1", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1", subnetpool_id="pool1",
    allocation_pools=[Pool(start="10.0.0.2", end="10.0.0.254")],
)  # fmt: skip
EXTERNAL_SUBNET = Subnet(
    id="subext", project_id="p1", network_id="ext", cidr="172.24.4.0/24", ip_version=4, gateway_ip="172.24.4.1", enable_dhcp=False,
    allocation_pools=[Pool(start="172.24.4.2", end="172.24.4.254")],
)  # fmt: skip
NETWORK = Network(id="n1", project_id="p1", segmentation_id=1, tags=["blue"])
EXTERNAL = Network(id="ext", project_id="p1", external=True, network_type="flat", physical_network="public")
ROUTER = Router(id="r1", project_id="p1", gateway_network_id="ext", gateway_port_id="gateway", gateway_ips=GATEWAY.fixed_ips)
FLOATING = FloatingIp(
    id="f1", project_id="p1", floating_network_id="ext", floating_ip_address="172.24.4.9", external_port_id="outside", port_id="port1",
    fixed_ip_address="10.0.0.5", router_id="r1",
)  # fmt: skip
TRUST = Trust(id="t1", trustor_user_id="u1", trustee_user_id="u2", project_id="p1", impersonation=True, role_ids=["member"])
CREDENTIAL = ApplicationCredential(
    id="ac1", name="ci", user_id="u1", project_id="p1", secret_hash="", role_ids=["member"], access_rule_ids=["ar1"]
)
VIEW = View(
    host="h1", guests=[RUNS], guest_directories=["s1"], processes={"s1": [7]}, taps={"n1": ["port1"]}, namespaces=["n1"],
    domains={"n1": ["port1"]}, disks=[FoundDisk(guest="s1", name="root", size=1 << 30, backing="../../base/aa")],
    addresses={"n1": {"10.0.0.5": "fa:16:3e:00:00:01"}}, served={"n1": {"10.0.0.5": "fa:16:3e:00:00:01"}}, local={"n1": ["10.0.0.5"]},
)  # fmt: skip
WHOLE = World(
    now=NOW,
    views=[VIEW],
    servers=[SERVER],
    settled=frozenset({"s1"}),
    hosts=[host("h1", 1), host("h2", 2)],
    aggregates=[Aggregate(id="a1", number=1, name="fast", hosts=["h1"])],
    leases=[HeldLease(name="cluster/default", holder="m/1", left=2.0)],
    providers=[provider("h1", used={"VCPU": 1, "MEMORY_MB": 128}, aggregates=["a1"]), provider("h2")],
    consumers=[Consumer(id="s1", project_id="p1", user_id="u1", consumer_type="INSTANCE")],
    allocations={"s1": {"rp-h1": {"VCPU": 1, "MEMORY_MB": 128}}},
    epoch=3,
    networks=[NETWORK, EXTERNAL],
    subnets=[SUBNET, EXTERNAL_SUBNET],
    subnet_pools=[
        SubnetPool(
            id="pool1",
            project_id="p1",
            name="ours",
            prefixes=["10.0.0.0/8"],
            ip_version=4,
            default_prefixlen=24,
            min_prefixlen=8,
            max_prefixlen=32,
        )
    ],
    rbac_policies=[RbacPolicy(id="rbac1", project_id="p1", object_id="n1", target_project="p2", action="access_as_shared")],
    ports=PORTS,
    taken=[
        Taken(subnet_id=one.subnet_id, ip_address=one.ip_address, port_id=held.id, place=int(one.ip_address.split(".")[3]))
        for held in PORTS
        for one in held.fixed_ips
    ],
    cursors={"sub1": 3},
    routers=[ROUTER],
    floating_ips=[FLOATING],
    security_groups=[SecurityGroup(id="sg1", project_id="p1", name="default", is_default=True)],
    rules=[SecurityGroupRule(id="rule1", project_id="p1", security_group_id="sg1", direction="ingress", remote_group_id="sg1")],
    memberships=[("port1", "sg1")],
    network_tags=[("n1", "blue")],
    images=[image("i1", tags=["gold"], properties={"os": "debian"}), image("i2")],
    image_tags=[("i1", "gold")],
    image_properties=[("i1", "os", "debian")],
    image_tasks=[ImageTask(id="it1", image_id="i1", owner="p1", user_id="u1", request_id="r", status="success", expires_at=NOW + 1)],
    image_files={("local", "a" * 64): 10},
    projects=[
        Project(id="default", name="Default", is_domain=True),
        Project(id="p1", name="demo", domain_id="default", parent_id="default"),
        Project(id="p2", name="below", domain_id="default", parent_id="p1"),
    ],
    users=[User(id="u1", name="alice", domain_id="default", default_project_id="p1"), User(id="u2", name="bob", domain_id="default")],
    groups=[Group(id="g1", name="all", domain_id="default")],
    roles=[Role(id="admin", name="admin"), Role(id="member", name="member"), Role(id="own", name="own", domain_id="default")],
    implied_roles=[("admin", "member"), ("own", "member")],
    trusts=[TRUST, msgspec.structs.replace(TRUST, id="t2", redelegated_trust_id="t1")],
    application_credentials=[CREDENTIAL],
    access_rules=frozenset({"ar1"}),
    regions={"RegionOne": None, "Below": "RegionOne"},
    quota_limits=[("p1", "instances", 5), ("", "cores", -1)],
    countables=frozenset({"instances", "cores"}),
)


def but(**changes: Any) -> World:
    """The whole world with some fields otherwise."""
    return msgspec.structs.replace(WHOLE, **changes)


def changed(rows: list[Any], id: str, **changes: Any) -> list[Any]:
    """Rows with one of them otherwise."""
    assert any(one.id == id for one in rows)
    return [msgspec.structs.replace(one, **changes) if one.id == id else one for one in rows]


def seen(**changes: Any) -> list[View]:
    """The host's view, otherwise."""
    return [msgspec.structs.replace(VIEW, **changes)]
