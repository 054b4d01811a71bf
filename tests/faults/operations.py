"""What users ask for, as scenarios of the crash tests: a beginning, requests one after another, and the stage that shows how far it got."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pileus.core.disk_headers import empty_qcow2
from tests.faults.incarnation import Life

SERVERS, NETWORK, IMAGES = "/compute/v2.1/servers", "/network/v2.0", "/image/v2/images"
CONTENT = empty_qcow2(1 << 20)

Script = Callable[[Life], Awaitable[None]]
Stage = Callable[[Life], Awaitable[str]]


class Operation(msgspec.Struct, frozen=True):
    """`stages[n]` is what `stage` says after n answered requests of `requests`. `settings`: of the cloud's configuration."""

    name: str
    begin: Script
    requests: Script
    stage: Stage
    stages: list[str]
    settings: dict[str, Any] = {}


# -- beginnings -----------------------------------------------------------------------------------------------------------------------


async def fill(life: Life) -> None:
    """Flavors, an image, a network, an external network."""
    for key, vcpus, ram in (("tiny", 1, 64), ("huge", 90, 64), ("large", 2, 512)):
        flavor = {"id": key, "name": key, "ram": ram, "vcpus": vcpus, "disk": 1}
        await life.do("POST", "/compute/v2.1/flavors", {"flavor": flavor}, who="admin")
    await image(life, "linux")
    await network(life, "private", "10.1.0.0/24")
    outside = {"name": "public", "router:external": True}
    found = await life.do("POST", f"{NETWORK}/networks", {"network": outside}, who="admin")
    await subnet(life, found["network"]["id"], "172.24.9.0/24", who="admin")
    await life.settled()


async def nothing(life: Life) -> None:
    """As it is filled."""


async def image(life: Life, name: str) -> str:
    made = await life.do("POST", IMAGES, {"name": name, "disk_format": "qcow2", "container_format": "bare"})
    await life.do("PUT", f"{IMAGES}/{made['id']}/file", content=CONTENT)
    return made["id"]


async def network(life: Life, name: str, cidr: str) -> str:
    made = await life.do("POST", f"{NETWORK}/networks", {"network": {"name": name}})
    await subnet(life, made["network"]["id"], cidr)
    return made["network"]["id"]


async def subnet(life: Life, network_id: str, cidr: str, who: str = "member") -> None:
    await life.do("POST", f"{NETWORK}/subnets", {"subnet": {"network_id": network_id, "cidr": cidr, "ip_version": 4}}, who=who)


async def named(life: Life, kind: str, name: str) -> list[dict[str, Any]]:
    """The network resources with a name."""
    plural = kind.replace("_", "-") + "s"
    return [one for one in (await life.get(f"{NETWORK}/{plural}"))[kind + "s"] if one["name"] == name]


async def one(life: Life, kind: str, name: str) -> str:
    found = await named(life, kind, name)
    assert len(found) == 1, f"{kind} {name}: {found}"
    return found[0]["id"]


async def image_ids(life: Life, name: str) -> list[dict[str, Any]]:
    return (await life.get(f"{IMAGES}?name={name}"))["images"]


async def create_server(life: Life, name: str = "one", flavor: str = "tiny", **fields: Any) -> None:
    linux = (await image_ids(life, "linux"))[0]["id"]
    networks = [{"uuid": await one(life, "network", "private")}]
    await life.do("POST", SERVERS, {"server": {"name": name, "imageRef": linux, "flavorRef": flavor, "networks": networks, **fields}})


async def servers(life: Life, name: str = "") -> list[dict[str, Any]]:
    found = (await life.get(f"{SERVERS}/detail?all_tenants=1"))["servers"]
    return [one for one in found if one["name"].startswith(name)]


async def server_id(life: Life, name: str = "one") -> str:
    found = await servers(life, name)
    assert len(found) == 1, found
    return found[0]["id"]


async def act(life: Life, action: str, value: Any = None, who: str = "member") -> Any:
    return await life.do("POST", f"{SERVERS}/{await server_id(life)}/action", {action: value}, who=who)


