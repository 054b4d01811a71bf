"""Placement as a client sees it: providers, inventories, traits, allocations, candidates, and their older versions.

The released package's own tests judge the details: see tests/conformance/placement_gabbi.py.
"""

import uuid
from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud

NEWEST = "1.39"


def call(cloud: TestCloud, method: str, path: str, json: Any = None, version: str = NEWEST, token: str = "admin") -> Answer:
    return cloud.call(method, f"/placement{path}", token=token, json=json, headers={"OpenStack-API-Version": f"placement {version}"})


def provider(cloud: TestCloud, name: str = "", stock: dict[str, Any] | None = None, **more: Any) -> str:
    answer = call(cloud, "POST", "/resource_providers", {"name": name or str(uuid.uuid4()), **more})
    assert answer.status == 200, answer
    key = answer.json["uuid"]
    if stock:
        inventories = {kind: {"total": total} for kind, total in stock.items()}
        body = {"resource_provider_generation": 0, "inventories": inventories}
        assert call(cloud, "PUT", f"/resource_providers/{key}/inventories", body).status == 200
    return key


def allocate(cloud: TestCloud, consumer: str, key: str, resources: dict[str, int], generation: int | None = None) -> Answer:
    body = {
        "allocations": {key: {"resources": resources}},
        "project_id": cloud.project_id(),
        "user_id": "someone",
        "consumer_generation": generation,
        "consumer_type": "INSTANCE",
    }
    return call(cloud, "PUT", f"/allocations/{consumer}", body)


def code(answer: Answer) -> str:
    return answer.json["errors"][0]["code"]


def test_the_root_needs_no_token_and_says_which_versions_there_are(cloud: TestCloud) -> None:
    for path in ("/placement", "/placement/"):
        answer = cloud.call("GET", path)
        assert answer.status == 200 and answer.headers["openstack-api-version"] == "placement 1.0"
        assert answer.json["versions"][0]["max_version"] == NEWEST
    assert cloud.call("GET", "/placement/", headers={"OpenStack-API-Version": "placement latest"}).headers["cache-control"] == "no-cache"


def test_a_version_that_is_not_there_is_refused_with_the_range(cloud: TestCloud) -> None:
    answer = call(cloud, "GET", "/resource_providers", version="1.99")
    assert answer.status == 406
    assert (answer.json["errors"][0]["min_version"], answer.json["errors"][0]["max_version"]) == ("1.0", NEWEST)


def test_a_provider_lives_through_create_show_rename_and_delete(cloud: TestCloud) -> None:
    key = provider(cloud, "rack1")
    shown = call(cloud, "GET", f"/resource_providers/{key}")
    assert shown.json["name"] == "rack1" and shown.json["root_provider_uuid"] == key and "last-modified" in shown.headers
    assert [link["rel"] for link in shown.json["links"]] == ["self", "inventories", "usages", "aggregates", "traits", "allocations"]
    assert call(cloud, "PUT", f"/resource_providers/{key}", {"name": "rack2"}).json["name"] == "rack2"
    again = call(cloud, "POST", "/resource_providers", {"name": "rack2"})
    assert again.status == 409 and code(again) == "placement.duplicate_name"
    assert call(cloud, "DELETE", f"/resource_providers/{key}").status == 204
    gone = call(cloud, "GET", f"/resource_providers/{key}")
    assert gone.status == 404 and code(gone) == "placement.resource_provider.not_found"


def test_older_versions_show_and_accept_less(cloud: TestCloud) -> None:
    made = call(cloud, "POST", "/resource_providers", {"name": "old"}, version="1.0")
    assert made.status == 201 and made.body == b"" and "last-modified" not in made.headers
    key = made.headers["location"].rpartition("/")[2]
    shown = call(cloud, "GET", f"/resource_providers/{key}", version="1.0").json
    assert shown.keys() == {"uuid", "name", "generation", "links"}
    assert [link["rel"] for link in shown["links"]] == ["self", "inventories", "usages"]
    assert call(cloud, "GET", "/traits", version="1.5").status == 404
    assert call(cloud, "DELETE", f"/resource_providers/{key}/inventories", version="1.4").status == 405
    refused = call(cloud, "GET", "/resource_providers?in_tree=" + key, version="1.13")
    assert refused.status == 400 and "in_tree" in refused.json["errors"][0]["detail"] and "code" not in refused.json["errors"][0]
    assert call(cloud, "POST", "/resource_providers", {"name": "child", "parent_provider_uuid": key}, version="1.13").status == 400


