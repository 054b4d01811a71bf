"""The consoles of a running server over WebSocket, with the URL that the API gives."""

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def test_the_vnc_console_speaks_rfb(demo: Any, hello: Any) -> None:
    console = demo.compute.create_console(hello, console_type="novnc")
    url = console["url"].replace("http://", "ws://")
    with connect(url, subprotocols=["binary"], open_timeout=10) as socket:
        assert bytes(socket.recv(timeout=10)).startswith(b"RFB 003.")


def test_the_serial_console_carries_what_is_typed(demo: Any, hello: Any) -> None:
    console = demo.compute.create_console(hello, console_type="serial")
    with connect(console["url"], subprotocols=["binary"], open_timeout=10) as socket:
        socket.send(b"\r\n")
        seen = b""
        while b"login" not in seen:
            seen += bytes(socket.recv(timeout=20))


def test_a_wrong_token_opens_nothing(demo: Any, hello: Any) -> None:
    console = demo.compute.create_console(hello, console_type="serial")
    url = console["url"][:-6] + "000000"
    with pytest.raises(InvalidStatus) as refused:  # closed before it was accepted, which a client sees as a 403
        connect(url, subprotocols=["binary"], open_timeout=10)
    assert refused.value.response.status_code == 403
