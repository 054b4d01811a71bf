"""Quotas of the services by unified limits: what is registered counts, for a project and, where the model says so, for its domain."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pileus.model.limits import UnifiedLimits
from tests.api.compute.conftest import Compute
from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, OCTETS, active, create, upload

V3 = "/identity/v3"
FLAT = ("flat", "strict_two_level")
MIB = 1 << 20


@contextlib.contextmanager
def opened(*services: Any, model: str = "flat", **more: Any) -> Iterator[TestCloud]:
    """A cloud whose services charge unified limits."""
    made = TestCloud(limit_model=model, unified_limits=UnifiedLimits(services=services, **more))
    try:
        yield made
    finally:
        made.close()


def service_id(cloud: TestCloud, service: str) -> str:
    found = cloud.call("GET", f"{V3}/services?type={service}", token="admin").json["services"]
    return str(found[0]["id"])


def called(name: str) -> str:
    return name.replace("class_", "class:")


def register(cloud: TestCloud, service: str = "compute", region: str | None = None, **limits: int) -> None:
    body = [
        {
            "service_id": service_id(cloud, service),
            "region_id": region,
            "resource_name": name.replace("class_", "class:"),
            "default_limit": one,
        }
        for name, one in limits.items()
    ]
    answer = cloud.call("POST", f"{V3}/registered_limits", token="admin", json={"registered_limits": body})
    assert answer.status == 201, answer


def limit(cloud: TestCloud, amount: int, name: str, service: str = "compute", **whose: str) -> None:
    body = [{"service_id": service_id(cloud, service), "resource_name": called(name), "resource_limit": amount, **whose}]
    answer = cloud.call("POST", f"{V3}/limits", token="admin", json={"limits": body})
    assert answer.status == 201, answer


def ask(compute: Compute, who: str = "member", **fields: Any) -> Answer:
    body = {"name": "s", "imageRef": compute.image, "flavorRef": "1", "networks": "none", **fields}
    return compute.call("POST", "/servers", {"server": body}, who=who)


def message(answer: Answer) -> str:
    return str(next(iter(answer.json.values()))["message"])


@pytest.mark.parametrize("model", FLAT)
def test_a_registered_limit_of_servers_counts(model: str) -> None:
    with opened("compute", model=model) as cloud:
        compute = Compute(cloud)
        register(cloud, servers=2)
        assert [ask(compute).status for _ in range(3)] == [202, 202, 403]
        assert message(ask(compute)) == (
            f"Project {cloud.project_id()} is over a limit for [Resource servers is over limit of 2 due to current usage 2 and delta 1]"
        )


def test_a_projects_limit_goes_before_the_registered_one() -> None:
    with opened("compute") as cloud:
        compute = Compute(cloud)
        register(cloud, servers=0, class_VCPU=100, class_MEMORY_MB=1024)
        limit(cloud, 5, "servers", project_id=cloud.project_id())
        assert [ask(compute).status for _ in range(3)] == [202, 202, 403]
        assert "Resource class:MEMORY_MB is over limit of 1024 due to current usage 1024 and delta 512" in message(ask(compute))
        assert ask(compute, who="other_project_member").status == 403


def test_what_nobody_has_registered_is_denied_or_free_as_the_strategy_says() -> None:
    with opened("compute") as cloud:
        assert ask(Compute(cloud)).status == 403, "servers must be registered"
    with opened("compute", resources=("class:VCPU",)) as cloud:
        compute = Compute(cloud)
        assert "class:VCPU is over limit of 0" in message(ask(compute))
    with opened("compute", strategy="ignore", resources=("servers", "class:VCPU", "class:MEMORY_MB", "class:DISK_GB")) as cloud:
        compute = Compute(cloud)
        assert ask(compute).status == 202, "what is ignored is not limited"
        assert compute.call("POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "affinity"}}).status == 403


def test_a_limit_of_our_region_counts_and_one_of_another_does_not() -> None:
    with opened("compute") as cloud:
        compute = Compute(cloud)
        cloud.call("POST", f"{V3}/regions", token="admin", json={"region": {"id": "Elsewhere"}})
        register(cloud, servers=50)
        register(cloud, region="Elsewhere", servers=0)
        assert ask(compute).status == 202
        register(cloud, region="RegionOne", servers=1)
        assert ask(compute).status == 403


def test_a_domain_bounds_what_its_projects_use_together_when_the_model_is_strict() -> None:
    with opened("compute", model="strict_two_level") as cloud:
        compute = Compute(cloud)
        register(cloud, servers=3)
        assert [ask(compute, who=who).status for who in ("member", "member", "other_project_member")] == [202] * 3
        refused = ask(compute, who="other_project_member")
        assert refused.status == 403 and "over limit of 3 due to current usage 3 and delta 1" in message(refused)
        limit(cloud, 4, "servers", domain_id="default")
        assert [ask(compute, who=who).status for who in ("other_project_member", "member")] == [202, 403]
    with opened("compute", model="flat") as cloud:
        compute = Compute(cloud)
        register(cloud, servers=3)
        limit(cloud, 1, "servers", domain_id="default")
        assert [ask(compute, who=who).status for who in ("member", "member", "member", "other_project_member")] == [202] * 4


@pytest.mark.parametrize("model", FLAT)
def test_of_two_creations_at_the_limit_one_succeeds(model: str) -> None:
    with opened("compute", model=model) as cloud:
        compute = Compute(cloud)
        register(cloud, servers=1)
        token, body = cloud.token("member"), {"server": {"name": "s", "imageRef": compute.image, "flavorRef": "1", "networks": "none"}}
        headers = {
            "openstack-api-version": "compute 2.104",
            "host": "cloud.test",
            "x-auth-token": token,
            "content-type": "application/json",
        }

        async def both() -> list[int]:
            from pileus.api.request import encode

            calls = [cloud._call("POST", "/compute/v2.1/servers", headers, encode(body)) for _ in range(4)]
            return sorted(one.status for one in await asyncio.gather(*calls))

        assert cloud.run(both()) == [202, 403, 403, 403]


def test_the_quota_api_shows_unified_limits_and_changes_nothing() -> None:
    with opened("compute") as cloud:
        compute = Compute(cloud)
        project = cloud.project_id()
        register(cloud, servers=7, class_VCPU=9, server_metadata_items=2, server_key_pairs=1)
        limit(cloud, 3, "servers", project_id=project)
        ask(compute)
        shown = compute.call("GET", f"/os-quota-sets/{project}").json["quota_set"]
        assert (shown["instances"], shown["cores"], shown["metadata_items"], shown["ram"]) == (3, 9, 2, -1)
        assert compute.call("GET", f"/os-quota-sets/{project}/defaults").json["quota_set"]["instances"] == 7
        assert compute.call("GET", "/limits").json["limits"]["absolute"]["maxTotalInstances"] == 3
        detail = compute.call("GET", f"/os-quota-sets/{project}/detail").json["quota_set"]["instances"]
        assert detail == {"limit": 3, "in_use": 1, "reserved": 0}
        changed = compute.call("PUT", f"/os-quota-sets/{project}", {"quota_set": {"instances": 50}}, who="admin")
        assert changed.status == 200 and changed.json["quota_set"]["instances"] == 3
        changed = compute.call("PUT", "/os-quota-class-sets/default", {"quota_class_set": {"instances": 50}}, who="admin")
        assert changed.json["quota_class_set"]["instances"] == 7
        assert compute.call("DELETE", f"/os-quota-sets/{project}", who="admin").status == 202
        assert cloud.run(cloud.db.all("SELECT * FROM quotas")) == []


def test_limits_of_one_request_and_of_a_user_count_too() -> None:
    with opened("compute") as cloud:
        compute = Compute(cloud)
        register(
            cloud, servers=7, server_metadata_items=1, server_key_pairs=1, server_groups=1, server_group_members=1, server_injected_files=0
        )
        assert ask(compute, metadata={"a": "1", "b": "2"}).status == 403
        server = ask(compute, metadata={"a": "1"}).json["server"]["id"]
        assert compute.call("POST", f"/servers/{server}/metadata", {"metadata": {"b": "2"}}).status == 403
        key = {"keypair": {"name": "k", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}}
        assert compute.call("POST", "/os-keypairs", key).status == 201
        key["keypair"]["name"] = "l"
        assert compute.call("POST", "/os-keypairs", key).status == 403
        group = {"server_group": {"name": "g", "policy": "affinity"}}
        made = compute.call("POST", "/os-server-groups", group)
        assert made.status == 200 and compute.call("POST", "/os-server-groups", group).status == 403
        asked = {"name": "s", "imageRef": compute.image, "flavorRef": "1", "networks": "none", "max_count": 2, "min_count": 2}
        hint = {"group": made.json["server_group"]["id"]}
        assert compute.call("POST", "/servers", {"server": asked, "os:scheduler_hints": hint}).status == 403
        file = {"name": "s", "imageRef": compute.image, "flavorRef": "1", "personality": [{"path": "/a", "contents": "YQ=="}]}
        assert compute.call("POST", "/servers", {"server": file}, version="2.1").status == 403


def test_a_resize_is_held_against_unified_limits() -> None:
    with opened("compute") as cloud:
        compute = Compute(cloud)
        register(cloud, servers=7, class_MEMORY_MB=2000)
        server = compute.running(networks="none")
        refused = compute.act(server, "resize", {"flavorRef": "2"})
        assert refused.status == 403 and "Resource class:MEMORY_MB is over limit of 2000" in message(refused)


def test_any_resource_class_of_flavors_may_have_a_limit() -> None:
    with opened("compute", model="strict_two_level") as cloud:
        compute = Compute(cloud)
        register(cloud, servers=9, class_DISK_GB=21, class_CUSTOM_GOLD=1)
        server = compute.running(networks="none")
        assert ask(compute).status == 202
        assert "class:DISK_GB is over limit of 21 due to current usage 2 and delta 40" in message(ask(compute, flavorRef="2", min_count=2))
        refused = ask(compute, flavorRef="2", who="other_project_member")
        assert "current usage 2 and delta 20" in message(refused), "of the domain's projects together"
        assert compute.act(server, "resize", {"flavorRef": "2"}).status == 202, "19 more"
        specs = {"extra_specs": {"resources:CUSTOM_GOLD": "1"}}
        assert compute.call("POST", "/flavors/1/os-extra_specs", specs, who="admin").status == 200
        assert [ask(compute).status, ask(compute).status] == [202, 403]


IMAGE = {"image_count_total": 2, "image_count_uploading": 2, "image_size_total": 2, "image_stage_total": 2}


@pytest.mark.parametrize("model", FLAT)
def test_an_image_service_without_registered_limits_takes_nothing(model: str) -> None:
    body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    with opened("image", model=model) as cloud:
        assert cloud.call("POST", IMAGES, token="member", json=body).status == 413
        register(cloud, "image", **IMAGE)
        assert [cloud.call("POST", IMAGES, token="member", json=body).status for _ in range(3)] == [201, 201, 413]


def test_bytes_of_images_and_staged_bytes_count_apart() -> None:
    with opened("image") as cloud:
        register(cloud, "image", **{**IMAGE, "image_count_total": 9})
        active(cloud, data=b"x" * (MIB + 1))
        assert upload(cloud, create(cloud), b"x").status == 413, "two of two MiB are used"
        stage: Callable[[dict[str, Any], bytes], Answer] = lambda image, data: cloud.call(  # noqa: E731
            "PUT", f"{IMAGES}/{image['id']}/stage", token="member", content=data, headers=OCTETS
        )
        staged = create(cloud)
        assert stage(staged, b"x" * (2 * MIB)).status == 204
        assert stage(create(cloud), b"x").status == 413
        usage = cloud.call("GET", "/image/v2/info/usage", token="member").json["usage"]
        assert {name: one["usage"] for name, one in usage.items()} == {
            "image_count_total": 4, "image_count_uploading": 1, "image_size_total": 2, "image_stage_total": 2,
        }  # fmt: skip
        body = {"method": {"name": "glance-direct"}}
        assert cloud.call("POST", f"{IMAGES}/{staged['id']}/import", token="member", json=body).status == 413
        assert cloud.call("DELETE", f"{IMAGES}/{staged['id']}", token="member").status == 204
        assert stage(create(cloud), b"x").status == 204


def test_what_is_too_much_to_be_staged_leaves_nothing() -> None:
    with opened("image") as cloud:
        register(cloud, "image", **IMAGE)
        image = create(cloud)
        answer = cloud.call("PUT", f"{IMAGES}/{image['id']}/stage", token="member", content=b"x" * (2 * MIB + 1), headers=OCTETS)
        assert answer.status == 413 and "image_stage_total is over limit of 2" in answer.body.decode()
        assert list((cloud.cloud.images / ".staged").iterdir()) == []
        assert cloud.call("GET", f"{IMAGES}/{image['id']}", token="member").json["status"] == "queued"


def test_of_what_is_staged_in_parts_all_counts_from_the_first_part_on() -> None:
    with opened("image") as cloud:
        register(cloud, "image", **IMAGE)

        def part(image: dict[str, Any], first: int, last: int, total: int) -> int:
            span = {**OCTETS, "content-range": f"bytes {first}-{last - 1}/{total}"}
            path = f"{IMAGES}/{image['id']}/stage"
            return cloud.call("PUT", path, token="member", content=b"x" * (last - first), headers=span).status

        one, other = create(cloud), create(cloud)
        assert part(one, 0, MIB, 3 * MIB) == 413
        assert part(one, 0, MIB, 2 * MIB) == 204
        assert part(other, 0, 1, 1) == 413
        assert part(one, MIB, 2 * MIB, 2 * MIB) == 204, "its own bytes are not charged twice"
        assert cloud.call("DELETE", f"{IMAGES}/{one['id']}", token="member").status == 204
        assert part(other, 0, 1, 1) == 204


def test_the_network_service_charges_its_own_names() -> None:
    with opened("network") as cloud:
        make = lambda: cloud.call("POST", "/network/v2.0/networks", token="member", json={"network": {"name": "n"}})  # noqa: E731
        assert make().status == 409
        register(cloud, "network", network=1, subnet=-1, port=5)
        assert [make().status, make().status] == [201, 409]
        project = cloud.project_id()
        place = f"/network/v2.0/quotas/{project}"
        assert cloud.call("PUT", place, token="admin", json={"quota": {"network": 9}}).json["quota"]["network"] == 1
        assert cloud.call("GET", place, token="member").json["quota"]["network"] == 1
        assert cloud.call("DELETE", place, token="admin").status == 204


def test_services_that_are_not_named_keep_quotas_of_their_own() -> None:
    with opened("image") as cloud:
        compute = Compute(cloud)
        assert ask(compute).status == 202
        project = cloud.project_id()
        assert compute.call("PUT", f"/os-quota-sets/{project}", {"quota_set": {"instances": 1}}, who="admin").status == 200
        assert ask(compute).status == 403
