"""What turns the newest form of a document into an older one, and an older request into the newest: small named pieces for `history.py`."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from pileus.api.compute import fields
from pileus.api.request import Request, Response
from pileus.api.versions import Transform
from pileus.model.errors import Invalid

Document = Any
NETWORK_QUOTAS = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
FILE_QUOTAS = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
PERSONALITY_LIMITS = {"maxPersonality": 5, "maxPersonalitySize": 10240}
NETWORK_LIMITS = {
    "maxSecurityGroups": -1, "maxSecurityGroupRules": -1, "maxTotalFloatingIps": -1, "totalFloatingIpsUsed": 0,
    "totalSecurityGroupsUsed": 0,
}  # fmt: skip
BEFORE_275 = frozenset(
    {
        "accessIPv4", "accessIPv6", "addresses", "adminPass", "created", "fault", "flavor", "hostId", "id", "image", "links", "metadata",
        "name", "progress", "status", "tenant_id", "updated", "user_id", "OS-DCF:diskConfig", "locked", "description", "tags",
        "trusted_image_certificates", "server_groups", "locked_reason",
    }
)  # fmt: skip
SINCE_23 = [
    f"OS-EXT-SRV-ATTR:{name}"
    for name in ("hostname", "reservation_id", "launch_index", "kernel_id", "ramdisk_id", "root_device_name", "user_data")
]


def each(document: Document) -> Iterator[dict[str, Any]]:
    """The resources in {"servers": [...]} or {"server": {...}}."""
    for name, value in document.items():
        if name.endswith("links"):
            continue
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield value


def drop(*names: str) -> Transform:
    """Fields that came with this version."""

    def transform(request: Request, document: Document) -> Document:
        for one in each(document):
            for name in names:
                one.pop(name, None)
        return document

    return transform


def fill(values: dict[str, Any]) -> Transform:
    """Fields that went with this version."""

    def transform(request: Request, document: Document) -> Document:
        for one in each(document):
            one.update(values)
        return document

    return transform


def edit(change: Callable[[Request, dict[str, Any]], None]) -> Transform:
    """Change each resource in place."""

    def transform(request: Request, document: Document) -> Document:
        for one in each(document):
            change(request, one)
        return document

    return transform


def refuse(key: str, *names: str) -> Transform:
    """Fields of a request that came only with this version."""

    def transform(request: Request, body: Any) -> Any:
        for name in names:
            if name in inside(body, key):
                unexpected(name)
        return body

    return transform


def refuse_in(key: str, listed: str, *names: str) -> Transform:
    """The same for the items of a list within the request."""

    def transform(request: Request, body: Any) -> Any:
        items = inside(body, key).get(listed)
        for item in items if isinstance(items, list) else []:
            for name in names:
                if isinstance(item, dict) and name in item:
                    unexpected(name)
        return body

    return transform


def both(*transforms: Transform) -> Transform:
    """One after the other."""

    def transform(request: Request, body: Any) -> Any:
        for one in transforms:
            body = one(request, body)
        return body

    return transform


def inside(body: Any, key: str) -> dict[str, Any]:
    """The object under a key of a body that nobody has checked yet; an empty one when there is none."""
    inner = body.get(key) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def unexpected(name: str) -> None:
    """Refuse a field in Nova's words."""
    raise Invalid(f"Invalid input: Additional properties are not allowed ('{name}' was unexpected)", field=name)


# servers ------------------------------------------------------------------------------------------------------------------------------


def image_without_properties(request: Request, server: dict[str, Any]) -> None:
    """2.98: the image's properties."""
    if isinstance(server.get("image"), dict):
        server["image"].pop("properties", None)


def hostname_for_admins(request: Request, server: dict[str, Any]) -> None:
    """2.90: everybody sees the host name."""
    if not request.identity.is_admin:
        server.pop("OS-EXT-SRV-ATTR:hostname", None)


def shorter(extra: frozenset[str]) -> Callable[[Request, dict[str, Any]], None]:
    """2.75: PUT and rebuild answer with the whole server."""

    def change(request: Request, server: dict[str, Any]) -> None:
        for name in [name for name in server if name not in BEFORE_275 and name not in extra]:
            del server[name]
        server.setdefault("progress", 0)
        server["addresses"] = {
            network: [{"addr": one["addr"], "version": one["version"]} for one in addresses]
            for network, addresses in server["addresses"].items()
        }

    return change


