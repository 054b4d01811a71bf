"""Measures images: content up and down beside `cp` on the same disk in the same run; a large sparse disk in constant memory.

    ./pileus bench images [--mib 1024] [--sparse-gib 20] [--json]

A simulated cloud of its own in a temporary directory (TMPDIR), removed afterwards. Each figure is the best of three, `cp` and requests
taking turns; the sparse disk is brought in once, as `pileus image import` does it, converted to qcow2, and read back. Peak memory is the
kernel's count of the control plane's process (VmHWM), above what it was before.
"""

import argparse
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.cloud import Cloud
from pileus.cli.bring.sources import of_file
from pileus.cli.bring.steps import settled
from pileus.cli.bring.target import Target, of_state
from pileus.cli.settings import load, remember

MIB, GIB = 1 << 20, 1 << 30
TURNS = 3
AREAS = 64
"""Of the sparse disk, that have something on them, 1 MiB each."""


def copy_seconds(source: Path) -> tuple[float, float]:
    """How long `cp` takes for a file on the same disk: until it ends, and until the copy is there after a power failure."""
    target = source.with_name(f"{source.name}-copy")
    target.unlink(missing_ok=True)
    began = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    copied = time.perf_counter() - began
    with target.open("rb") as file:
        os.fsync(file.fileno())
    synced = time.perf_counter() - began
    target.unlink()
    return copied, synced


def hash_speeds() -> dict[str, float]:
    """MiB a second of what every upload is hashed by: the slowest bounds it, and their sum its CPU."""
    data = bytes(range(256)) * (32 << 12)
    found: dict[str, float] = {}
    for name in ("md5", "sha256", "sha512"):
        began = time.perf_counter()
        hashlib.new(name, data, usedforsecurity=False)
        found[name] = len(data) / MIB / (time.perf_counter() - began)
    return found


class Client:
    """One connection's worth of up and down, without counting what comes."""

    def __init__(self, cloud: Cloud) -> None:
        self.target: Target = of_state(load(cloud.state), public=False)
        cloud.demo.login()
        self.token = cloud.demo.token or ""
        self.address = urlsplit(cloud.demo.url)

    def upload(self, name: str, file: Path) -> tuple[str, float]:
        """A new image of a file; its id, and the seconds of the upload."""
        image = self.target.create({"name": name, "disk_format": "raw", "container_format": "bare"})["id"]
        connection = self._connection()
        began = time.perf_counter()
        headers = {"X-Auth-Token": self.token, "Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
        connection.request("PUT", f"/image/v2/images/{image}/file", _blocks(file), headers)
        answer = connection.getresponse()
        assert answer.status == 204, answer.read()
        connection.close()
        return image, time.perf_counter() - began

    def download(self, image: str) -> tuple[int, float]:
        """All of it, dropped; how much, and the seconds."""
        connection = self._connection()
        began, got, room = time.perf_counter(), 0, memoryview(bytearray(MIB))
        connection.request("GET", f"/image/v2/images/{image}/file", headers={"X-Auth-Token": self.token})
        answer = connection.getresponse()
        assert answer.status == 200, (answer.status, answer.read(), self.target.show(image))
        while count := answer.readinto(room):
            got += count
        connection.close()
        return got, time.perf_counter() - began

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=3600)


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as source:
        while data := source.read(MIB):
            yield data


def peak(pid: int) -> int:
    """Bytes of memory that the process has had at most since `forget`."""
    return next(int(line.split()[1]) * 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))


def forget(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def random_content(cloud: Cloud, size: int) -> dict[str, float]:
    """What no disk and no hash makes shorter. MiB a second."""
    client, source = Client(cloud), cloud.folder / "source"
    with source.open("wb") as file:
        for _ in range(size):
            file.write(os.urandom(MIB))
    found: dict[str, list[float]] = {}
    cpu = {"upload": 0.0, "download": 0.0}
    for turn in range(TURNS):
        with source.open("r+b") as file:
            file.write(turn.to_bytes(8, "big"))  # content that is known already is not written
            os.fsync(file.fileno())
        copied, synced = copy_seconds(source)
        before = cloud.cpu()
        image, up = client.upload(f"random {turn}", source)
        middle = cloud.cpu()
        got, down = client.download(image)
        assert got == size * MIB
        cpu = {"upload": middle - before, "download": cloud.cpu() - middle}
        for name, seconds in (("cp", copied), ("cp, synced", synced), ("upload", up), ("download", down)):
            found.setdefault(name, []).append(size / seconds)
    source.unlink()
    best = {f"{name}, MiB/s": max(values) for name, values in found.items()}
    return {**best, **{f"{name}, s CPU for a GiB": seconds * 1024 / size for name, seconds in cpu.items()}}


def sparse_disk(cloud: Cloud, gib: int) -> dict[str, float]:
    """A disk with little on it: staged, converted, read back."""
    client, source = Client(cloud), cloud.folder / "sparse.raw"
    with source.open("wb") as file:
        for area in range(AREAS):
            file.seek(area * gib * GIB // AREAS)
            file.write(os.urandom(MIB))
        file.truncate(gib * GIB)
    (disk,) = of_file(source)
    forget(cloud.pid)
    before = peak(cloud.pid)
    image = client.target.create({"name": "sparse", "disk_format": disk.disk_format, "container_format": disk.container_format})["id"]
    began = time.perf_counter()
    client.target.stage(image, disk.chunks, disk.size, lambda done: None)
    staged = time.perf_counter() - began
    client.target.bring_in(image)
    settled(client.target, image)
    whole = time.perf_counter() - began
    got, seconds = client.download(image)
    return {
        f"sparse {gib} GiB: upload, s": staged,
        f"sparse {gib} GiB: conversion to qcow2, s": whole - staged,
        f"sparse {gib} GiB: download, s": seconds,
        f"sparse {gib} GiB: of the qcow2, MiB": got / MIB,
        f"sparse {gib} GiB: peak memory above idle, MiB": (peak(cloud.pid) - before) / MIB,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--sparse-gib", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Cloud(1, before=lambda state: remember(state, image_import_format="qcow2")) as cloud:
        found = {**random_content(cloud, options.mib), **{f"{name} alone, MiB/s": speed for name, speed in hash_speeds().items()}}
        found |= {
            f"{way} of {of}": found[f"{way}, MiB/s"] / found[f"{of}, MiB/s"]
            for way in ("upload", "download")
            for of in ("cp", "cp, synced")
        }
        if options.sparse_gib:
            found |= sparse_disk(cloud, options.sparse_gib)
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    for name, value in found.items():
        print(f"{name:<52} {value:>10.2f}")


if __name__ == "__main__":
    main()
