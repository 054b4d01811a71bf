"""Every route of hosts and clusters."""

from pileus.api.cluster import hosts, joining, snapshots
from pileus.api.faults import nova_fault
from pileus.api.routes import PUBLIC, Service, route

POLICY = {"cluster:tokens:create": "admin", "cluster:hosts:list": "admin"}

SERVICE = Service(
    prefix="cluster",
    name="cluster",
    type="",  # not in the catalog
    fault=nova_fault,
    policy=POLICY,
    routes=[
        route("POST", "/v1/tokens", joining.create_token, "cluster:tokens:create", body=joining.NewToken, success=201),
        route("POST", "/v1/join", joining.join, PUBLIC, body=joining.Join),
        route("GET", "/v1/content/{sha256}", joining.content, PUBLIC),
        route("PUT", "/v1/snapshots/{image_id}", snapshots.receive, PUBLIC, stream=True, success=204),
        route("GET", "/v1/version", hosts.version, PUBLIC),
        route("GET", "/v1/hosts", hosts.index, "cluster:hosts:list"),
        route("GET", "/v1/leaders", hosts.leaders, "cluster:hosts:list"),
    ],
)