def test_inventories_are_guarded_by_the_generation_and_by_their_use(cloud: TestCloud) -> None:
    key = provider(cloud, stock={"VCPU": 8, "DISK_GB": 100})
    stale = call(cloud, "PUT", f"/resource_providers/{key}/inventories", {"resource_provider_generation": 0, "inventories": {}})
    assert stale.status == 409 and code(stale) == "placement.concurrent_update"
    assert allocate(cloud, str(uuid.uuid4()), key, {"VCPU": 2}).status == 204
    used = call(cloud, "DELETE", f"/resource_providers/{key}/inventories")
    assert used.status == 409 and code(used) == "placement.inventory.inuse"
    assert call(cloud, "DELETE", f"/resource_providers/{key}/inventories/DISK_GB").status == 204
    body = {"total": 4, "allocation_ratio": 16.0, "resource_provider_generation": 3}
    assert call(cloud, "PUT", f"/resource_providers/{key}/inventories/VCPU", body).json["resource_provider_generation"] == 4
    assert call(cloud, "GET", f"/resource_providers/{key}/usages").json["usages"] == {"VCPU": 2}


@pytest.mark.parametrize(
    ("inventory", "word"),
    [({"total": 0}, "total"), ({"total": 4, "reserved": 5}, "reserved"), ({"total": 4, "colour": 1}, "colour"), ({}, "total")],
)
def test_an_inventory_that_makes_no_sense_is_refused_naming_the_field(cloud: TestCloud, inventory: dict[str, Any], word: str) -> None:
    key = provider(cloud)
    body = {"resource_provider_generation": 0, "inventories": {"VCPU": inventory}}
    refused = call(cloud, "PUT", f"/resource_providers/{key}/inventories", body)
    assert refused.status == 400 and word in refused.json["errors"][0]["detail"]


def test_traits_are_made_given_filtered_and_removed(cloud: TestCloud) -> None:
    key = provider(cloud)
    assert call(cloud, "PUT", "/traits/CUSTOM_RED").status == 201
    assert call(cloud, "PUT", "/traits/CUSTOM_RED").status == 204
    assert call(cloud, "PUT", "/traits/RED").status == 400
    body = {"traits": ["CUSTOM_RED", "HW_CPU_X86_AVX"], "resource_provider_generation": 0}
    assert call(cloud, "PUT", f"/resource_providers/{key}/traits", body).json["resource_provider_generation"] == 1
    assert call(cloud, "GET", "/traits?name=startswith:CUSTOM").json == {"traits": ["CUSTOM_RED"]}
    assert call(cloud, "GET", "/traits?associated=true").json == {"traits": ["HW_CPU_X86_AVX", "CUSTOM_RED"]}
    for query, found in (("CUSTOM_RED,!HW_CPU_X86_SSE", 1), ("!CUSTOM_RED", 0), ("in:HW_CPU_X86_SSE,CUSTOM_RED", 1)):
        assert len(call(cloud, "GET", f"/resource_providers?required={query}").json["resource_providers"]) == found
    assert call(cloud, "DELETE", "/traits/CUSTOM_RED").status == 409
    assert call(cloud, "DELETE", f"/resource_providers/{key}/traits").status == 204
    assert call(cloud, "DELETE", "/traits/CUSTOM_RED").status == 204
    assert call(cloud, "DELETE", "/traits/HW_CPU_X86_AVX").status == 400


