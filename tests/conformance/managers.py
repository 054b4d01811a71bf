"""A cloud of two Cloud Managers on one PostgreSQL, with a message bus and shared images: each has its own address in the catalogue.

The second stands there as the service `image_remote`, by which Tempest finds it. There is no host: only what needs none runs here.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from pileus.cli.bus import found
from pileus.cli.daemons import Nats
from pileus.cli.progress import step
from pileus.cli.settings import remember
from tests import postgresql
from tests.conformance.tempest_config import connect
from tests.driver.test_cloud_processes import Process, free_port, until

REMOTE = "image_remote"
STARTING = 60.0


def missing() -> str:
    """What this machine lacks for it."""
    if not shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin"):
        return "nats-server"
    return "" if postgresql.programs() else "postgresql"


@contextmanager
def running(folder: Path, settings: dict[str, Any]) -> Iterator[Path]:
    """The first one's state directory. At the end nothing is left."""
    listen = f"127.0.0.1:{free_port()}"
    bus = f"tls://{listen}"
    server = postgresql.Server(postgresql.programs() or Path())
    nats = Nats(folder, listen)
    started: list[Process] = []
    try:
        with step("A cloud of two managers") as current:
            server.start()
            database = server.url(server.make())
            one, two = started = [Process(folder / name, "cloud", database, bus) for name in ("one", "two")]
            for process in started:
                process.state.mkdir(mode=0o711)
                (process.state / "config.json").write_text(json.dumps(settings))
            authority, _ = asyncio.run(found(remember(one.state, database=database, bus=bus, listen=one.listen)))
            nats.start(authority, {})
            one.start()
            until(one.ready, STARTING, "the first manager")
            (two.state / "images").symlink_to(one.state / "images")
            two.start()
            until(two.ready, STARTING, "the second manager")
            _furnish(connect(one.state, "pileus-admin")[0], f"http://{two.listen}/image")
            current.note("PostgreSQL, NATS, images shared")
        yield one.state
    finally:
        for process in reversed(started):
            process.stop()
        nats.stop()
        server.remove()


def _furnish(admin: Connection, address: str) -> None:
    """The second's place in the catalogue, and what Tempest's settings name."""
    service = admin.identity.create_service(name="glance-remote", type=REMOTE)
    region = next(iter(admin.identity.regions())).id
    for interface in ("public", "internal", "admin"):
        admin.identity.create_endpoint(service_id=service.id, interface=interface, url=address, region_id=region)
    for name in ("tiny", "small"):
        admin.compute.create_flavor(name=name, ram=64, vcpus=1, disk=1)
