"""What a client finds before it knows anything: versions, and the resources of v2.0."""

from typing import Any

from pileus.api.request import Request, Response
from pileus.model.errors import NotImplementedYet

COLLECTIONS = {
    "network": "networks", "subnet": "subnets", "port": "ports", "router": "routers", "floatingip": "floatingips",
    "security_group": "security-groups", "security_group_rule": "security-group-rules", "rbac_policy": "rbac-policies", "quota": "quotas",
    "agent": "agents", "extension": "extensions", "availability_zone": "availability_zones",
    "network_ip_availability": "network-ip-availabilities", "service_provider": "service-providers",
}  # fmt: skip


async def versions(request: Request) -> Response:
    """The one version."""
    link = {"rel": "self", "href": f"{request.service_url}/v2.0/"}
    return Response(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


async def resources(request: Request) -> dict[str, Any]:
    """The resources of v2.0 with their addresses."""
    base = f"{request.service_url}/v2.0"
    return {
        "resources": [
            {"name": name, "collection": plural.replace("-", "_"), "links": [{"rel": "self", "href": f"{base}/{plural}"}]}
            for name, plural in COLLECTIONS.items()
        ]
    }


async def missing(request: Request) -> None:
    """What Neutron has and pileus has not yet."""
    part = request.path.split("/v2.0/", 1)[-1].split("/")[0]
    raise NotImplementedYet(f"{part} is not implemented yet; see docs/gaps/network.md.")