def flavor_by_reference(request: Request, server: dict[str, Any]) -> None:
    """2.47: the flavor itself instead of its id."""
    key = request.notes["flavor_ids"][server["id"]]
    server["flavor"] = {"id": key, "links": fields.links(request, "flavors", key)[1:]}


def volumes_without_termination(request: Request, server: dict[str, Any]) -> None:
    """2.3: whether a volume goes with the server."""
    if "os-extended-volumes:volumes_attached" in server:
        attached = server["os-extended-volumes:volumes_attached"]
        server["os-extended-volumes:volumes_attached"] = [{"id": one["id"]} for one in attached]


def any_network(request: Request, body: Any) -> Any:
    """2.37: `networks` is required. Without it, older requests take the project's only network, or none where there is none."""
    server = inside(body, "server")
    if isinstance(server.get("networks"), str):
        raise Invalid(
            f"Invalid input for field/attribute networks. Value: {server['networks']}. It is not of type 'array'", field="networks"
        )
    if server and not server.get("networks"):
        request.notes["networks_not_said"] = True
        server["networks"] = "auto"
    return body


def personality(key: str) -> Transform:
    """2.57: files are no longer brought into the guest."""

    def transform(request: Request, body: Any) -> Any:
        files = inside(body, key).pop("personality", None)
        if files is not None:
            request.notes["personality"] = files
        return body

    return transform


def short_hostname(key: str) -> Transform:
    """2.94: a host name may have a domain."""

    def transform(request: Request, body: Any) -> Any:
        name = inside(body, key).get("hostname")
        if isinstance(name, str) and (
            not name.replace("-", "a").isalnum() or not 2 <= len(name) <= 63 or name[0] == "-" or name[-1] == "-"
        ):
            raise Invalid(f"Invalid input for field/attribute hostname. Value: {name}. It is not a host name.", field="hostname")
        return body

    return transform


device_tags = both(refuse_in("server", "networks", "tag"), refuse_in("server", "block_device_mapping_v2", "tag"))
"""2.32: devices have tags."""


def forgotten_tags(request: Request, body: Any) -> Any:
    """2.42: tags work again. 2.33 had forgotten those of disks, 2.37 those of networks."""
    if request.version >= (2, 37):
        body = refuse_in("server", "networks", "tag")(request, body)
    if request.version >= (2, 33):
        body = refuse_in("server", "block_device_mapping_v2", "tag")(request, body)
    return body


def image_address(request: Request, response: Response) -> Response:
    """2.45: the id of a new image is in the body."""
    address = f"{request.base_url}/image/v2/images/{response.body['image_id']}"
    return Response(response.status, None, {**response.headers, "Location": address})


def lock_without_reason(request: Request, body: Any) -> Any:
    """2.73: a lock has a reason. Before, what came with it was ignored."""
    return {"lock": None} if isinstance(body, dict) and "lock" in body else body


# flavors, keypairs --------------------------------------------------------------------------------------------------------------------


def flavor_as_it_was(request: Request, flavor: dict[str, Any]) -> None:
    """2.102: two fields that meant nothing are gone."""
    known = request.notes["flavors"][flavor["id"]]
    flavor["rxtx_factor"] = known.rxtx_factor
    flavor["OS-FLV-DISABLED:disabled"] = known.disabled


def factor(request: Request, body: Any) -> Any:
    """2.102, of a request."""
    if "rxtx_factor" in inside(body, "flavor"):
        request.notes["rxtx_factor"] = inside(body, "flavor").pop("rxtx_factor")
    return body


def empty_swap(request: Request, flavor: dict[str, Any]) -> None:
    """2.75: no swap is 0."""
    flavor["swap"] = flavor["swap"] or ""


def generated_keypair(request: Request, body: Any) -> Any:
    """2.92: the public key is required; before, a pair was made without it. Names had no @ and dots."""
    keypair = inside(body, "keypair")
    if "@" in str(keypair.get("name")) or "." in str(keypair.get("name")):
        raise Invalid("Invalid input for field/attribute name: only letters, digits, spaces, - and _.", field="name")
    if keypair and keypair.get("public_key") is None:
        request.notes["generate_keypair"] = True
        keypair["public_key"] = ""
    return body


def keypairs_without_type(request: Request, document: Document) -> Document:
    """2.2: a keypair has a type."""
    for one in document["keypairs"]:
        one["keypair"].pop("type", None)
    return document


# hosts --------------------------------------------------------------------------------------------------------------------------------


def hypervisor_figures(request: Request, hypervisor: dict[str, Any]) -> None:
    """2.88: figures that Placement knows better."""
    hypervisor.pop("uptime", None)
    hypervisor.update(request.notes["hypervisors"][hypervisor["id"]])


