"""Quotas, limits, usage, server groups."""

import time

from pileus.store import servers
from pileus.store.servers import SERVERS
from tests.api.compute.conftest import Compute


def test_limits_show_what_is_used(compute: Compute) -> None:
    compute.create()
    absolute = compute.call("GET", "/limits").json["limits"]["absolute"]
    assert (absolute["totalInstancesUsed"], absolute["totalCoresUsed"], absolute["totalRAMUsed"]) == (1, 1, 512)
    assert absolute["maxTotalInstances"] == 50
    project = compute.cloud.project_id()
    assert compute.call("GET", f"/limits?tenant_id={project}", who="other_project_member").status == 403
    assert compute.call("GET", f"/limits?tenant_id={project}", who="admin").json["limits"]["absolute"]["totalInstancesUsed"] == 1
    old = compute.call("GET", "/limits", version="2.1").json["limits"]["absolute"]
    assert {"maxImageMeta", "maxPersonality", "maxSecurityGroups"} <= old.keys()


def test_a_projects_quota_is_set_and_taken_away(compute: Compute) -> None:
    project = compute.cloud.project_id()
    path = f"/os-quota-sets/{project}"
    compute.create()
    assert compute.call("PUT", path, {"quota_set": {"cores": 3, "instances": -1}}, who="admin").json["quota_set"]["cores"] == 3
    shown = compute.call("GET", f"{path}/detail").json["quota_set"]
    assert shown["cores"] == {"limit": 3, "in_use": 1, "reserved": 0}
    assert compute.call("PUT", path, {"quota_set": {"cores": 0}}, who="admin").status == 400
    assert compute.call("PUT", path, {"quota_set": {"cores": 0, "force": True}}, who="admin").status == 200
    assert compute.call("PUT", path, {"quota_set": {"floating_ips": 1}}, who="admin").status == 400
    assert (
        compute.call("PUT", path, {"quota_set": {"floating_ips": 1}}, who="admin", version="2.35").json["quota_set"]["floating_ips"] == -1
    )
    assert compute.call("DELETE", path, who="admin").status == 202
    assert compute.call("GET", path).json["quota_set"]["cores"] == 100
    assert compute.call("GET", path, who="other_project_member").status == 403


def test_the_default_class_changes_every_project(compute: Compute) -> None:
    assert compute.call("PUT", "/os-quota-class-sets/default", {"quota_class_set": {"ram": 1}}, who="admin").status == 200
    assert compute.call("GET", f"/os-quota-sets/{compute.cloud.project_id()}").json["quota_set"]["ram"] == 1
    assert compute.call("PUT", "/os-quota-class-sets/other", {"quota_class_set": {"ram": 1}}, who="admin").status == 400


def test_usage_counts_hours_in_the_period(compute: Compute) -> None:
    server = compute.running()
    now = time.time()
    compute.cloud.write(lambda tx: SERVERS.set(tx, server, launched_at=now - 7200))
    project = compute.cloud.project_id()
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - 3600))
    usage = compute.call("GET", f"/os-simple-tenant-usage/{project}?start={start}").json["tenant_usage"]
    assert 0.99 < usage["total_hours"] < 1.02
    assert usage["server_usages"][0]["state"] == "active"
    everything = compute.call("GET", "/os-simple-tenant-usage", who="admin").json["tenant_usages"]
    assert [one["tenant_id"] for one in everything] == [project]
    assert 1.99 < everything[0]["total_vcpus_usage"] < 2.02
    compute.cloud.write(lambda tx: servers.record_removed(tx, server, now - 3600))
    ended = compute.call("GET", f"/os-simple-tenant-usage/{project}").json["tenant_usage"]
    assert 0.99 < ended["total_hours"] < 1.02
    assert ended["server_usages"][0]["state"] == "terminated"
    other = compute.cloud.project_id("other")
    assert compute.call("GET", f"/os-simple-tenant-usage/{other}").status == 403
    assert compute.call("GET", f"/os-simple-tenant-usage/{other}", who="admin").json == {"tenant_usage": {}}
    assert compute.call("GET", f"/os-simple-tenant-usage/{project}?start=2030-01-01T00:00:00&end=2029-01-01T00:00:00").status == 400


def test_server_groups_by_version(compute: Compute) -> None:
    body = {"server_group": {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 3}}}
    group = compute.call("POST", "/os-server-groups", body).json["server_group"]
    assert (group["policy"], group["rules"], group["members"]) == ("anti-affinity", {"max_server_per_host": 3}, [])
    old = compute.call("GET", f"/os-server-groups/{group['id']}", version="2.1").json["server_group"]
    assert old == {"id": group["id"], "name": "g", "policies": ["anti-affinity"], "members": [], "metadata": {}}
    made = compute.call("POST", "/os-server-groups", {"server_group": {"name": "h", "policies": ["affinity"]}}, version="2.63")
    assert made.json["server_group"]["policies"] == ["affinity"]
    for version, bad in (
        ("2.104", {"name": "x", "policies": ["affinity"]}),
        ("2.104", {"name": "x", "policy": "affinity", "rules": {"max_server_per_host": 1}}),
        ("2.104", {"name": "x", "policy": "odd"}),
        ("2.63", {"name": "x", "policy": "affinity"}),
        ("2.63", {"name": "x", "policies": []}),
        ("2.14", {"name": "x", "policies": ["soft-affinity"]}),
    ):
        assert compute.call("POST", "/os-server-groups", {"server_group": bad}, version=version).status == 400, bad
    assert len(compute.call("GET", "/os-server-groups").json["server_groups"]) == 2
    assert len(compute.call("GET", "/os-server-groups?limit=1&offset=1").json["server_groups"]) == 1
    assert compute.call("GET", "/os-server-groups", who="admin").json == {"server_groups": []}
    assert len(compute.call("GET", "/os-server-groups?all_projects=1", who="admin").json["server_groups"]) == 2
    assert compute.call("DELETE", f"/os-server-groups/{group['id']}").status == 204
    assert compute.call("GET", f"/os-server-groups/{group['id']}").status == 404