async def running(life: Life) -> None:
    await create_server(life)
    await life.settled()


def after(*actions: str) -> Script:
    async def begin(life: Life) -> None:
        await running(life)
        for action in actions:
            await act(life, action)
            await life.settled()

    return begin


def action(name: str, value: Any = None) -> Script:
    async def requests(life: Life) -> None:
        await act(life, name, value)

    return requests


# -- stages ---------------------------------------------------------------------------------------------------------------------------


async def status(life: Life) -> str:
    """The statuses of the servers; an ERROR without a reason is none."""
    found = await servers(life)
    for one in found:
        assert one["status"] != "ERROR" or one["fault"]["message"], one
        assert one["OS-EXT-STS:task_state"] is None, one
    return " ".join(sorted(one["status"] for one in found)) or "none"


async def history(life: Life) -> str:
    """The server's status and how its newest action ended: each accepted action has ended, and says how."""
    found = (await life.get(f"{SERVERS}/{await server_id(life)}/os-instance-actions"))["instanceActions"]
    newest = await life.get(f"{SERVERS}/{await server_id(life)}/os-instance-actions/{found[0]['request_id']}")
    events = newest["instanceAction"]["events"]
    assert events and all(event["finish_time"] and event["result"] for event in events), newest
    result = "Error" if any(event["result"] == "Error" for event in events) else "Success"
    return f"{await status(life)} after {found[0]['action']} {result}"


async def whereabouts(life: Life) -> str:
    """As `history`; but for a copy that waits to be taken back, the guest is on the server's host alone."""
    told = await history(life)
    host = (await life.get(f"{SERVERS}/{await server_id(life)}"))["server"]["OS-EXT-SRV-ATTR:host"]
    kept = {agent.host: guest for agent in life.control.agents for guest in await agent._hypervisors[0].observe()}
    assert kept.pop(host).power == ("stopped" if told.startswith("SHUTOFF") else "running"), kept
    assert not kept or (told.startswith("VERIFY_RESIZE") and [one.power for one in kept.values()] == ["stopped"]), (told, kept)
    assert life.engine.failing == {}
    return told


async def guest_counters(life: Life) -> str:
    """How often the guest was really rebooted and built, by its host's word."""
    found = [guest for agent in life.control.agents for guest in await agent._hypervisors[0].observe()]
    return " ".join(f"{guest.power} soft {guest.reboots_soft} hard {guest.reboots_hard} builds {guest.builds}" for guest in found)


async def guest_name(life: Life) -> str:
    """The name that the host knows the guest by."""
    return " ".join(guest.name for agent in life.control.agents for guest in agent._hypervisors[0].guests())


async def snapshots(life: Life) -> str:
    """The images called snap, and what lies about of them."""
    assert not list((life.directory / "images" / ".snapshots").glob("*")), "a snapshot's file is left"
    return " ".join([await status(life), *(one["status"] for one in await image_ids(life, "snap"))])


async def images(life: Life) -> str:
    return " ".join(one["status"] for one in await image_ids(life, "mine")) or "none"


async def topology(life: Life) -> str:
    """How much of the network `lab`, its subnet and port is there."""
    found = await named(life, "network", "lab")
    assert len(found) <= 1
    ports = await named(life, "port", "lab")
    subnets = found[0]["subnets"] if found else []
    return f"{len(found)} {len(subnets)} {len(ports)}"


async def routers(life: Life) -> str:
    """The router, its gateway and its interfaces; all that it has must work."""
    found = await named(life, "router", "lab")
    assert len(found) <= 1
    if not found:
        return "none"
    ports = (await life.get(f"{NETWORK}/ports?device_id={found[0]['id']}"))["ports"]
    assert all(port["status"] == "ACTIVE" for port in ports if port["device_owner"] == "network:router_interface"), ports
    inside = sum(port["device_owner"] == "network:router_interface" for port in ports)
    outside = sum(port["device_owner"] == "network:router_gateway" for port in ports)
    assert outside == bool(found[0]["external_gateway_info"])
    return f"inside {inside} outside {outside}"