def test_aggregates_and_resource_classes(cloud: TestCloud) -> None:
    key, group = provider(cloud, stock={"VCPU": 1}), str(uuid.uuid4())
    body = {"aggregates": [group], "resource_provider_generation": 1}
    assert call(cloud, "PUT", f"/resource_providers/{key}/aggregates", body).json["aggregates"] == [group]
    assert call(cloud, "PUT", f"/resource_providers/{key}/aggregates", [group], version="1.18").json == {"aggregates": [group]}
    for kind, wanted in (("aggregates", [group]), ("traits", [])):
        body = {kind: wanted, "resource_provider_generation": 99999}
        late = call(cloud, "PUT", f"/resource_providers/{key}/{kind}", body)
        assert (late.status, late.json["errors"][0]["code"]) == (409, "placement.concurrent_update")
        assert "update the generation and try again" in late.json["errors"][0]["detail"]
    assert len(call(cloud, "GET", f"/resource_providers?member_of={group}").json["resource_providers"]) == 1
    assert len(call(cloud, "GET", f"/resource_providers?member_of=!{group}").json["resource_providers"]) == 0
    assert call(cloud, "POST", "/resource_classes", {"name": "CUSTOM_GOLD"}).status == 201
    assert call(cloud, "PUT", "/resource_classes/CUSTOM_GOLD").status == 204
    assert call(cloud, "PUT", "/resource_classes/CUSTOM_GOLD", {"name": "CUSTOM_TIN"}, version="1.6").json["name"] == "CUSTOM_TIN"
    assert call(cloud, "DELETE", "/resource_classes/CUSTOM_TIN").status == 204
    assert call(cloud, "DELETE", "/resource_classes/VCPU").status == 400


def test_allocations_are_replaced_only_by_who_has_seen_them(cloud: TestCloud) -> None:
    key, consumer = provider(cloud, stock={"VCPU": 8}), str(uuid.uuid4())
    assert allocate(cloud, consumer, key, {"VCPU": 3}).status == 204
    lost = allocate(cloud, consumer, key, {"VCPU": 4})
    assert lost.status == 409 and code(lost) == "placement.concurrent_update"
    shown = call(cloud, "GET", f"/allocations/{consumer}").json
    assert shown["allocations"] == {key: {"generation": 2, "resources": {"VCPU": 3}}}
    assert (shown["consumer_generation"], shown["consumer_type"]) == (1, "INSTANCE")
    assert allocate(cloud, consumer, key, {"VCPU": 9}, 1).status == 409
    assert allocate(cloud, consumer, key, {"VCPU": 8}, 1).status == 204
    old = call(cloud, "GET", f"/allocations/{consumer}", version="1.11").json
    assert old == {"allocations": {key: {"generation": 3, "resources": {"VCPU": 8}}}}
    assert call(cloud, "GET", f"/resource_providers/{key}/allocations").json["allocations"][consumer]["consumer_generation"] == 2
    assert call(cloud, "DELETE", f"/allocations/{consumer}").status == 204
    assert call(cloud, "DELETE", f"/allocations/{consumer}").status == 404
    assert call(cloud, "GET", f"/resource_providers/{key}/usages").json["usages"] == {"VCPU": 0}


def test_the_first_form_of_allocations_still_works(cloud: TestCloud) -> None:
    key, consumer = provider(cloud, stock={"VCPU": 8}), str(uuid.uuid4())
    body = {"allocations": [{"resource_provider": {"uuid": key}, "resources": {"VCPU": 1}}]}
    assert call(cloud, "PUT", f"/allocations/{consumer}", body, version="1.0").status == 204
    assert call(cloud, "GET", f"/allocations/{consumer}").json["consumer_type"] == "unknown"
    assert call(cloud, "PUT", f"/allocations/{consumer}", body).status == 400


