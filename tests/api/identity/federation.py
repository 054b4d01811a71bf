"""A cloud whose users come from a provider of OpenID Connect: what the tests of federated logins begin with."""

from typing import Any

from tests.api.harness import Answer, TestCloud
from tests.api.identity.openid_server import CLIENT, SECRET, OpenIdServer

F = "/identity/v3/OS-FEDERATION"
AUTH = f"{F}/identity_providers/corp/protocols/openid/auth"
RULES = [
    {
        "local": [{"user": {"name": "{0}", "email": "{1}"}}, {"groups": "{2}", "domain": {"id": "default"}}],
        "remote": [{"type": "OIDC-name"}, {"type": "OIDC-email"}, {"type": "OIDC-groups"}, {"type": "OIDC-name", "not_any_of": ["nobody"]}],
    }
]


class Federation:
    """`login` shows a token of the provider's to the cloud."""

    def __init__(self, cloud: TestCloud, server: OpenIdServer) -> None:
        self.cloud = cloud
        self.server = server
        self.idp = self.put("identity_providers/corp", identity_provider={"enabled": True, "remote_ids": [server.issuer]})
        self.domain_id = self.idp["identity_provider"]["domain_id"]
        self.put("mappings/m", mapping={"rules": RULES})
        self.put("identity_providers/corp/protocols/openid", protocol={"mapping_id": "m"})
        self.settings()

    def put(self, path: str, status: int | None = 201, **body: Any) -> Any:
        made = self.cloud.call("PUT", f"{F}/{path}", token="admin", json=body)
        assert status is None or made.status == status, made
        return made.json

    def patch(self, path: str, **body: Any) -> Any:
        changed = self.cloud.call("PATCH", f"{F}/{path}", token="admin", json=body)
        assert changed.status == 200, changed
        return changed.json

    def settings(self, protocol: str = "openid", **more: Any) -> Any:
        whole = {"issuer": self.server.issuer, "client_id": CLIENT, "client_secret": SECRET, **more}
        return self.put(f"identity_providers/corp/protocols/{protocol}/openid", None, openid=whole)

    def rules(self, rules: Any, version: str = "1.0") -> None:
        self.patch("mappings/m", mapping={"rules": rules, "schema_version": version})

    def token(self, sub: str = "u-1", name: str = "alice", **claims: Any) -> str:
        given = {"name": name, "email": f"{name}@example.org", "groups": ["staff"], **claims}
        return self.server.token(sub, **given)

    def show(self, token: str, path: str = AUTH, method: str = "POST") -> Answer:
        return self.cloud.call(method, path, headers={"Authorization": f"Bearer {token}"})

    def login(self, sub: str = "u-1", name: str = "alice", **claims: Any) -> Answer:
        return self.show(self.token(sub, name, **claims))

    def group(self, name: str = "staff", role: str | None = "member", project: str = "demo") -> str:
        """A group in the default domain, with a role on a project."""
        made = self.cloud.call("POST", "/identity/v3/groups", token="admin", json={"group": {"name": name}}).json["group"]["id"]
        if role:
            where = f"/identity/v3/projects/{self.cloud.project_id(project)}/groups/{made}/roles/{self.role(role)}"
            assert self.cloud.call("PUT", where, token="admin").status == 204
        return made

    def role(self, name: str) -> str:
        return self.cloud.call("GET", f"/identity/v3/roles?name={name}", token="admin").json["roles"][0]["id"]

    def scoped(self, token: str, scope: Any) -> Answer:
        body = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}}
        return self.cloud.call("POST", "/identity/v3/auth/tokens", json=body)

    def user(self, answer: Answer) -> dict[str, Any]:
        """The user, as an administrator sees it."""
        key = answer.json["token"]["user"]["id"]
        return self.cloud.call("GET", f"/identity/v3/users/{key}", token="admin").json["user"]
