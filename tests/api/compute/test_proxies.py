"""What compute once did for other services, for clients of old: images, security groups, networks, floating IPs, hosts."""

from typing import Any

from tests.api.compute.conftest import Compute
from tests.api.network.neutron import Neutron, outside

OLD = "2.35"


def old(compute: Compute, method: str, path: str, json: Any = None, who: str = "member", version: str = OLD) -> Any:
    return compute.call(method, path, json, who=who, version=version)


def test_images_are_shown_and_found_in_words_of_old(compute: Compute) -> None:
    (brief,) = old(compute, "GET", "/images").json["images"]
    assert (brief["id"], [link["rel"] for link in brief["links"]]) == (compute.image, ["self", "bookmark", "alternate"])
    image = old(compute, "GET", f"/images/{compute.image}").json["image"]
    assert (image["status"], image["progress"], image["metadata"]) == ("ACTIVE", 100, {"os_distro": "debian"})
    server = compute.running()
    made = compute.act(server, "createImage", {"name": "copy"}, version=OLD).headers["location"].rpartition("/")[2]
    (waiting,) = old(compute, "GET", f"/images/detail?server={server}&status=SAVING&type=snapshot").json["images"]
    assert (waiting["id"], waiting["server"]["id"]) == (made, server)
    assert old(compute, "GET", "/images?name=none").json["images"] == []
    page = old(compute, "GET", "/images?limit=1").json
    assert len(page["images"]) == 1 and "marker=" in page["images_links"][0]["href"]
    assert old(compute, "DELETE", f"/images/{made}").status == 204
    assert old(compute, "GET", f"/images/{made}").status == 404
    assert old(compute, "DELETE", f"/images/{compute.image}").status == 403
    assert old(compute, "DELETE", "/images/").status == 404


def test_an_images_metadata_is_its_properties(compute: Compute) -> None:
    server = compute.running()
    made = compute.act(server, "createImage", {"name": "copy"}, version=OLD).headers["location"].rpartition("/")[2]
    path = f"/images/{made}/metadata"
    assert old(compute, "PUT", path, {"metadata": {"a": "1"}}).json == {"metadata": {"a": "1"}}
    assert old(compute, "POST", path, {"metadata": {"b": "2"}}).json == {"metadata": {"a": "1", "b": "2"}}
    assert old(compute, "PUT", f"{path}/a", {"meta": {"a": "3"}}).json == {"meta": {"a": "3"}}
    assert old(compute, "DELETE", f"{path}/b").status == 204
    assert old(compute, "GET", path, version="2.38").json == {"metadata": {"a": "3"}}
    assert old(compute, "GET", f"{path}/b").status == 404