def test_many_consumers_change_together_or_not_at_all(cloud: TestCloud) -> None:
    key, first, second = provider(cloud, stock={"VCPU": 4}), str(uuid.uuid4()), str(uuid.uuid4())

    def change(amount: int) -> dict[str, Any]:
        return {
            one: {
                "allocations": {key: {"resources": {"VCPU": amount}}},
                "project_id": "p",
                "user_id": "u",
                "consumer_generation": None,
                "consumer_type": "INSTANCE",
            }
            for one in (first, second)
        }

    assert call(cloud, "POST", "/allocations", change(3)).status == 409
    assert call(cloud, "GET", f"/allocations/{first}").json == {"allocations": {}}
    assert call(cloud, "POST", "/allocations", change(2)).status == 204
    assert call(cloud, "GET", f"/resource_providers/{key}/usages").json["usages"] == {"VCPU": 4}
    assert call(cloud, "GET", "/usages?project_id=p").json == {"usages": {"INSTANCE": {"consumer_count": 2, "VCPU": 4}}}
    assert call(cloud, "GET", "/usages?project_id=p", version="1.37").json == {"usages": {"VCPU": 4}}


def test_a_reader_sees_the_usage_of_its_own_project_and_nothing_else(cloud: TestCloud) -> None:
    key = provider(cloud, stock={"VCPU": 4})
    assert allocate(cloud, str(uuid.uuid4()), key, {"VCPU": 1}).status == 204
    seen = call(cloud, "GET", f"/usages?project_id={cloud.project_id()}", token="reader")
    assert seen.json == {"usages": {"INSTANCE": {"consumer_count": 1, "VCPU": 1}}}
    assert call(cloud, "GET", "/usages?project_id=another", token="reader").status == 403
    assert call(cloud, "GET", "/resource_providers", token="reader").status == 403
    service = cloud.token("member", roles={"service"})
    assert call(cloud, "GET", "/resource_providers", token=service).status == 200


def test_candidates_fit_and_are_ready_to_be_allocated(cloud: TestCloud) -> None:
    small, large = provider(cloud, stock={"VCPU": 2}), provider(cloud, stock={"VCPU": 8, "MEMORY_MB": 1024})
    found = call(cloud, "GET", "/allocation_candidates?resources=VCPU:4").json
    assert found["allocation_requests"] == [{"allocations": {large: {"resources": {"VCPU": 4}}}, "mappings": {"": [large]}}]
    assert found["provider_summaries"][large]["resources"]["MEMORY_MB"] == {"capacity": 1024, "used": 0}
    assert len(call(cloud, "GET", "/allocation_candidates?resources=VCPU:1").json["allocation_requests"]) == 2
    assert len(call(cloud, "GET", "/allocation_candidates?resources=VCPU:1&limit=1").json["provider_summaries"]) == 1
    old = call(cloud, "GET", "/allocation_candidates?resources=VCPU:4", version="1.10").json
    assert old["allocation_requests"] == [{"allocations": [{"resource_provider": {"uuid": large}, "resources": {"VCPU": 4}}]}]
    assert old["provider_summaries"] == {large: {"resources": {"VCPU": {"capacity": 8, "used": 0}}}}
    allocations = found["allocation_requests"][0]["allocations"]
    assert allocate(cloud, str(uuid.uuid4()), large, allocations[large]["resources"]).status == 204
    left = call(cloud, "GET", "/allocation_candidates?resources=VCPU:5").json
    assert left == {"allocation_requests": [], "provider_summaries": {}} and small != large