async def floating(life: Life) -> str:
    found = (await life.get(f"{NETWORK}/floatingips"))["floatingips"]
    return " ".join("associated" if one["port_id"] else "free" for one in found) or "none"


async def rules(life: Life) -> str:
    """The security group's rules of our own, here and on the server's host."""
    found = (await life.get(f"{NETWORK}/security-group-rules"))["security_group_rules"]
    mine = sorted(one["port_range_min"] for one in found if one["protocol"] == "tcp")
    domains = [domain for agent in life.control.agents for domain in agent._network.domains.values()]
    inhabited = [domain for domain in domains if any(port.local for port in domain.ports)]
    assert len(inhabited) == 1
    told = sorted(rule.port_min for group in inhabited[0].security_groups for rule in group.rules if rule.protocol == "tcp")
    assert told == mine, (told, mine)
    return str(mine)


async def projects(life: Life) -> str:
    found = (await life.get("/identity/v3/projects?name=lab"))["projects"]
    assert len(found) <= 1
    if not found:
        return "none"
    given = (await life.get(f"/identity/v3/role_assignments?scope.project.id={found[0]['id']}"))["role_assignments"]
    return f"project, {len(given)} roles"


# -- requests -------------------------------------------------------------------------------------------------------------------------


async def create_several(life: Life) -> None:
    await create_server(life, min_count=3, max_count=3)


async def create_too_large(life: Life) -> None:
    await create_server(life, flavor="huge")


async def rename(life: Life) -> None:
    await life.do("PUT", f"{SERVERS}/{await server_id(life)}", {"server": {"name": "one-renamed"}})


async def rebuild(life: Life) -> None:
    await act(life, "rebuild", {"imageRef": (await image_ids(life, "linux"))[0]["id"]})


async def create_image(life: Life) -> None:
    await act(life, "createImage", {"name": "snap"})


