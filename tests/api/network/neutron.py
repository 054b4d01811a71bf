"""Short calls of the network API for tests."""

from typing import Any

from tests.api.harness import Answer, TestCloud


class Neutron:
    """Speaks as one user. `make` returns the resource, `refuse` the error's type after a look at the status."""

    def __init__(self, cloud: TestCloud, user: str = "member", project: str | None = None) -> None:
        self.cloud = cloud
        self.token = cloud.token(user, project=project)

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> Answer:
        return self.cloud.call(
            method, f"/network/v2.0/{path}", self.token, json, {name.replace("_", "-"): one for name, one in headers.items()}
        )

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        document = answer.json
        return next(iter(document.values())) if len(document) == 1 else document

    def make(self, kind: str, **fields: Any) -> Any:
        answer = self.call("POST", self.path(kind), {kind: fields})
        assert answer.status == 201, answer
        return answer.json[kind]

    def change(self, kind: str, id: str, **fields: Any) -> Any:
        answer = self.call("PUT", f"{self.path(kind)}/{id}", {kind: fields})
        assert answer.status == 200, answer
        return answer.json[kind]

    def delete(self, kind: str, id: str) -> None:
        answer = self.call("DELETE", f"{self.path(kind)}/{id}")
        assert answer.status == 204, answer

    def refuse(self, status: int, method: str, path: str, json: Any = None, **headers: str) -> str:
        answer = self.call(method, path, json, **headers)
        assert answer.status == status, answer
        return str(answer.json["NeutronError"]["type"])

    @staticmethod
    def path(kind: str) -> str:
        plural = kind[:-1] + "ies" if kind.endswith("policy") else kind + "s"
        return plural.replace("_", "-")

    def subnet(self, network: Any, cidr: str = "10.0.0.0/24", **fields: Any) -> Any:
        version = 6 if ":" in cidr else 4
        return self.make("subnet", network_id=network["id"], cidr=cidr, ip_version=version, **fields)


def outside(cloud: TestCloud) -> Any:
    """The external network `public`, as the launcher makes it."""
    admin = Neutron(cloud, "admin")
    network = admin.make(
        "network",
        name="public",
        **{"router:external": True, "provider:network_type": "flat", "provider:physical_network": "public"},
    )
    pools = [{"start": "172.24.4.10", "end": "172.24.4.250"}]
    admin.subnet(network, "172.24.4.0/24", enable_dhcp=False, gateway_ip="172.24.4.1", allocation_pools=pools)
    return network
