"""A cloud for the suites alone: simulated hosts, settings that the tests ask for, an image in the web beside it. Gone afterwards."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from pileus.cli.progress import step
from pileus.model.errors import Unavailable
from tests.conformance import formats
from tests.conformance.suites import LENIENT, MAIN, TWO

HOSTS = 2
STRICT = {"password_history": 3, "lockout_attempts": 3, "lockout_time": 5}
"""What Tempest's tests of security compliance look for; seconds short enough to wait for."""
STORES = {"local": 20, "spare": 10}
"""The stores of images, beside what stays in the web, with their weights."""
TIMEOUT = 120.0


@dataclass(frozen=True)
class Place:
    """A running cloud: its state directory, and where its image service may fetch `image.raw` and `image.qcow2` from ("" nowhere).
    `manifest`: a set of images of many formats; `remote`: the type of a second image service in its catalogue."""

    state: Path
    images: str
    manifest: str = ""
    remote: str = ""


@contextmanager
def own(kind: str = MAIN) -> Iterator[Place]:
    """A fresh cloud, and nothing left of it at the end, however that comes."""
    if kind == TWO:
        with _two_managers() as place:
            yield place
        return
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pileus-conformance-"))) / "cloud"
        state.mkdir(mode=0o700)
        address, host = stack.enter_context(images())
        lenient = {"require_format_match": False, "do_secure_hash": False} if kind == LENIENT else {}
        (state / "config.json").write_text(json.dumps({**STRICT, "import_hosts": [host], "image": {**stores(state.parent), **lenient}}))
        stack.callback(down, state)
        with step("A cloud for the tests") as current:
            call(state, "up", "--simulate", str(HOSTS), "--listen", f"127.0.0.1:{free_port()}", "--no-demo", "--detach")
            current.note(f"{HOSTS} simulated hosts" + (", which believes what it is told of images" if lenient else ""))
        yield Place(state, address, str(formats.make(state.parent)) if lenient else "")


@contextmanager
def _two_managers() -> Iterator[Place]:
    from tests.conformance import managers

    with tempfile.TemporaryDirectory(prefix="pileus-conformance-") as name, images() as (address, host):
        Path(name).chmod(0o711)
        with managers.running(Path(name), {"import_hosts": [host], "image": stores(Path(name))}) as state:
            yield Place(state, address, remote=managers.REMOTE)


def stores(folder: Path) -> dict[str, Any]:
    """The settings of images: several stores in that folder, and all that Glance leaves to the operator."""
    found: dict[str, dict[str, Any]] = {name: {"weight": weight} for name, weight in STORES.items()}
    for name in found.keys() - {"local"}:
        (folder / name).mkdir(mode=0o711)
        found[name]["path"] = str(folder / name)
    return {"stores": found, "web_store": True, "show_multiple_locations": True}


@contextmanager
def there(state: Path) -> Iterator[Place]:
    """A cloud that runs already. Images come from the web where its `import_hosts` names a port of this machine."""
    config = state / "config.json"
    hosts: list[str] = json.loads(config.read_text()).get("import_hosts", []) if config.exists() else []
    port = next((int(host.rpartition(":")[2]) for host in hosts if host.startswith("127.0.0.1:")), None)
    if port is None:
        yield Place(state, "")
        return
    with images(port) as (address, _):
        yield Place(state, address)


@contextmanager
def images(port: int = 0) -> Iterator[tuple[str, str]]:
    """Serves two small images, raw and qcow2; gives the address that they are below, and HOST:PORT of it."""
    with tempfile.TemporaryDirectory(prefix="pileus-conformance-") as folder:
        for kind in ("raw", "qcow2"):
            subprocess.run(["qemu-img", "create", "-q", "-f", kind, f"{folder}/image.{kind}", "1M"], check=True)
        with QuietServer(("127.0.0.1", port), partial(Quiet, directory=folder)) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            host = f"127.0.0.1:{server.server_port}"
            yield f"http://{host}", host
            server.shutdown()


class QuietServer(ThreadingHTTPServer):
    """One to whom it is nothing that a client hangs up: who asks for a length alone does."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


class Quiet(SimpleHTTPRequestHandler):
    """A web server that says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def call(state: Path, *arguments: str) -> None:
    """A command of ours on that state directory; Unavailable, with its last word, when it fails."""
    command = [sys.executable, "-m", "pileus.cli.main", "--state", str(state), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"}
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason was given"]
        raise Unavailable(f"The cloud for the tests: {arguments[0]} failed: {said[-1].removeprefix('pileus: ')}")


def down(state: Path) -> None:
    """Take it away."""
    with step("The cloud is taken down"):
        call(state, "down", "--destroy", "--yes")
