"""The official client with its placement plug-in."""

import importlib.util

import pytest

from tests.api.harness import TestCloud

pytestmark = pytest.mark.skipif(importlib.util.find_spec("osc_placement") is None, reason="osc-placement is not installed")


def test_the_plug_in_makes_fills_and_searches_providers(cloud: TestCloud) -> None:
    def run(*words: str, json: bool = True) -> object:
        more = ("-f", "json") if json else ()
        return cloud.openstack("--os-placement-api-version", "1.39", *words, *more, user="admin", project="admin")

    made = run("resource", "provider", "create", "rack1")
    key = made["uuid"]  # type: ignore[index]
    run("resource", "provider", "inventory", "set", key, "--resource", "VCPU=8", "--resource", "MEMORY_MB=1024")
    run("trait", "create", "CUSTOM_RED", json=False)
    run("resource", "provider", "trait", "set", key, "--trait", "CUSTOM_RED")
    found = run("allocation", "candidate", "list", "--resource", "VCPU=4", "--required", "CUSTOM_RED")
    assert [row["resource provider"] for row in found] == [key]  # type: ignore[union-attr]
    assert [row["name"] for row in run("resource", "provider", "list")] == ["rack1"]  # type: ignore[union-attr]
    run("resource", "provider", "delete", key, json=False)
