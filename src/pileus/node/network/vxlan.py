"""VXLAN devices: made in the host's own namespace, which their outer packets stay in, for a bridge in a domain's."""

import contextlib
import errno
import time
from typing import Any

from pileus.core.network_plan import DomainPlan, LinkPlan
from pileus.core.network_vxlan import VXLAN_PORT
from pileus.model.errors import NodeFailed
from pileus.node.network.links import Links

PATIENCE = 3.0  # seconds for a namespace that was removed to let go of a network's number
PREFIX = "vx"


def missing(plan: DomainPlan) -> list[LinkPlan]:
    """The planned VXLAN devices that are not there as planned; what stands in their place is removed. In the domain's namespace."""
    wanted = [link for link in plan.links if link.kind == "vxlan"]
    if not wanted:  # to read all links takes 0.2 ms for each
        return []
    with Links() as links:
        links.remove([link.name for link in wanted if link.name in links.found and not _is_as_planned(links.found[link.name], link)])
        return [link for link in wanted if link.name not in links.found]


def remove_all() -> None:
    """Remove every VXLAN device of this namespace: the kernel itself takes its time about it, and a network's number is free only then."""
    with Links() as links:
        links.remove([name for name in links.found if name.startswith(PREFIX)])


def create(wanted: list[LinkPlan], namespace: int) -> None:
    """Make devices in the namespace of an open descriptor. In the host's own namespace."""
    if not wanted:
        return
    with Links() as links:
        for link in wanted:
            _create(links, link, namespace)


def _create(links: Links, link: LinkPlan, namespace: int) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    own = {"vxlan_local6" if ":" in link.local else "vxlan_local": link.local}
    options: dict[str, Any] = {"vxlan_id": link.vni, "vxlan_port": VXLAN_PORT, "vxlan_learning": False, **own}
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            links.netlink.link("add", ifname=link.name, kind="vxlan", mtu=link.mtu, net_ns_fd=namespace, **options)
            return
        except NetlinkError as failure:
            if failure.code != errno.EEXIST or time.monotonic() > deadline:
                raise NodeFailed(f"The VXLAN {link.vni} can't be set up on this host: {failure.args[-1]}") from failure
        time.sleep(0.02)


def _is_as_planned(found: Any, link: LinkPlan) -> bool:
    data = None
    with contextlib.suppress(AttributeError):
        data = found.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    if data is None:
        return False
    local = data.get_attr("IFLA_VXLAN_LOCAL6" if ":" in link.local else "IFLA_VXLAN_LOCAL")
    return data.get_attr("IFLA_VXLAN_ID") == link.vni and local == link.local