def no_empty_servers(request: Request, hypervisor: dict[str, Any]) -> None:
    """2.75: servers are listed even when there are none."""
    if not hypervisor.get("servers"):
        hypervisor.pop("servers", None)


def numbered(request: Request, one: dict[str, Any]) -> None:
    """2.53: hypervisors and services have UUIDs."""
    numbers = request.notes["numbers"]
    one["id"] = numbers[one["id"]]
    if "service" in one:
        one["service"]["id"] = one["id"]


def cpu_info_text(request: Request, hypervisor: dict[str, Any]) -> None:
    """2.28: the CPU is described by an object."""
    if "cpu_info" in hypervisor:
        hypervisor["cpu_info"] = json.dumps(hypervisor["cpu_info"])


# groups, actions, quotas, diagnostics -------------------------------------------------------------------------------------------------


def group_policies(request: Request, group: dict[str, Any]) -> None:
    """2.64: one policy with rules."""
    group["policies"] = [group.pop("policy")]
    group.pop("rules", None)
    group["metadata"] = {}


def one_policy(request: Request, body: Any) -> Any:
    """2.64, of a request."""
    group = inside(body, "server_group")
    for name in ("policy", "rules"):
        if name in group:
            unexpected(name)
    policies = group.pop("policies", None)
    if group:
        if not isinstance(policies, list) or len(policies) != 1:
            raise Invalid("Invalid input for field/attribute policies: one policy is required.", field="policies")
        group["policy"] = policies[0]
    return body


def hard_policies(request: Request, body: Any) -> Any:
    """2.15: policies that are kept where possible."""
    group = inside(body, "server_group")
    if str(group.get("policy")).startswith("soft-") or str(group.get("policies")).find("soft-") >= 0:
        raise Invalid("Invalid input for field/attribute policies: it is one of affinity, anti-affinity.", field="policies")
    return body


def events_for_admins(request: Request, document: Document) -> Document:
    """2.51: everybody sees the events of an action."""
    if not request.identity.is_admin:
        document["instanceAction"].pop("events", None)
    return document


def of_events(*names: str) -> Transform:
    """Fields of an action's events."""

    def transform(request: Request, document: Document) -> Document:
        for event in document["instanceAction"].get("events", []):
            for name in names:
                event.pop(name, None)
        return document

    return transform


def with_quotas(names: tuple[str, ...], detailed: bool = False) -> Transform:
    """Quotas that the newest version has no more: files are as they always were, networks are Neutron's."""
    values = {"injected_files": 5, "injected_file_content_bytes": 10240, "injected_file_path_bytes": 255}
    return fill({name: {"limit": values.get(name, -1), "in_use": 0, "reserved": 0} if detailed else values.get(name, -1) for name in names})


def without_quotas(key: str, names: tuple[str, ...]) -> Transform:
    """The same in a request: accepted, as they were, and of no effect."""

    def transform(request: Request, body: Any) -> Any:
        for name in names:
            inside(body, key).pop(name, None)
        return body

    return transform


def absolute(values: dict[str, int]) -> Transform:
    """Absolute limits that are gone."""

    def transform(request: Request, document: Document) -> Document:
        document["limits"]["absolute"].update(values)
        return document

    return transform


def loose_diagnostics(request: Request, document: Document) -> Document:
    """2.48: diagnostics have a form. Before, they were what libvirt said."""
    loose: dict[str, Any] = {f"cpu{index}_time": one.get("time", 0) for index, one in enumerate(document["cpu_details"])}
    for index, disk in enumerate(document["disk_details"]):
        name = f"vd{chr(97 + index)}"
        loose |= {f"{name}_read": disk.get("read_bytes", 0), f"{name}_read_req": disk.get("read_requests", 0)}
        loose |= {f"{name}_write": disk.get("write_bytes", 0), f"{name}_write_req": disk.get("write_requests", 0)}
        loose[f"{name}_errors"] = disk.get("errors_count", 0)
    for index, nic in enumerate(document["nic_details"]):
        names = {"rx": "rx_octets", "rx_packets": "rx_packets", "tx": "tx_octets", "tx_packets": "tx_packets"}
        loose |= {f"tap{index}_{old}": nic.get(new, 0) for old, new in names.items()}
    memory = document["memory_details"]
    return loose | {"memory": (memory.get("maximum") or 0) * 1024, "memory-actual": (memory.get("used") or 0) * 1024}
