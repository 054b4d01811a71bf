"""The metadata server's answers, without a network."""

import pytest

from pileus.node.network.metadata import lookup, response

DOCUMENTS = {
    "openstack/latest/meta_data.json": "{}",
    "openstack/2018-08-27/meta_data.json": "{}",
    "latest/meta-data/instance-id": "i-1",
    "latest/meta-data/public-keys": "0=mine",
    "latest/meta-data/public-keys/0/openssh-key": "ssh-ed25519 x",
    "latest/user-data": "#!/bin/sh",
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "latest\nopenstack"),
        ("/openstack", "2018-08-27\nlatest"),
        ("/openstack/latest/", "meta_data.json"),
        ("/latest", "meta-data/\nuser-data"),
        ("/latest/meta-data/", "instance-id\npublic-keys/"),
        ("/latest/meta-data/public-keys/", "0=mine"),
        ("//latest//meta-data/instance-id", "i-1"),
        ("/latest/meta-data/instance-id?x=1", "i-1"),
        ("/latest/meta-data/inst", None),
        ("/../etc/passwd", None),
    ],
)
def test_a_path_leads_to_a_document_a_listing_or_nothing(path: str, expected: str | None) -> None:
    assert lookup(DOCUMENTS, path) == expected


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 200),
        (b"GET /none HTTP/1.0\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"\xff\xfe\r\n\r\n", 400),
    ],
)
def test_a_request_is_answered_with_the_status_it_deserves(request_head: bytes, status: int) -> None:
    assert response(request_head, DOCUMENTS).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_guest_that_is_not_known_finds_nothing() -> None:
    assert response(b"GET / HTTP/1.1\r\n\r\n", None).startswith(b"HTTP/1.1 404 ")


def test_head_has_no_body() -> None:
    assert response(b"HEAD /latest/user-data HTTP/1.1\r\n\r\n", DOCUMENTS).endswith(b"\r\n\r\n")
