"""The process that parses requests: `child.py` starts it as root, it gives that up, then it is the Cloud and the Cluster Manager."""

import asyncio
import os
import socket
import sys

import msgspec

from pileus.bus.pair import ManagersBus
from pileus.bus.supervision import Supervised
from pileus.cli import serving
from pileus.cli.hardening import harden
from pileus.cli.logs import log_through
from pileus.cli.separation import sandbox
from pileus.cli.separation.child import Order
from pileus.cli.separation.sandbox import Confined
from pileus.model.errors import PileusError, Unavailable

REFUSED = 75


def main() -> None:
    """Read the order, enclose ourselves, say what came of it, serve."""
    harden()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if order.config is not None:
        _import_all(order)
    confined = sandbox.enclose(order.enclosure)
    if order.database is not None and not confined.error:
        confined = _admitted(order.database, confined)
    _say(order.status, msgspec.json.encode(confined))
    if confined.error:
        sys.exit(REFUSED)
    if order.config is not None:
        _serve(order)


def _admitted(database: str, confined: Confined) -> Confined:
    """Whether the server takes the user that we are now: one that knows root by its socket does not, and is left to root."""
    from pileus.store.postgresql_connections import refusal

    refused = asyncio.run(refusal(database))
    return Confined(error=f"the database refuses its user: {refused}", remedy=sandbox.OF_DATABASE) if refused else confined


def _import_all(order: Order) -> None:
    """While Python may keep what it has compiled; and for less to be read when nothing can be any more."""
    import uvloop  # noqa: F401

    if order.listeners:
        import uvicorn  # noqa: F401

        from pileus.api import listener  # noqa: F401
        from pileus.api.compute import console_proxy  # noqa: F401
    if order.database is not None:
        from pileus.store import postgresql  # noqa: F401
    from pileus.api.identity import tokens  # noqa: F401
    from pileus.api.image import files  # noqa: F401
    from pileus.cli import first_start, reconcilers  # noqa: F401
    from pileus.cli.control_plane import load_services

    load_services()


def _serve(order: Order) -> None:
    import uvloop

    assert order.config is not None
    log_through(order.log, order.config.log_format)
    half = socket.socket(fileno=order.bus)
    given = serving.Given(
        listeners=[socket.socket(fileno=one) for one in order.listeners],
        metrics=None if order.metrics is None else socket.socket(fileno=order.metrics),
        roles=order.roles,
        root=ManagersBus(half) if order.config.bus is None else Supervised(half),
        holder=order.holder,
    )
    try:
        try:
            uvloop.run(serving.run_given(order.config, given))
        except OSError as error:
            raise Unavailable(f"The process stopped: {error}") from error
    except PileusError as error:
        _say(order.status, " ".join(error.message.split()).encode())
        sys.exit(1)


def _say(status: int, line: bytes) -> None:
    os.write(status, line + b"\n")


if __name__ == "__main__":
    main()
