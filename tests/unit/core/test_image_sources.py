"""Where an image may be fetched from."""

import pytest

from pileus.core.image_sources import public, source
from pileus.model.errors import Invalid


def test_an_address_is_taken_apart() -> None:
    found = source("https://example.org/a/b.img?x=1#part", [])
    assert (found.scheme, found.host, found.port, found.target, found.trusted) == ("https", "example.org", 443, "/a/b.img?x=1", False)
    assert source("http://example.org", []).target == "/"


@pytest.mark.parametrize(
    "uri",
    ["ftp://example.org/x", "file:///etc/passwd", "http://", "http://example.org:22/x", "http://me:secret@example.org/x", "http://[::1/x",
     "http://example.org/a b", "http://example.org/a\r\nX: y", "http://example.org:99999/"],
)  # fmt: skip
def test_what_is_no_plain_address_of_the_web_is_refused(uri: str) -> None:
    with pytest.raises(Invalid, match="does not pass filtering"):
        source(uri, [])


def test_operators_name_hosts_that_may_lie_anywhere() -> None:
    assert source("http://mirror.internal:8080/x", ["mirror.internal"]).trusted
    assert source("http://127.0.0.1:8080/x", ["127.0.0.1:8080"]).trusted
    with pytest.raises(Invalid):
        source("http://127.0.0.1:8081/x", ["127.0.0.1:8080"])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"],
)  # fmt: skip
def test_addresses_of_inner_networks_are_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_internet_are(address: str) -> None:
    assert public(address)
