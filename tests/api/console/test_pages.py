"""The pages of the consoles and what they load."""

import re

import pytest

from tests.api.harness import TestCloud


@pytest.mark.parametrize("kind", ["vnc", "serial"])
def test_a_page_and_all_that_it_names_is_served(shared_cloud: TestCloud, kind: str) -> None:
    page = shared_cloud.call("GET", f"/console/{kind}?token=anything")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["referrer-policy"] == "no-referrer"
    named = re.findall(r'(?:src|href)="(/console/[^"]+)"', page.body.decode())
    assert any(one.endswith(".js") for one in named)
    for one in named:
        assert shared_cloud.call("GET", one).status == 200


def test_nothing_else_is_served(shared_cloud: TestCloud) -> None:
    for name in ("routes.py", "..", "%2e%2e%2froutes.py", "missing.js"):
        assert shared_cloud.call("GET", f"/console/static/{name}").status == 404


def test_the_pages_are_not_in_the_catalog(shared_cloud: TestCloud) -> None:
    catalog = shared_cloud.call("GET", "/identity/v3/auth/catalog", token=shared_cloud.token("member")).json["catalog"]
    assert "console" not in {one["name"] for one in catalog}
