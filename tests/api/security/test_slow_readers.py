"""Clients that ask and do not read the answer: their connection ends, and with it what it held of the cloud's memory."""

import http.client
import socket
import time
from pathlib import Path

import pytest

from pileus.api import listener
from tests.api.harness import TestCloud
from tests.api.image.calls import active

SIZE = 32 << 20
"""More than the kernel keeps for a connection."""
ESTABLISHED = "01"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "READ_SECONDS", 0.3)


def asked(cloud: TestCloud, address: tuple[str, int]) -> socket.socket:
    """A connection on which a large image has been asked for."""
    image = active(cloud, data=b"x" * SIZE)
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    link.settimeout(20)
    link.connect(address)
    link.sendall(f"GET /image/v2/images/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.token('member')}\r\n\r\n".encode())
    return link


def open_at(address: tuple[str, int], link: socket.socket) -> bool:
    """Whether the cloud's side of a connection is open."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = f":{address[1]:04X}", f":{link.getsockname()[1]:04X}"
    return any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[3] == ESTABLISHED for row in rows)


def test_an_answer_that_nobody_reads_is_not_kept(impatient: None, shared_cloud: TestCloud, address: tuple[str, int]) -> None:
    link = asked(shared_cloud, address)
    taken, deadline = len(link.recv(1000)), time.monotonic() + 20
    while open_at(address, link):
        assert time.monotonic() < deadline, "the cloud goes on waiting"
        time.sleep(0.05)
    while data := link.recv(1 << 20):  # what was on its way
        taken += len(data)
    assert taken < SIZE
    link.close()


def test_a_slow_reader_gets_all_of_it(impatient: None, shared_cloud: TestCloud, address: tuple[str, int]) -> None:
    link, taken = asked(shared_cloud, address), 0
    while taken < SIZE:
        data = link.recv(1 << 18)
        assert data, f"it ended after {taken} bytes"
        taken += len(data)
        time.sleep(0.02)
    link.close()


def test_others_are_answered_while_many_do_not_read(shared_cloud: TestCloud, address: tuple[str, int]) -> None:
    links = [asked(shared_cloud, address) for _ in range(8)]
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", "/identity/v3")
    assert connection.getresponse().status == 200
    connection.close()
    for link in links:
        link.close()
