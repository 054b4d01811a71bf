"""A network: a layer 2 segment of a project, of everybody (shared), or to the outside (external)."""

from pileus.model.base import Resource


class Network(Resource, frozen=True, kw_only=True):
    """A network. `generation` is Neutron's revision number.

    `network_type` is vxlan (`segmentation_id` is its VNI) or flat (`physical_network` names what it is joined to).
    """

    project_id: str
    name: str = ""
    description: str = ""
    admin_state_up: bool = True
    shared: bool = False
    external: bool = False
    is_default: bool = False
    port_security_enabled: bool = True
    mtu: int = 1450
    dns_domain: str = ""
    network_type: str = "vxlan"
    physical_network: str | None = None
    segmentation_id: int | None = None
    availability_zone_hints: list[str] = []
    tags: list[str] = []

    @property
    def uplink(self) -> str | None:
        """The physical network on a host that it is joined to. An external network without one gets a host-only one of its own."""
        if self.physical_network is not None:
            return self.physical_network
        return f"x{self.id[:6]}" if self.external else None


class RbacPolicy(Resource, frozen=True, kw_only=True):
    """A network given to another project (or to all, `*`): `action` is access_as_shared or access_as_external."""

    project_id: str
    object_id: str
    target_project: str
    action: str
    object_type: str = "network"
