"""Fetches distribution packages by apt into a private directory and unpacks them there; root and installation are not needed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

TIMEOUT = 600.0  # seconds for one call of apt; a mirror may be slow


class BuildError(Exception):
    """The guest image cannot be built."""


class Unpacked(msgspec.Struct, frozen=True):
    """A package that was fetched: its name, version and the directory that holds its files."""

    name: str
    version: str
    directory: Path


def run(argv: Sequence[str], *, cwd: Path | None = None, text: str | None = None, env: dict[str, str] | None = None) -> str:
    """Run a tool of the host, in the C locale and UTC, and give back what it printed. A failure says what it said."""
    # mkfs.ext4 and debugfs lie where a user's own path may not lead.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C", "TZ": "UTC", **(env or {})}
    try:
        done = subprocess.run(argv, cwd=cwd, input=text, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{argv[0]} is needed to build the guest image, and is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{argv[0]} did not end within {TIMEOUT:.0f} seconds") from error
    if done.returncode != 0:
        raise BuildError(f"{' '.join(argv[:3])} failed: {done.stderr.strip()[-800:] or done.stdout.strip()[-800:]}")
    return done.stdout


def matches(library: str, package: str) -> bool:
    """Whether a package's name is the one that Debian's rules give a library: libext2fs.so.2 lives in libext2fs2 or libext2fs2t64."""
    if library == "libz.so.1":
        return package == "zlib1g"
    stem = re.sub(r"[-_.]", "", library.replace(".so", "")).lower()
    return re.fullmatch(f"{re.escape(stem)}(g|t64)?", re.sub(r"[-_.]", "", package).lower()) is not None


class Packages:
    """The packages of one build, fetched one by one and kept below `work`."""

    def __init__(self, work: Path, progress: Callable[[str], None]) -> None:
        self.work = work
        self.progress = progress
        self.unpacked: dict[str, Unpacked] = {}
        self._options: list[str] = []
        self._downloads = work / "downloads"
        self._downloads.mkdir(parents=True, exist_ok=True)

    def known(self, names: Sequence[str]) -> list[str]:
        """Those of the names that apt could install, in the order given."""
        policy = run(["apt-cache", *self._options, "policy", *names])
        versions = dict(re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: (\S+)", policy, re.MULTILINE))
        return [name for name in names if versions.get(name, "(none)") != "(none)"]

    def prepare(self, probe: str, *, refresh: bool = False) -> None:
        """Make sure that apt has lists of packages. Missing (or old, with `refresh`) ones are fetched into a private directory."""
        if not refresh and self.known([probe]):
            return
        state = self.work / "apt"
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        self._options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache", "-o", "APT::Sandbox::User="]
        self.progress("guest image: fetching the lists of packages (apt-get update)")
        run(["apt-get", *self._options, "-q", "update"])

    def depends(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The graph of real packages that `names` depend on, directly or not; of alternatives, all. One call: apt-cache starts slowly."""
        options = ["--recurse", *(f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"))]
        graph: dict[str, list[str]] = {}
        package = ""
        for line in run(["apt-cache", *self._options, "depends", *options, *names]).splitlines():
            if not line.startswith((" ", "<")):
                package = line.strip()
                graph[package] = []
            elif "Depends: " in line and not line.split("Depends: ")[1].startswith("<") and package:
                graph[package].append(line.split("Depends: ")[1].strip())
        return graph

    def first(self, names: Sequence[str], why: str) -> str:
        """The first of the names that this distribution has."""
        there = self.known(names)
        if not there:
            raise BuildError(f"no package {' or '.join(names)} is known to apt; it is needed for {why}")
        return there[0]

    def fetch(self, name: str, why: str) -> Unpacked:
        """Download and unpack a package; the same answer when it was done before."""
        self.fetch_all({name: why})
        return self.unpacked[name]

    def fetch_all(self, reasons: Mapping[str, str]) -> None:
        """Download and unpack packages, each given with what it is needed for. One call for all, for apt starts slowly."""
        new = {name: why for name, why in reasons.items() if name not in self.unpacked}
        if not new:
            return
        self.progress(f"guest image: fetching {', '.join(new)}")
        try:
            self._download(list(new))
        except BuildError:
            for name, why in new.items():
                try:
                    self._download([name])
                except BuildError as error:
                    raise BuildError(f"package {name} cannot be had; it is needed for {why}. {error}") from error
        for name in new:
            self._unpack(name)

    def _download(self, names: Sequence[str]) -> None:
        options = [*self._options, *(["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else [])]
        run(["apt-get", *options, "-q", "download", *names], cwd=self._downloads)

    def _unpack(self, name: str) -> None:
        archive = next(self._downloads.glob(f"{name}_*.deb"))
        directory = self.work / "unpacked" / name
        directory.mkdir(parents=True)
        run(["dpkg-deb", "-x", str(archive), str(directory)])
        version = run(["dpkg-deb", "-f", str(archive), "Version"]).strip()
        archive.unlink()
        self.unpacked[name] = Unpacked(name, version, directory)

    def libraries_of(self, names: Sequence[str]) -> list[str]:
        """All library packages that the packages depend on, directly or through a library."""
        graph = self.depends(names)
        seen: list[str] = []
        queue = list(names)
        while queue:
            for package in graph.get(queue.pop(0), []):
                if package not in seen and (package.startswith("lib") or package == "zlib1g"):
                    seen.append(package)
                    queue.append(package)
        return seen
