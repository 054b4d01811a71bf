"""Hypervisors, services, zones, aggregates."""

from tests.api.compute.conftest import Compute


def test_hypervisors_by_version(compute: Compute) -> None:
    server = compute.running()
    newest = compute.call("GET", "/os-hypervisors/detail?with_servers=1", who="admin").json["hypervisors"][0]
    assert newest["id"] == compute.host
    assert newest["hypervisor_type"] == "QEMU"
    assert [one["uuid"] for one in newest["servers"]] == [server]
    assert "vcpus" not in newest
    old = compute.call("GET", "/os-hypervisors/detail", who="admin", version="2.87").json["hypervisors"][0]
    assert (old["vcpus"], old["vcpus_used"], old["memory_mb"], old["running_vms"]) == (8, 1, 16384, 1)
    assert isinstance(old["cpu_info"], dict)
    oldest = compute.call("GET", "/os-hypervisors/1", who="admin", version="2.1").json["hypervisor"]
    assert oldest["id"] == 1
    assert isinstance(oldest["cpu_info"], str)
    assert compute.call("GET", f"/os-hypervisors/{compute.host}", who="admin", version="2.1").status == 404
    assert compute.call("GET", "/os-hypervisors/1", who="admin").status == 404
    sums = compute.call("GET", "/os-hypervisors/statistics", who="admin", version="2.87").json["hypervisor_statistics"]
    assert (sums["count"], sums["vcpus"]) == (1, 8)
    assert compute.call("GET", "/os-hypervisors/statistics", who="admin").status == 404


def test_hypervisors_are_searched(compute: Compute) -> None:
    assert len(compute.call("GET", "/os-hypervisors?hypervisor_hostname_pattern=on", who="admin").json["hypervisors"]) == 1
    assert compute.call("GET", "/os-hypervisors?hypervisor_hostname_pattern=mars", who="admin").status == 404
    assert compute.call("GET", "/os-hypervisors?hypervisor_hostname_pattern=on&limit=1", who="admin").status == 400
    assert compute.call("GET", "/os-hypervisors/mars/search", who="admin", version="2.52").status == 404
    assert compute.call("GET", "/os-hypervisors?marker=none", who="admin").status == 400


def test_a_service_is_disabled_with_a_reason_and_enabled(compute: Compute) -> None:
    service = compute.call("GET", "/os-services", who="admin").json["services"][0]
    assert (service["binary"], service["state"], service["status"], service["zone"]) == ("nova-compute", "up", "enabled", "nova")
    path = f"/os-services/{service['id']}"
    compute.cloud.write(
        lambda tx: tx.execute("INSERT INTO router_hosts (domain_id, host, since) VALUES ('its', 'one', 0), ('not', 'two', 0)")
    )
    off = compute.call("PUT", path, {"status": "disabled", "disabled_reason": "repair"}, who="admin").json["service"]
    assert (off["status"], off["disabled_reason"]) == ("disabled", "repair")
    assert [id for kind, id in compute.cloud.woken if kind == "routing"] == ["its"], "its routers may go elsewhere"
    down = compute.call("PUT", path, {"forced_down": True}, who="admin").json["service"]
    assert (down["state"], down["status"]) == ("down", "disabled")
    assert compute.call("PUT", path, {}, who="admin").status == 400
    assert compute.call("PUT", path, {"disabled_reason": "x"}, who="admin").status == 400
    on = compute.call("PUT", "/os-services/enable", {"host": "one", "binary": "nova-compute"}, who="admin", version="2.1").json
    assert on == {"service": {"host": "one", "binary": "nova-compute", "status": "enabled"}}
    assert compute.call("PUT", "/os-services/enable", {"host": "two", "binary": "nova-compute"}, who="admin", version="2.1").status == 404


def test_a_host_with_servers_is_not_forgotten(compute: Compute) -> None:
    server = compute.running()
    service = compute.call("GET", "/os-services", who="admin").json["services"][0]["id"]
    assert compute.call("DELETE", f"/os-services/{service}", who="admin").status == 409
    compute.cloud.write(lambda tx: tx.execute("DELETE FROM servers WHERE id = ?", server))
    assert compute.call("DELETE", f"/os-services/{service}", who="admin").status == 204
    assert compute.call("GET", "/os-hypervisors", who="admin").json == {"hypervisors": []}


def test_an_aggregate_gives_its_hosts_a_zone(compute: Compute) -> None:
    made = compute.call("POST", "/os-aggregates", {"aggregate": {"name": "a", "availability_zone": "z1"}}, who="admin").json["aggregate"]
    path = f"/os-aggregates/{made['id']}"
    assert compute.call("POST", f"{path}/action", {"add_host": {"host": "two"}}, who="admin").status == 404
    added = compute.call("POST", f"{path}/action", {"add_host": {"host": "one"}}, who="admin").json["aggregate"]
    assert added["hosts"] == ["one"]
    assert compute.call("POST", f"{path}/action", {"add_host": {"host": "one"}}, who="admin").status == 409
    zones = compute.call("GET", "/os-availability-zone").json["availabilityZoneInfo"]
    assert zones == [{"zoneName": "z1", "zoneState": {"available": True}, "hosts": None}]
    detail = compute.call("GET", "/os-availability-zone/detail", who="admin").json["availabilityZoneInfo"][0]
    assert detail["hosts"]["one"]["nova-compute"]["available"] is True
    assert compute.call("DELETE", path, who="admin").status == 400
    items = {"set_metadata": {"metadata": {"ssd": "true", "availability_zone": None}}}
    assert compute.call("POST", f"{path}/action", items, who="admin").json["aggregate"]["metadata"] == {"ssd": "true"}
    assert compute.call("GET", "/os-availability-zone").json["availabilityZoneInfo"][0]["zoneName"] == "nova"
    assert compute.call("PUT", path, {"aggregate": {"name": "b"}}, who="admin").json["aggregate"]["name"] == "b"
    assert compute.call("PUT", path, {"aggregate": {}}, who="admin").status == 400
    assert compute.call("POST", f"{path}/action", {"remove_host": {"host": "one"}}, who="admin").json["aggregate"]["hosts"] == []
    assert compute.call("DELETE", path, who="admin").status == 200
    assert compute.call("GET", path, who="admin").status == 404
    assert compute.call("GET", "/os-aggregates/x", who="admin").status == 404


def test_a_host_is_in_one_zone(compute: Compute) -> None:
    numbers = [
        compute.call("POST", "/os-aggregates", {"aggregate": {"name": zone, "availability_zone": zone}}, who="admin").json["aggregate"][
            "id"
        ]
        for zone in ("z1", "z2")
    ]
    answers = [compute.call("POST", f"/os-aggregates/{one}/action", {"add_host": {"host": "one"}}, who="admin").status for one in numbers]
    assert answers == [200, 409]
    assert compute.call("POST", "/os-aggregates", {"aggregate": {"name": "z1"}}, who="admin").status == 409
