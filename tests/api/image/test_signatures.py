"""A signed image is taken only when its content is what was signed, by a certificate that operators trust."""

import base64
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, create, files, show, upload
from tests.api.image.test_unpacking import imported

ID = str(uuid.UUID(int=7))
DATA = b"content" * 1000
Key = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey
RSA = rsa.generate_private_key(65537, 2048)
DSA = dsa.generate_private_key(2048)


def certified(cloud: TestCloud, key: Key, days: int = 1) -> None:
    """Have operators trust a key, until some day."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "owner")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = builder.not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days)).sign(key, hashes.SHA256())
    folder = cloud.cloud.images / ".certificates"
    folder.mkdir(parents=True)
    (folder / f"{ID}.pem").write_bytes(made.public_bytes(Encoding.PEM))


def properties(signature: bytes, kind: str = "RSA-PSS", method: str = "SHA-256") -> dict[str, Any]:
    return {
        "img_signature": base64.b64encode(signature).decode(),
        "img_signature_hash_method": method,
        "img_signature_key_type": kind,
        "img_signature_certificate_uuid": ID,
    }


def by_rsa(data: bytes = DATA) -> bytes:
    return RSA.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), hashes.SHA256())


@pytest.mark.parametrize("method", ["SHA-224", "SHA-256", "SHA-384", "SHA-512"])
def test_a_signature_by_rsa_is_verified_with_each_hash(method: str, cloud: TestCloud) -> None:
    certified(cloud, RSA)
    counted = getattr(hashes, method.replace("-", ""))()
    signature = RSA.sign(DATA, padding.PSS(padding.MGF1(counted), padding.PSS.MAX_LENGTH), counted)
    image = create(cloud, **properties(signature, method=method))
    assert upload(cloud, image, DATA + b"!").status == 400
    answer = upload(cloud, image, DATA)
    assert answer.status == 204, answer


@pytest.mark.parametrize(
    ("key", "kind"),
    [(ec.generate_private_key(ec.SECP384R1()), "ECC_SECP384R1"), (ec.generate_private_key(ec.SECP521R1()), "ECC_SECP521R1")],
)
def test_a_signature_by_a_curve_is_verified(key: ec.EllipticCurvePrivateKey, kind: str, cloud: TestCloud) -> None:
    certified(cloud, key)
    given = properties(key.sign(DATA, ec.ECDSA(hashes.SHA256())), kind)
    assert upload(cloud, create(cloud, **given), DATA + b"!").status == 400
    assert upload(cloud, create(cloud, **given), DATA).status == 204


def test_a_signature_by_dsa_is_verified(cloud: TestCloud) -> None:
    certified(cloud, DSA)
    given = properties(DSA.sign(DATA, hashes.SHA256()), "DSA")
    assert upload(cloud, create(cloud, **given), DATA + b"!").status == 400
    assert upload(cloud, create(cloud, **given), DATA).status == 204


def test_what_was_not_signed_leaves_nothing_and_the_image_waits_again(cloud: TestCloud) -> None:
    certified(cloud, RSA)
    image = create(cloud, **properties(by_rsa()))
    answer = upload(cloud, image, DATA.replace(b"c", b"k"))
    assert answer.status == 400 and "Signature verification for the image failed" in answer.body.decode()
    assert show(cloud, image)["status"] == "queued"
    assert sorted(files(cloud)) == [f".certificates/{ID}.pem"]


def test_an_import_is_verified_too(cloud: TestCloud) -> None:
    certified(cloud, RSA)
    image, answer = imported(cloud, DATA, **properties(by_rsa()))
    assert answer.status == 202 and image["status"] == "active"
    image, answer = imported(cloud, DATA + b"!", **properties(by_rsa()))
    assert answer.status == 400 and image["status"] == "queued"
    tasks = cloud.call("GET", f"{IMAGES}/{image['id']}/tasks", token="member").json["tasks"]
    assert [one["status"] for one in tasks] == ["failure"] and "Signature verification" in tasks[0]["message"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"img_signature_certificate_uuid": str(uuid.UUID(int=8))}, "there is no certificate"),
        ({"img_signature_certificate_uuid": "../../secrets/x"}, "is no UUID"),
        ({"img_signature_key_type": "ECC_SECP384R1"}, "verification for the image failed"),
        ({"img_signature_key_type": "ECC_SECT571K1"}, "must be one of"),
        ({"img_signature_hash_method": "MD5"}, "must be one of"),
        ({"img_signature_hash_method": ""}, "needs all of"),
        ({"img_signature": "é"}, "is not base64"),
    ],
)
def test_what_can_not_be_verified_is_refused_with_the_reason(given: dict[str, str], reason: str, cloud: TestCloud) -> None:
    certified(cloud, RSA)
    image = create(cloud, **{**properties(by_rsa()), **given})
    answer = upload(cloud, image, DATA)
    assert answer.status == 400 and reason in answer.body.decode(), answer
    assert show(cloud, image)["status"] == "queued"


def test_an_expired_certificate_is_not_believed(cloud: TestCloud) -> None:
    certified(cloud, RSA, days=-1)
    answer = upload(cloud, create(cloud, **properties(by_rsa())), DATA)
    assert answer.status == 400 and "is not valid now" in answer.body.decode()


@pytest.mark.parametrize(("signed", "status"), [(DATA, "active"), (DATA + b"!", "queued")])
def test_what_is_taken_over_from_another_image_is_verified_too(signed: bytes, status: str, cloud: TestCloud) -> None:
    certified(cloud, RSA)
    source = create(cloud, "source")
    assert upload(cloud, source, DATA).status == 204
    image = create(cloud, **properties(by_rsa(signed)))
    method = {"name": "glance-download", "glance_image_id": source["id"], "glance_region": "RegionOne"}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json={"method": method}).status == 202
    assert show(cloud, image)["status"] == status
