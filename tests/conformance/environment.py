"""The Python environment that the suites live in: apart from ours, made once, in the user's cache."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pileus.cli.progress import step
from pileus.model.errors import Unavailable

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SHOWN = ("tempest", "keystone-tempest-plugin", "glance-tempest-plugin", "openstacksdk", "python-openstackclient")
TIMEOUT = 1200.0


def directory() -> Path:
    """Where it lies."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pileus" / "conformance"


def prepare() -> Path:
    """The environment's directory; quick when it is there and nothing has changed. Unavailable when the packages can't be had."""
    place = directory()
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if _stamp(place) == wanted:
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "conformance.lock").open("w") as lock, step("Conformance suites") as current:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it
        if _stamp(place) != wanted:
            current.note(f"installing Tempest, its plugins and the clients into {place}")
            shutil.rmtree(place, ignore_errors=True)
            _install(place)
            (place / "pileus.json").write_text(json.dumps({"requirements": wanted}))
        current.note(str(place))
    return place


def versions(place: Path) -> dict[str, str]:
    """The packages that judge, with their versions."""
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {SHOWN!r}}}))"
    done = subprocess.run([str(place / "bin" / "python"), "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def packages(place: Path) -> Path:
    """Its site-packages."""
    return next((place / "lib").glob("python3*/site-packages"))


def _stamp(place: Path) -> str | None:
    try:
        return json.loads((place / "pileus.json").read_text())["requirements"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _install(place: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    python = str(place / "bin" / "python")
    ways = [[[str(uv), "venv", "-q", "--python", sys.executable, str(place)],
             [str(uv), "pip", "install", "-q", "--python", python, "-r", str(REQUIREMENTS)]]] if uv.exists() else []  # fmt: skip
    ways.append([[sys.executable, "-m", "venv", "--clear", str(place)], [python, "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)]])
    said = ""
    for way in ways:
        for command in way:
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
                said = done.stderr.strip() or done.stdout.strip()
            except subprocess.TimeoutExpired:
                said = f"it took longer than {TIMEOUT:g} s"
                break
            if done.returncode:
                break
        else:
            return
    shutil.rmtree(place, ignore_errors=True)
    reason = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "no reason was given")
    raise Unavailable(
        f"The suites can't be installed into {place}: {reason[:300]}. They come from the Python package index: check network and pip's "
        "settings (PIP_INDEX_URL for an index of your own), then run this again."
    )
