"""The weighers of a placement: what makes one fitting host better than another.

Each weight is a host's free amount as a share of the largest host's, times a multiplier, so that it does not depend on who else fits:
hosts can be kept in their order. Memory and disk count as they are there, CPUs with overcommit, as in Nova.
"""

from pileus.model.placement import HostState, PlacementRequest

WEIGHED = ("MEMORY_MB", "VCPU", "DISK_GB")
NAMES = {"MEMORY_MB": "ram", "VCPU": "cpu", "DISK_GB": "disk"}
MULTIPLIERS = {"ram": 1.0, "cpu": 1.0, "disk": 1.0, "server group": 10.0}
"""A soft policy of a server group weighs more than room."""


def size_of(state: HostState, resource: str) -> int:
    """How much a host can give in all."""
    for name, inventory, _ in state.stocks:
        if name == resource:
            return inventory.capacity if resource == "VCPU" else inventory.total - inventory.reserved
    return 0


def free_of(state: HostState, resource: str) -> int:
    """How much of that nobody has; below 0 where it is overcommitted."""
    for name, _, used in state.stocks:
        if name == resource:
            return size_of(state, resource) - used
    return 0


def weights_of(state: HostState, scale: dict[str, int]) -> dict[str, float]:
    """The weights of a host where the largest have as much as `scale` says."""
    found: dict[str, float] = {}
    for name, inventory, used in state.stocks:
        short = NAMES.get(name)
        if short is not None and scale[name]:
            size = inventory.capacity if name == "VCPU" else inventory.total - inventory.reserved
            found[short] = round(MULTIPLIERS[short] * (size - used) / scale[name], 6)
    return found


def group_weight(request: PlacementRequest, host: str) -> float:
    """What a soft policy adds for a host: from 0 to its multiplier."""
    if request.group_policy not in ("soft-affinity", "soft-anti-affinity") or not request.group_hosts:
        return 0.0
    share = request.group_hosts.get(host, 0) / max(1, *request.group_hosts.values())
    return round(MULTIPLIERS["server group"] * (share if request.group_policy == "soft-affinity" else 1.0 - share), 6)
