"""Signatures of AWS's protocols, by the examples of their documentation."""

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from pileus.core.aws_signatures import SignedCall, ec2_matches, s3_matches
from pileus.model.errors import Unauthorized

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
V4_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
V4_SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
V2 = SignedCall(
    verb="GET",
    host="elasticmapreduce.amazonaws.com",
    path="/",
    params={
        "AWSAccessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "Action": "DescribeJobFlows",
        "SignatureMethod": "HmacSHA256",
        "SignatureVersion": "2",
        "Timestamp": "2011-10-03T15:19:30",
        "Version": "2009-03-31",
    },
)
V2_SIGNATURE = "i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf/Mj6vPxyYIs="
V4 = SignedCall(
    verb="GET",
    host="iam.amazonaws.com",
    path="/",
    params={"Action": "ListUsers", "Version": "2010-05-08"},
    headers={
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": "iam.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature=x",
    },
    body_hash=hashlib.sha256(b"").hexdigest(),
)


def changed(call: SignedCall, **changes: Any) -> SignedCall:
    return msgspec.structs.replace(call, **changes)


def test_version_2_is_that_of_the_documentation() -> None:
    assert ec2_matches(V2, SECRET, V2_SIGNATURE)
    assert not ec2_matches(changed(V2, path="/x"), SECRET, V2_SIGNATURE)
    assert not ec2_matches(V2, "other", V2_SIGNATURE)
    assert not ec2_matches(V2, SECRET, "é")


def test_a_host_may_be_signed_without_its_port() -> None:
    assert ec2_matches(changed(V2, host=f"{V2.host}:443"), SECRET, V2_SIGNATURE)
    assert not ec2_matches(changed(V2, host="other:443"), SECRET, V2_SIGNATURE)


def test_version_4_is_that_of_the_documentation() -> None:
    assert ec2_matches(V4, V4_SECRET, V4_SIGNATURE)
    for other in (
        changed(V4, verb="PUT"),
        changed(V4, body_hash="x"),
        changed(V4, params={**V4.params, "Action": "x"}),
        changed(V4, headers={**V4.headers, "host": "x"}),
    ):
        assert not ec2_matches(other, V4_SECRET, V4_SIGNATURE)


def test_version_4_in_the_query_is_as_good() -> None:
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request",
        "X-Amz-Date": "20150830T123600Z",
        "X-Amz-SignedHeaders": "host",
    }
    call = changed(V4, params={**V4.params, **query}, headers={"host": "iam.amazonaws.com"})
    assert not ec2_matches(call, V4_SECRET, V4_SIGNATURE)
    with pytest.raises(Unauthorized):
        ec2_matches(changed(call, params={**call.params, "X-Amz-Date": "20160830T123600Z"}), V4_SECRET, "x")


@pytest.mark.parametrize(
    "scope", ["AKID", "AKID/20150830/us-east-1/iam/other", "AKID/20150831/us-east-1/iam/aws4_request", "AKID//r/s/aws4_request"]
)
def test_a_scope_that_is_not_that_of_the_date_is_refused(scope: str) -> None:
    header = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x"
    with pytest.raises(Unauthorized):
        ec2_matches(changed(V4, headers={**V4.headers, "authorization": header}), V4_SECRET, "x")


@pytest.mark.parametrize(("version", "signature"), [("0", "lC+FuejLa/Mx86+q2KvK1p67/OA="), ("1", "DW1mecNV8vByHUSI14ViKBIR2Qg=")])
def test_the_oldest_versions_sign_less(version: str, signature: str) -> None:
    """The figures were made by the official client's signer."""
    call = SignedCall(params={"Action": "Test", "Timestamp": "2007-01-31T23:59:59Z", "SignatureVersion": version})
    assert ec2_matches(call, "89cdf9e94e2643cab35b8b8ac5a51f83", signature)
    assert not ec2_matches(call, "other", signature)


@pytest.mark.parametrize("params", [{}, {"SignatureVersion": "3"}])
def test_another_form_is_refused(params: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        ec2_matches(SignedCall(params=params), SECRET, "x")


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def test_s3_is_that_of_the_documentation() -> None:
    text = "GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/johnsmith/photos/puppy.jpg"
    assert s3_matches(token(text), SECRET, "bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
    assert not s3_matches(token(text + "x"), SECRET, "bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
    scope = "20130524/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n20130524T000000Z\n{scope}\n7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972"
    assert s3_matches(token(text), SECRET, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    assert not s3_matches(token(text), "other", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


@pytest.mark.parametrize("text", ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256\nd\nd/r/ec2/aws4_request\nh", "AWS4-X\nd\nd/r/s3/aws4_request\nh"])
def test_what_s3_does_not_sign_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        s3_matches(token(text), SECRET, "x")


def test_what_is_not_in_base_64_is_refused() -> None:
    for text in ("é", "a"):
        with pytest.raises(Unauthorized):
            s3_matches(text, SECRET, "x")
