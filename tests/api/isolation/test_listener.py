"""What a client may send before it has shown who it is: little, and not slowly."""

import http.client
import socket

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pileus.api import listener


def send(address: tuple[str, int], start: bytes, more: bytes, most: int) -> tuple[int, bytes]:
    """How many bytes were taken, and the answer."""
    sent = 0
    with socket.create_connection(address, timeout=10) as link:
        try:
            link.sendall(start)
            while sent < most:
                link.sendall(more)
                sent += len(more)
        except OSError:  # it has hung up
            pass
        try:
            return sent, link.recv(4096)
        except OSError:
            return sent, b""


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /identity/v3?", b"a" * 65536), (b"GET /identity/v3 HTTP/1.1\r\nHost: x\r\nX-A: ", b"a" * 65536),
        (b"GET /identity/v3 HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n" * 8192),
    ],
)  # fmt: skip
def test_an_endless_head_is_cut_off(start: bytes, more: bytes, address: tuple[str, int]) -> None:
    sent, answer = send(address, start, more, 64 << 20)
    assert sent < 48 << 20, "all of it was taken"
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")


def test_a_long_head_that_ends_is_answered(address: tuple[str, int]) -> None:
    head = b"GET /identity/v3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * 60000 + b"\r\n\r\n"
    _, answer = send(address, head, b"", 0)
    assert answer.startswith(b"HTTP/1.1 200")


def test_what_bounds_requests_lets_a_websocket_through(address: tuple[str, int]) -> None:
    """It has no body and no answer as other requests have. Here nobody speaks: it is closed before it is accepted, which is a 403."""
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{address[0]}:{address[1]}/console/serial", open_timeout=10)
    assert refused.value.response.status_code == 403


def test_requests_one_after_the_other_are_answered_with_bodies_larger_than_a_head_may_be(address: tuple[str, int]) -> None:
    body = b'{"auth": "' + b"x" * (1 << 20) + b'"}'
    connection = http.client.HTTPConnection(*address, timeout=10)
    for _ in range(3):
        connection.request("POST", "/identity/v3/auth/tokens", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 400 and answer.read()
    connection.close()


def test_who_says_nothing_for_long_is_hung_up_on(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    for said in (b"", b"GET /identity", b"GET /identity/v3 HTTP/1.1\r\nHost: x\r\n"):
        with socket.create_connection(address, timeout=10) as link:
            link.sendall(said)
            assert link.recv(1) == b""
