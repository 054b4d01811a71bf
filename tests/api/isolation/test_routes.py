"""Every route, asked by a member of another project with the ids of a project's things: nothing is told, nothing changes.

The things carry HIDDEN in their names. A route that is not about one of them (its id does not stand in `Demo.ids`) is asked all the same.
"""

from typing import Any

import pytest

from pileus.api.request import encode
from pileus.api.routes import PUBLIC, Route, Service
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud, services
from tests.api.isolation.test_hostile_values import bodies
from tests.api.network.neutron import Neutron, outside

HIDDEN = "hidden-of-demo"
SAME_FOR_ALL = {f"{version}/os-quota-sets/{{project_id}}/defaults" for version in ("v2", "v2.1")}
REFUSED = {400, 401, 403, 404, 405, 409, 415, 501}
"""400, 409, 415: a body that is not right may be refused before its id is looked at; the answer is searched for HIDDEN all the same."""


class Demo:
    """Project demo with one thing of each kind. `ids`: by the part of a path that stands before the id, or by the parameter's name."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.ids: dict[str, str] = {"project_id": cloud.project_id(), "target_id": cloud.project_id()}
        self._network()
        compute = Compute(cloud)
        self.ids["servers"] = compute.running(HIDDEN, networks=[{"uuid": self.ids["networks"]}], metadata={"k": HIDDEN}, tags=[HIDDEN])
        body = {"server_group": {"name": HIDDEN, "policy": "affinity"}}
        self.ids["os-server-groups"] = compute.call("POST", "/os-server-groups", body).json["server_group"]["id"]
        flavor = {"name": HIDDEN, "ram": 1, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
        self.ids["flavors"] = compute.call("POST", "/flavors", {"flavor": flavor}, who="admin").json["flavor"]["id"]
        compute.call("POST", f"/flavors/{self.ids['flavors']}/action", {"addTenantAccess": {"tenant": cloud.project_id()}}, who="admin")
        compute.call("POST", "/os-keypairs", {"keypair": {"name": HIDDEN}}, version="2.1")
        self.ids["os-keypairs"] = HIDDEN
        image = {"name": HIDDEN, "visibility": "private", "disk_format": "raw", "container_format": "bare", "tags": [HIDDEN], "k": HIDDEN}
        self.ids["images"] = cloud.call("POST", "/image/v2/images", "member", image).json["id"]
        self._identity()

    def _network(self) -> None:
        demo = Neutron(self.cloud)
        public = outside(self.cloud)
        network = demo.make("network", name=HIDDEN, description=HIDDEN, tags=[HIDDEN])
        subnet = demo.subnet(network, "10.123.0.0/24", name=HIDDEN)
        router = demo.make("router", name=HIDDEN, external_gateway_info={"network_id": public["id"]})
        group = demo.make("security_group", name=HIDDEN)
        assert demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}).status == 200
        port = demo.make("port", network_id=network["id"], name=HIDDEN, device_id=HIDDEN)
        policy = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared", "target_tenant": HIDDEN}
        made = {
            "networks": network, "subnets": subnet, "routers": router, "security-groups": group, "ports": port,
            "security-group-rules": demo.make("security_group_rule", security_group_id=group["id"], direction="ingress",
                                              description=HIDDEN),
            "floatingips": demo.make("floatingip", floating_network_id=public["id"], description=HIDDEN),
            "subnetpools": demo.make("subnetpool", name=HIDDEN, prefixes=["10.200.0.0/16"], default_prefixlen=24),
            "rbac-policies": demo.make("rbac_policy", **policy),
        }  # fmt: skip
        self.ids |= {kind: one["id"] for kind, one in made.items()}

    def _identity(self) -> None:
        cloud, user = self.cloud, self.cloud.user_id("member")
        v3, own = "/identity/v3", f"/identity/v3/users/{user}"
        self.ids |= {"users": user, "actor_id": user}
        made = cloud.call("POST", f"{own}/application_credentials", "member", {"application_credential": {"name": HIDDEN}})
        self.ids["application_credentials"] = made.json["application_credential"]["id"]
        trust = {
            "trustor_user_id": user,
            "trustee_user_id": cloud.user_id("reader"),
            "impersonation": True,
            "project_id": cloud.project_id(),
        }
        made = cloud.call("POST", f"{v3}/OS-TRUST/trusts", "member", {"trust": {**trust, "roles": [{"name": "reader"}]}})
        self.ids["trusts"] = made.json["trust"]["id"]
        rule = {"service": "compute", "method": "GET", "path": f"/{HIDDEN}"}
        cloud.call("POST", f"{own}/application_credentials", "member", {"application_credential": {"name": "r", "access_rules": [rule]}})
        self.ids["access_rules"] = cloud.call("GET", f"{own}/access_rules", "member").json["access_rules"][0]["id"]
        note = cloud.call("POST", f"{v3}/credentials", "member", {"credential": {"type": "note", "blob": HIDDEN}})
        self.ids["credentials"] = note.json["credential"]["id"]

    def path(self, service: Service, route: Route) -> str:
        """The route's path with the ids of demo's things."""
        parts: list[str] = []
        for part in route.path.strip("/").split("/"):
            before = parts[-1] if parts else ""
            parts.append(self.ids.get(part[1:-1]) or self.ids.get(before, HIDDEN) if part.startswith("{") else part)
        return f"/{service.prefix}/{'/'.join(parts)}"

    def seen(self) -> dict[str, Any]:
        """All of it, as demo sees it."""
        found: dict[str, Any] = {}
        places = {"compute/v2.1": ["servers", "os-server-groups", "os-keypairs"], "image/v2": ["images"], "identity/v3": ["credentials"]}
        for prefix, kinds in places.items():
            for kind in kinds:
                answer = self.cloud.call("GET", f"/{prefix}/{kind}/{self.ids[kind]}", "member")
                assert answer.status == 200, (kind, answer)
                found[kind] = answer.json
        demo = Neutron(self.cloud)
        for kind in ("networks", "subnets", "routers", "security-groups", "ports", "security-group-rules", "floatingips", "rbac-policies"):
            found[kind] = demo.get(f"{kind}/{self.ids[kind]}")
        return found


@pytest.fixture(scope="module")
def demo(shared_cloud: TestCloud) -> Demo:
    return Demo(shared_cloud)


def requests(service: Service, route: Route, demo: Demo) -> list[tuple[str, Any]]:
    """(path, body) with which the route is tried."""
    path = demo.path(service, route)
    if route.action:
        good = next(iter(bodies(route.body)), None) if isinstance(route.body, type) else None
        return [(path, {route.action: None}), *([(path, good)] if good else [])]
    if service.prefix == "network" and route.method == "PUT":
        kind = route.path.split("/")[2].replace("-", "_").removesuffix("s").replace("policie", "policy")
        return [(path, {kind: {"description": "x"}}), (path, {"tags": ["x"]})]
    if isinstance(route.body, type) and hasattr(route.body, "__struct_fields__"):
        return [(path, body) for body in list(bodies(route.body))[:3]] or [(path, {})]
    return [(path, {} if route.method in ("POST", "PUT", "PATCH") else None)]


@pytest.mark.parametrize("who", ["other_project_member", "unscoped"])
@pytest.mark.parametrize("service", services().values(), ids=services())
def test_no_route_tells_or_changes_anything_of_another_project(service: Service, who: str, demo: Demo, shared_cloud: TestCloud) -> None:
    token = shared_cloud.token("other_project_member", roles=set(), domain_id=None) if who == "unscoped" else shared_cloud.token(who)
    before = demo.seen()
    secret = [one for one in demo.ids.values() if one != HIDDEN]
    wrong: list[str] = []
    for route in service.routes:
        if route.policy == PUBLIC or route.path in SAME_FOR_ALL or (route.method in ("POST", "PUT") and "{" not in route.path):
            continue
        headers = {"openstack-api-version": f"{service.history.header} latest"} if service.history and route.until is None else {}
        headers["content-type"] = route.media[0] if route.media else "application/octet-stream" if route.stream else "application/json"
        for path, body in requests(service, route, demo):
            answer = shared_cloud.call(route.method, path, token, content=b"" if body is None else encode(body), headers=headers)
            echo = HIDDEN in path  # an answer may repeat what it was asked
            told = HIDDEN.encode() in answer.body and not echo
            told = told or ("{" not in route.path and any(one.encode() in answer.body for one in secret))
            if told or (any(one in path for one in secret) and answer.status not in REFUSED):
                wrong.append(f"{route.method} {path} {str(body)[:80]}: {answer.status} {answer.body[:160]!r}")
    assert not wrong, "\n".join(wrong)
    assert demo.seen() == before