def test_security_groups_and_their_rules_are_the_networks(compute: Compute) -> None:
    body = {"security_group": {"name": " web ", "description": "in"}}
    group = old(compute, "POST", "/os-security-groups", body).json["security_group"]
    assert (group["name"], group["rules"]) == (" web ", [])
    wanted = {"parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "10.2.3.4/24"}
    rule = old(compute, "POST", "/os-security-group-rules", {"security_group_rule": wanted}).json["security_group_rule"]
    assert (rule["ip_range"], rule["group"], rule["from_port"]) == ({"cidr": "10.2.3.4/24"}, {}, 80)
    assert old(compute, "POST", "/os-security-group-rules", {"security_group_rule": wanted}).status == 400
    ping = {"parent_group_id": group["id"], "ip_protocol": "icmp", "from_port": -1, "to_port": -1, "group_id": group["id"]}
    peers = old(compute, "POST", "/os-security-group-rules", {"security_group_rule": ping}).json["security_group_rule"]
    assert (peers["group"]["name"], peers["from_port"], peers["ip_range"]) == (" web ", -1, {})
    kept = Neutron(compute.cloud).get(f"security-group-rules/{rule['id']}")
    assert (kept["remote_ip_prefix"], kept["normalized_cidr"]) == ("10.2.3.4/24", "10.2.3.0/24")
    shown = old(compute, "GET", f"/os-security-groups/{group['id']}").json["security_group"]
    assert {one["id"] for one in shown["rules"]} == {rule["id"], peers["id"]}
    assert old(compute, "DELETE", f"/os-security-group-rules/{rule['id']}").status == 202
    names = [one["name"] for one in old(compute, "GET", "/os-security-groups").json["security_groups"]]
    assert names == ["default", " web "]
    server = compute.running(security_groups=[{"name": group["id"]}])
    assert old(compute, "DELETE", f"/os-security-groups/{group['id']}").status == 400
    assert compute.show(server)["security_groups"] == [{"name": " web "}]
    renamed = {"security_group": {"name": "net", "description": "d"}}
    assert old(compute, "PUT", f"/os-security-groups/{group['id']}", renamed).json["security_group"]["name"] == "net"
    assert old(compute, "GET", f"/os-security-groups/{group['id']}", who="other_project_member").status == 404


def test_floating_ips_are_taken_pointed_and_given_back(compute: Compute) -> None:
    public = outside(compute.cloud)
    demo = Neutron(compute.cloud)
    subnet = demo.get(f"subnets?network_id={compute.network}")[0]
    router = demo.make("router", external_gateway_info={"network_id": public["id"]})
    assert demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}).status == 200
    server = compute.running()
    assert [one["name"] for one in old(compute, "GET", "/os-floating-ip-pools").json["floating_ip_pools"]] == ["public"]
    assert old(compute, "POST", "/os-floating-ips", {"pool": "none"}).status == 404
    floating = old(compute, "POST", "/os-floating-ips", {"pool": "public"}).json["floating_ip"]
    assert compute.act(server, "addFloatingIp", {"address": floating["ip"]}, version="2.43").status == 202
    shown = old(compute, "GET", f"/os-floating-ips/{floating['id']}").json["floating_ip"]
    assert (shown["instance_id"], shown["pool"]) == (server, "public")
    assert compute.act(server, "addFloatingIp", {"address": "9.9.9.9"}, version="2.43").status == 404
    assert compute.act(server, "removeFloatingIp", {"address": floating["ip"]}, version="2.43").status == 202
    assert compute.act(server, "removeFloatingIp", {"address": floating["ip"]}, version="2.43").status == 409
    assert old(compute, "DELETE", f"/os-floating-ips/{floating['id']}").status == 202
    assert old(compute, "GET", "/os-floating-ips").json == {"floating_ips": []}


def test_networks_are_an_id_and_a_name(compute: Compute) -> None:
    (found,) = old(compute, "GET", "/os-networks").json["networks"]
    assert (found["id"], found["label"], found["cidr"]) == (compute.network, "private", None)
    assert "project_id" in old(compute, "GET", f"/os-networks/{compute.network}", who="admin").json["network"]
    assert old(compute, "GET", f"/os-tenant-networks/{compute.network}").json["network"]["label"] == "private"
    assert old(compute, "GET", "/os-networks/none").status == 404


def test_hosts_are_listed_shown_and_disabled(compute: Compute) -> None:
    def ask(method: str, path: str, json: Any = None) -> Any:
        return old(compute, method, path, json, who="admin", version="2.42")

    assert ask("GET", "/os-hosts").json == {"hosts": [{"host_name": "one", "service": "compute", "zone": "nova"}]}
    assert ask("GET", "/os-hosts?zone=other").json == {"hosts": []}
    compute.running()
    rows = [one["resource"] for one in ask("GET", "/os-hosts/one").json["host"]]
    assert [(one["project"], one["cpu"]) for one in rows] == [("(total)", 8), ("(used_now)", 1), ("(used_max)", 1)]
    assert ask("PUT", "/os-hosts/one", {"status": "disable"}).json == {"host": "one", "status": "disabled"}
    assert [one["status"] for one in compute.call("GET", "/os-services", who="admin").json["services"]] == ["disabled"]
    assert ask("PUT", "/os-hosts/one", {}).status == 400
    assert ask("GET", "/os-hosts/one/reboot").status == 501
    assert ask("GET", "/os-hosts/none").status == 404
