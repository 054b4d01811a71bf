"""What a server needs of a host, from its flavor, its image and its hints."""

import zlib
from typing import Any

import msgspec

from pileus.core.placement_topology import numa_wish, page_choices
from pileus.core.traits import architecture_trait, hypervisor_trait, is_name, mode_trait
from pileus.model.errors import Invalid
from pileus.model.placement import PlacementRequest, TraitWish
from pileus.model.servers import Server, ServerFlavor

GIB = 1 << 30
IMAGE_TRAITS = {
    "hw_architecture": architecture_trait,
    "architecture": architecture_trait,
    "img_hv_type": hypervisor_trait,
    "hypervisor_type": hypervisor_trait,
    "hw_vm_mode": mode_trait,
    "vm_mode": mode_trait,
}
UNHEEDED = {
    "build_near_host_ip": "same_host, or an availability zone",
    "cidr": "an availability zone",
    "query": "traits or aggregate_instance_extra_specs of the flavor",
    "target_cell": "an availability zone",
    "different_cell": "an availability zone",
}
"""Hint -> what does the same here."""


def request_of(server: Server, image_properties: dict[str, Any], root_gib: int = 0, cluster: str | None = None) -> PlacementRequest:
    """The request for a server, without what has to be looked up (hosts of other servers, members of its group): see `with_hints`.

    `root_gib` is the size of the root disk where the flavor leaves it to the image; `cluster` is where the server is to stay.
    """
    check_hints(server.hints)
    return PlacementRequest(
        resources=resources_of(server.flavor, root_gib),
        one_of=page_choices(server.flavor, image_properties),
        numa=numa_wish(server.flavor, image_properties),
        traits=flavor_traits(server.flavor) + image_traits(image_properties),
        cluster=cluster,
        zone=server.requested_zone,
        host=server.requested_host,
        metadata=_metadata(server.flavor),
        properties={key: str(value) for key, value in image_properties.items()},
        seed=zlib.crc32(server.id.encode()),
    )


def resources_of(flavor: ServerFlavor, root_gib: int = 0) -> dict[str, int]:
    """Amounts by resource class; extra specs `resources:CLASS` override, 0 takes one away."""
    swap_gib = -(-flavor.swap // 1024)
    wanted = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram, "DISK_GB": (flavor.disk or root_gib) + flavor.ephemeral + swap_gib}
    for key, value in flavor.extra_specs.items():
        name = key.removeprefix("resources:")
        if name == key:
            continue
        if not is_name(name) or not value.isdigit():
            raise Invalid(f"Flavor extra spec {key}={value}: an amount of a resource class is expected.", field=key)
        wanted[name] = int(value)
    return {name: amount for name, amount in wanted.items() if amount > 0}


def flavor_traits(flavor: ServerFlavor) -> list[TraitWish]:
    """Extra specs `trait:NAME=required|forbidden`."""
    return [wish for key, value in sorted(flavor.extra_specs.items()) if (wish := _wish(key, value, "flavor"))]


def image_traits(properties: dict[str, Any]) -> list[TraitWish]:
    """What an image says of the hosts it runs on: architecture, hypervisor, mode, and `trait:NAME`."""
    wishes: list[TraitWish] = []
    for key in sorted(properties):
        value = str(properties[key])
        if key in IMAGE_TRAITS and value:
            wishes.append(TraitWish(trait=IMAGE_TRAITS[key](value), source=f"image property {key}={value}"))
        elif wish := _wish(key, value, "image"):
            wishes.append(wish)
    return wishes


def _wish(key: str, value: str, owner: str) -> TraitWish | None:
    name = key.removeprefix("trait:")
    if name == key:
        return None
    if value not in ("required", "forbidden") or not is_name(name):
        raise Invalid(f"{key}={value} of the {owner}: required or forbidden is expected.", field=key)
    return TraitWish(trait=name, source=f"{owner}'s {key}={value}", forbidden=value == "forbidden")


def _metadata(flavor: ServerFlavor) -> dict[str, str]:
    prefix = "aggregate_instance_extra_specs:"
    return {key.removeprefix(prefix): value for key, value in flavor.extra_specs.items() if key.startswith(prefix)}


def check_hints(hints: dict[str, Any]) -> None:
    """Refuse hints that Nova's optional filters read and that nothing here would heed: a server must not land where its owner forbade."""
    for name, instead in UNHEEDED.items():
        if name in hints:
            raise Invalid(f"The scheduler hint {name} is not supported: use {instead}.", field=name)


def hinted(hints: dict[str, Any], name: str) -> list[str]:
    """The server ids of a hint (`same_host`, `different_host`), which is one or a list."""
    value: Any = hints.get(name)
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def with_hints(request: PlacementRequest, hints: dict[str, Any], hosts_of: dict[str, str]) -> PlacementRequest:
    """The request with the hints `same_host` and `different_host`; `hosts_of` maps server ids to the hosts that they are on."""
    same = hinted(hints, "same_host")
    different = hinted(hints, "different_host")
    return msgspec.structs.replace(
        request,
        same_host=frozenset(hosts_of[one] for one in same if one in hosts_of) if same else None,
        different_host=frozenset(hosts_of[one] for one in different if one in hosts_of),
    )
