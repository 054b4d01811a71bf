"""Volumes of libvirt's storage pools, by its own command: `libvirt:POOL/VOLUME`."""

import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from contextlib import ExitStack
from pathlib import Path

from pileus.cli.bring.sources import Disk, Wishes, bare_name, of_file
from pileus.model.errors import Invalid, NotFound, Unavailable

SECONDS = 30.0


def disk(text: str, wishes: Wishes, held: ExitStack) -> Disk:
    """A volume: read where it lies, when this user may; fetched by virsh otherwise (Ceph, iSCSI, another machine)."""
    pool, slash, volume = text.partition("/")
    if not (pool and slash and volume):
        raise Invalid(f"libvirt:{text}: expected libvirt:POOL/VOLUME.")
    described = _root(_virsh(wishes, "vol-dumpxml", "--pool", pool, "--vol", volume, seconds=SECONDS))
    if backing := described.findtext("backingStore/path"):
        raise Invalid(
            f"The volume {volume} is over {backing}: an image has to stand alone. Make one of both, and import that: "
            f"qemu-img convert -O qcow2 {described.findtext('target/path') or volume} whole.qcow2"
        )
    path = Path(described.findtext("target/path") or "")
    if "://" in wishes.libvirt.replace(":///", "") or not path.is_absolute() or not path.exists() or not os.access(path, os.R_OK):
        path = _fetched(wishes, pool, volume, held)
    return of_file(path, bare_name(volume.rpartition("/")[2]))[0]


def _fetched(wishes: Wishes, pool: str, volume: str, held: ExitStack) -> Path:
    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pileus-import-", dir=wishes.scratch)))
    wishes.tell(0.0, f"fetching {pool}/{volume}")
    _virsh(wishes, "vol-download", "--sparse", "--pool", pool, "--vol", volume, "--file", str(folder / "volume"))
    return folder / "volume"


def _root(text: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)  # noqa: S314 of the user's own libvirt
    except ElementTree.ParseError as error:
        raise Unavailable(f"virsh gives no description of the volume: {error}.") from error


def _virsh(wishes: Wishes, *words: str, seconds: float | None = None) -> str:
    program = shutil.which("virsh")
    if program is None:
        raise NotFound("virsh is missing, by which libvirt's volumes are read: apt-get install libvirt-clients")
    try:
        done = subprocess.run([program, "--connect", wishes.libvirt, *words], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"libvirt at {wishes.libvirt} does not answer within {seconds:g} s.") from error
    if done.returncode:
        raise Unavailable(f"libvirt at {wishes.libvirt}: {' '.join(done.stderr.split()) or 'virsh failed'}")
    return done.stdout