def test_every_version_says_the_same_of_a_provider_after_each_change(cloud: TestCloud) -> None:
    first, second = (provider(cloud, name, {"VCPU": 8, "DISK_GB": 10}) for name in ("one", "two"))
    assert call(cloud, "PUT", "/traits/CUSTOM_FAST").status == 201

    def summaries(version: str) -> dict[str, Any]:
        return call(cloud, "GET", "/allocation_candidates?resources=VCPU:1", version=version).json["provider_summaries"]

    def traits(names: list[str], generation: int) -> None:
        body = {"traits": names, "resource_provider_generation": generation}
        assert call(cloud, "PUT", f"/resource_providers/{first}/traits", body).status == 200

    def free(total: int, generation: int) -> None:
        body = {"total": total, "resource_provider_generation": generation}
        assert call(cloud, "PUT", f"/resource_providers/{second}/inventories/VCPU", body).status == 200

    for do in (
        lambda: None,
        lambda: traits(["CUSTOM_FAST"], 1),
        lambda: allocate(cloud, str(uuid.uuid4()), second, {"VCPU": 3}),
        lambda: free(16, 2),
        lambda: traits([], 2),
    ):
        do()
        newest, older = summaries(NEWEST), summaries("1.33")
        assert list(newest) == list(older) == [first, second] and newest == older
    assert newest[second] == {
        "resources": {"VCPU": {"capacity": 16, "used": 3}, "DISK_GB": {"capacity": 10, "used": 0}},
        "traits": [],
        "parent_provider_uuid": None,
        "root_provider_uuid": second,
    }
    allocate(cloud, str(uuid.uuid4()), second, {"VCPU": 13})
    assert list(summaries(NEWEST)) == list(summaries("1.33")) == [first]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "There must be at least one"),
        ("resources=VCPU", "Badly formed"),
        ("resources=VCPU:0", "amount >= 1"),
        ("resources=CUSTOM_NO:1", "No such resource class CUSTOM_NO"),
        ("resources=VCPU:1&required=NO_SUCH", "No such trait(s): NO_SUCH"),
        ("resources=VCPU:1&limit=0", "limit|[1-9]"),
        ("resources1=VCPU:1&resources2=VCPU:1", "group_policy"),
        ("resources=VCPU:1&colour=red", "colour"),
        ("resources=VCPU:1&member_of=rack", "valid UUID"),
        ("resources=VCPU:1&required=HW_CPU_X86_AVX,!HW_CPU_X86_AVX", "Conflicting"),
    ],
)
def test_a_query_that_is_not_well_said_is_refused_with_the_reason(cloud: TestCloud, query: str, words: str) -> None:
    refused = call(cloud, "GET", f"/allocation_candidates?{query}")
    assert refused.status == 400 and any(word in refused.json["errors"][0]["detail"] for word in words.split("|"))


def test_a_reshape_moves_inventory_with_what_is_allocated_of_it(cloud: TestCloud) -> None:
    parent, consumer = provider(cloud, stock={"VCPU": 4, "DISK_GB": 10}), str(uuid.uuid4())
    child = provider(cloud, parent_provider_uuid=parent)
    assert allocate(cloud, consumer, parent, {"VCPU": 2}).status == 204
    body = {
        "inventories": {
            parent: {"resource_provider_generation": 2, "inventories": {"DISK_GB": {"total": 10}}},
            child: {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 4}}},
        },
        "allocations": {
            consumer: {
                "allocations": {child: {"resources": {"VCPU": 2}}},
                "project_id": cloud.project_id(),
                "user_id": "someone",
                "consumer_generation": 1,
                "consumer_type": "INSTANCE",
            }
        },
    }
    service = cloud.token("member", roles={"service"})
    assert call(cloud, "POST", "/reshaper", body).status == 403
    assert call(cloud, "POST", "/reshaper", {**body, "allocations": {}}, token=service).status == 409
    assert call(cloud, "POST", "/reshaper", body, token=service).status == 204
    assert call(cloud, "GET", f"/resource_providers/{child}/usages").json["usages"] == {"VCPU": 2}
    assert call(cloud, "GET", f"/resource_providers/{parent}/usages").json["usages"] == {"DISK_GB": 0}


def test_a_repeated_post_with_a_key_makes_one_provider(cloud: TestCloud) -> None:
    headers = {"OpenStack-API-Version": f"placement {NEWEST}", "Idempotency-Key": "one"}
    token = cloud.token("admin")
    first, second = (
        cloud.call("POST", "/placement/resource_providers", token=token, json={"name": "x"}, headers=headers) for _ in range(2)
    )
    assert first.status == second.status == 200 and first.json["uuid"] == second.json["uuid"]
