"""The process that parses requests: `child.py` starts it as root, it gives that up, then it is the Cloud and the Cluster Manager."""

import os
import socket
import sys

import msgspec

from pileus.bus.pair import ManagersBus
from pileus.cli import serve
from pileus.cli.hardening import harden
from pileus.cli.logs import log_through
from pileus.cli.separation import sandbox
from pileus.cli.separation.child import Order
from pileus.model.errors import PileusError, Unavailable

REFUSED = 75


def main() -> None:
    """Read the order, enclose ourselves, say what came of it, serve."""
    harden()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if order.config is not None:
        _import_all()
    confined = sandbox.enclose(order.enclosure)
    _say(order.status, msgspec.json.encode(confined))
    if confined.error:
        sys.exit(REFUSED)
    if order.config is not None:
        _serve(order)


def _import_all() -> None:
    """While Python may keep what it has compiled; and for less to be read when nothing can be any more."""
    import uvicorn  # noqa: F401
    import uvloop  # noqa: F401

    from pileus.api import listener  # noqa: F401
    from pileus.api.compute import console_proxy  # noqa: F401
    from pileus.api.identity import tokens  # noqa: F401
    from pileus.api.image import files  # noqa: F401
    from pileus.cli import first_start, reconcilers  # noqa: F401
    from pileus.cli.control_plane import load_services

    load_services()


def _serve(order: Order) -> None:
    import uvloop

    assert order.config is not None
    log_through(order.log, order.config.log_format)
    given = serve.Given(
        listeners=[socket.socket(fileno=one) for one in order.listeners],
        metrics=None if order.metrics is None else socket.socket(fileno=order.metrics),
        bus=ManagersBus(socket.socket(fileno=order.bus)),
    )
    try:
        try:
            uvloop.run(serve.run_given(order.config, given))
        except OSError as error:
            raise Unavailable(f"The process stopped: {error}") from error
    except PileusError as error:
        _say(order.status, " ".join(error.message.split()).encode())
        sys.exit(1)


def _say(status: int, line: bytes) -> None:
    os.write(status, line + b"\n")


if __name__ == "__main__":
    main()