async def move_live(life: Life) -> None:
    await act(life, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin")


async def move_and_delete(life: Life) -> None:
    await move_live(life)
    await delete(life)


async def narrow(life: Life) -> None:
    """A server whose host has no memory left."""
    await running(life)
    host = (await life.get(f"{SERVERS}/{await server_id(life)}"))["server"]["OS-EXT-SRV-ATTR:host"]
    provider = (await life.get(f"/placement/resource_providers?name={host}"))["resource_providers"][0]
    path = f"/placement/resource_providers/{provider['uuid']}/inventories/MEMORY_MB"
    stock = await life.get(path)
    await life.do("PUT", path, {**stock, "reserved": stock["total"] - 100}, who="admin")
    await life.settled()


def moved_off(name: str, value: Any, who: str, word: str) -> Script:
    """A move while the server is off, and the word about it."""

    async def requests(life: Life) -> None:
        await act(life, name, value, who=who)
        await life.settled()
        await act(life, word)

    return requests


async def delete(life: Life) -> None:
    await life.do("DELETE", f"{SERVERS}/{await server_id(life)}")


async def delete_while_building(life: Life) -> None:
    await create_server(life)
    await delete(life)


async def delete_while_copied(life: Life) -> None:
    await create_image(life)
    await delete(life)


async def upload(life: Life) -> None:
    await image(life, "mine")


async def remove_image(life: Life) -> None:
    await life.do("DELETE", f"{IMAGES}/{(await image_ids(life, 'mine'))[0]['id']}")


async def build_network(life: Life) -> None:
    network_id = await network(life, "lab", "10.9.0.0/24")
    await life.do("POST", f"{NETWORK}/ports", {"port": {"network_id": network_id, "name": "lab"}})


async def remove_network(life: Life) -> None:
    await life.do("DELETE", f"{NETWORK}/ports/{await one(life, 'port', 'lab')}")
    found = (await named(life, "network", "lab"))[0]
    await life.do("DELETE", f"{NETWORK}/subnets/{found['subnets'][0]}")
    await life.do("DELETE", f"{NETWORK}/networks/{found['id']}")


async def build_router(life: Life) -> None:
    made = await life.do("POST", f"{NETWORK}/routers", {"router": {"name": "lab"}})
    path = f"{NETWORK}/routers/{made['router']['id']}"
    inside = (await named(life, "network", "private"))[0]["subnets"][0]
    await life.do("PUT", f"{path}/add_router_interface", {"subnet_id": inside})
    gateway = {"network_id": await one(life, "network", "public")}
    await life.do("PUT", path, {"router": {"external_gateway_info": gateway}})


async def with_router(life: Life) -> None:
    await running(life)
    await build_router(life)
    await life.settled()


async def remove_router(life: Life) -> None:
    path = f"{NETWORK}/routers/{await one(life, 'router', 'lab')}"
    await life.do("PUT", path, {"router": {"external_gateway_info": None}})
    inside = (await named(life, "network", "private"))[0]["subnets"][0]
    await life.do("PUT", f"{path}/remove_router_interface", {"subnet_id": inside})
    await life.do("DELETE", path)


async def float_server(life: Life) -> None:
    outside = await one(life, "network", "public")
    made = (await life.do("POST", f"{NETWORK}/floatingips", {"floatingip": {"floating_network_id": outside}}))["floatingip"]
    port = (await life.get(f"{NETWORK}/ports?device_id={await server_id(life)}"))["ports"][0]["id"]
    await life.do("PUT", f"{NETWORK}/floatingips/{made['id']}", {"floatingip": {"port_id": port}})


async def floating_already(life: Life) -> None:
    await with_router(life)
    await float_server(life)
    await life.settled()


async def unfloat(life: Life) -> None:
    path = f"{NETWORK}/floatingips/{(await life.get(f'{NETWORK}/floatingips'))['floatingips'][0]['id']}"
    await life.do("PUT", path, {"floatingip": {"port_id": None}})
    await life.do("DELETE", path)


async def change_rules(life: Life) -> None:
    found = (await life.get(f"{NETWORK}/security-groups", who="member"))["security_groups"]
    group = next(one["id"] for one in found if one["name"] == "default")
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    made = await life.do("POST", f"{NETWORK}/security-group-rules", {"security_group_rule": rule})
    rule = {**rule, "port_range_min": 80, "port_range_max": 80}
    await life.do("POST", f"{NETWORK}/security-group-rules", {"security_group_rule": rule})
    await life.do("DELETE", f"{NETWORK}/security-group-rules/{made['security_group_rule']['id']}")


async def write_identity(life: Life) -> None:
    project = (await life.do("POST", "/identity/v3/projects", {"project": {"name": "lab"}}, who="admin"))["project"]["id"]
    user = (await life.do("POST", "/identity/v3/users", {"user": {"name": "lab"}}, who="admin"))["user"]["id"]
    role = next(one["id"] for one in (await life.get("/identity/v3/roles"))["roles"] if one["name"] == "member")
    await life.do("PUT", f"/identity/v3/projects/{project}/users/{user}/roles/{role}", who="admin")
    await life.do("DELETE", f"/identity/v3/projects/{project}", who="admin")


FLOATED = ["none", "free", "associated"]
MOVED_LIVE = "ACTIVE after live-migration Success|ACTIVE after live-migration Error"  # a life that ends may end a move with it
MOVED_OFF = "VERIFY_RESIZE after migrate Success|ACTIVE after migrate Error"
RESIZED = "VERIFY_RESIZE after resize Success|ACTIVE after resize Error"
OPERATIONS = [
    Operation("create", nothing, create_server, status, ["none", "ACTIVE"]),
    Operation("create several", nothing, create_several, status, ["none", "ACTIVE ACTIVE ACTIVE"]),
    Operation("create that fits nowhere", nothing, create_too_large, status, ["none", "ERROR"]),
    Operation("stop", running, action("os-stop"), history, ["ACTIVE after create Success", "SHUTOFF after stop Success"]),
    Operation("start", after("os-stop"), action("os-start"), history, ["SHUTOFF after stop Success", "ACTIVE after start Success"]),
    Operation("pause", running, action("pause"), history, ["ACTIVE after create Success", "PAUSED after pause Success"]),
    Operation("unpause", after("pause"), action("unpause"), history, ["PAUSED after pause Success", "ACTIVE after unpause Success"]),
    Operation("suspend", running, action("suspend"), history, ["ACTIVE after create Success", "SUSPENDED after suspend Success"]),
    Operation("resume", after("suspend"), action("resume"), history, ["SUSPENDED after suspend Success", "ACTIVE after resume Success"]),
    Operation("soft reboot", running, action("reboot", {"type": "SOFT"}), guest_counters,
              ["running soft 0 hard 0 builds 0", "running soft 1 hard 0 builds 0"]),
    Operation("hard reboot", running, action("reboot", {"type": "HARD"}), history,
              ["ACTIVE after create Success", "ACTIVE after reboot Success"]),
    Operation("rebuild", running, rebuild, guest_counters, ["running soft 0 hard 0 builds 0", "running soft 0 hard 0 builds 1"]),
    Operation("rename", running, rename, guest_name, ["one", "one-renamed"]),
    Operation("create image", running, create_image, snapshots, ["ACTIVE", "ACTIVE active"]),
    Operation("live migration", running, move_live, whereabouts, ["ACTIVE after create Success", MOVED_LIVE]),
    Operation("delete while moving", running, move_and_delete, status, ["ACTIVE", "ACTIVE", "none"]),
    Operation("cold migration, confirmed", running, moved_off("migrate", None, "admin", "confirmResize"), whereabouts,
              ["ACTIVE after create Success", MOVED_OFF, "ACTIVE after confirmResize Success"]),
    Operation("cold migration, reverted", running, moved_off("migrate", None, "admin", "revertResize"), whereabouts,
              ["ACTIVE after create Success", MOVED_OFF, "ACTIVE after revertResize Success"]),
    Operation("resize to another host, confirmed", narrow, moved_off("resize", {"flavorRef": "large"}, "member", "confirmResize"),
              whereabouts, ["ACTIVE after create Success", RESIZED, "ACTIVE after confirmResize Success"]),
    Operation("resize to another host, reverted", narrow, moved_off("resize", {"flavorRef": "large"}, "member", "revertResize"),
              whereabouts, ["ACTIVE after create Success", RESIZED, "ACTIVE after revertResize Success"]),
    Operation("delete", running, delete, status, ["ACTIVE", "none"]),
    Operation("delete while building", nothing, delete_while_building, status, ["none", "ACTIVE", "none"]),
    Operation("delete while copied", running, delete_while_copied, snapshots, ["ACTIVE", "ACTIVE active", "none|none active"]),
    Operation("delete in error", create_too_large, delete, status, ["ERROR", "none"]),
    Operation("upload an image", nothing, upload, images, ["none", "queued", "active"]),
    Operation("delete an image", upload, remove_image, images, ["active", "none"]),
    Operation("network, subnet and port", nothing, build_network, topology, ["0 0 0", "1 0 0", "1 1 0", "1 1 1"]),
    Operation("without port, subnet and network", build_network, remove_network, topology, ["1 1 1", "1 1 0", "1 0 0", "0 0 0"]),
    Operation("router with interface and gateway", running, build_router, routers,
              ["none", "inside 0 outside 0", "inside 1 outside 0", "inside 1 outside 1"]),
    Operation("without gateway, interface and router", with_router, remove_router, routers,
              ["inside 1 outside 1", "inside 1 outside 0", "inside 0 outside 0", "none"]),
    Operation("floating IP", with_router, float_server, floating, FLOATED),
    Operation("without floating IP", floating_already, unfloat, floating, FLOATED[::-1]),
    Operation("security group rules", running, change_rules, rules, ["[]", "[22]", "[22, 80]", "[80]"]),
    Operation("projects, users and roles", nothing, write_identity, projects,
              ["none", "project, 0 roles", "project, 0 roles", "project, 1 roles", "none"]),
]  # fmt: skip
