"""Keypairs: import, generate, quota, other users."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from pileus.store import quotas
from tests.api.compute.conftest import Compute


def public_key() -> str:
    """A new key."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def test_an_imported_key_has_the_fingerprint_of_its_blob(compute: Compute) -> None:
    key = public_key()
    made = compute.call("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": f"{key} me@here"}})
    assert made.status == 201
    digest = hashlib.md5(base64.b64decode(key.split()[1])).hexdigest()
    assert made.json["keypair"]["fingerprint"].replace(":", "") == digest
    assert "private_key" not in made.json["keypair"]
    assert compute.call("GET", "/os-keypairs/mine").json["keypair"]["public_key"] == f"{key} me@here"
    assert compute.call("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": key}}).status == 409
    assert compute.call("DELETE", "/os-keypairs/mine").status == 204
    assert compute.call("GET", "/os-keypairs/mine").status == 404


@pytest.mark.parametrize("key", ["", "nonsense", "ssh-rsa !!!", "ssh-rsa AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-ed25519"])
def test_what_is_no_public_key_is_refused(compute: Compute, key: str) -> None:
    answer = compute.call("POST", "/os-keypairs", {"keypair": {"name": "bad", "public_key": key}})
    assert answer.status == 400
    assert "Keypair data is invalid" in answer.json["badRequest"]["message"]


def test_a_key_of_another_type_than_it_says_is_refused(compute: Compute) -> None:
    key = public_key().replace("ssh-ed25519", "ssh-rsa")
    assert compute.call("POST", "/os-keypairs", {"keypair": {"name": "bad", "public_key": key}}).status == 400


def test_the_newest_version_makes_no_keys_and_older_ones_do(compute: Compute) -> None:
    refused = compute.call("POST", "/os-keypairs", {"keypair": {"name": "made"}})
    assert refused.status == 400
    assert "public_key" in refused.json["badRequest"]["message"]
    made = compute.call("POST", "/os-keypairs", {"keypair": {"name": "made"}}, version="2.91")
    assert made.status == 201
    private = serialization.load_pem_private_key(made.json["keypair"]["private_key"].encode(), None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    assert made.json["keypair"]["public_key"].startswith(public)
    certificate = compute.call("POST", "/os-keypairs", {"keypair": {"name": "x", "type": "x509"}}, version="2.2").json["keypair"]
    assert certificate["public_key"].startswith("-----BEGIN CERTIFICATE-----")


def test_names_may_have_dots_since_2_92(compute: Compute) -> None:
    body = {"keypair": {"name": "me@here.org", "public_key": public_key()}}
    assert compute.call("POST", "/os-keypairs", body, version="2.91").status == 400
    assert compute.call("POST", "/os-keypairs", body).status == 201


def test_status_codes_and_type_came_with_2_2(compute: Compute) -> None:
    made = compute.call("POST", "/os-keypairs", {"keypair": {"name": "old", "public_key": public_key()}}, version="2.1")
    assert made.status == 200
    assert "type" not in made.json["keypair"]
    assert compute.call("POST", "/os-keypairs", {"keypair": {"name": "o", "type": "ssh"}}, version="2.1").status == 400
    assert compute.call("DELETE", "/os-keypairs/old", version="2.1").status == 202


def test_lists_are_paged_by_name(compute: Compute) -> None:
    for name in ("b", "a", "c"):
        compute.call("POST", "/os-keypairs", {"keypair": {"name": name, "public_key": public_key()}})
    page = compute.call("GET", "/os-keypairs?limit=2").json
    assert [one["keypair"]["name"] for one in page["keypairs"]] == ["a", "b"]
    assert "marker=b" in page["keypairs_links"][0]["href"]
    assert [one["keypair"]["name"] for one in compute.call("GET", "/os-keypairs?marker=b").json["keypairs"]] == ["c"]


def test_keys_belong_to_users_and_administrators_reach_them(compute: Compute) -> None:
    compute.call("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": public_key()}})
    assert compute.call("GET", "/os-keypairs/mine", who="manager").status == 404
    user = compute.cloud.user_id("member")
    assert compute.call("GET", f"/os-keypairs/mine?user_id={user}", who="manager").status == 403
    assert compute.call("GET", f"/os-keypairs/mine?user_id={user}", who="admin").status == 200
    body = {"keypair": {"name": "gift", "public_key": public_key(), "user_id": user}}
    assert compute.call("POST", "/os-keypairs", body, who="manager").status == 403
    assert compute.call("POST", "/os-keypairs", body, who="admin").status == 201
    assert compute.call("GET", "/os-keypairs/gift").status == 200


def test_a_user_has_as_many_as_the_quota_says(compute: Compute) -> None:
    project = compute.cloud.project_id()
    compute.cloud.write(lambda tx: quotas.set_limits(tx, project, {"key_pairs": 1}))
    assert compute.call("POST", "/os-keypairs", {"keypair": {"name": "a", "public_key": public_key()}}).status == 201
    over = compute.call("POST", "/os-keypairs", {"keypair": {"name": "b", "public_key": public_key()}})
    assert over.status == 403
    assert over.json["forbidden"]["message"] == "Quota exceeded, too many key pairs."
