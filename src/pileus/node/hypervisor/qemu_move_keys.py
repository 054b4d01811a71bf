"""Gives a QEMU the certificates of a move: files that its user alone can read, for as long as it takes to load them."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

from pileus.model.errors import NodeFailed
from pileus.model.moves import MoveKeys
from pileus.node.hypervisor.qmp import Qmp

OBJECT = "move-tls"
_DIRECTORY = "tls"


async def load_keys(qmp: Qmp, directory: Path, keys: MoveKeys, user: int | None, server: bool) -> None:
    """Make QEMU's credentials; it refuses whoever shows none of the same authority."""
    await unload_keys(qmp)
    endpoint = "server" if server else "client"
    try:
        await asyncio.to_thread(_write, directory / _DIRECTORY, keys, endpoint, user)
        await qmp.execute("object-add", qom_type="tls-creds-x509", id=OBJECT, dir=_DIRECTORY, endpoint=endpoint, verify_peer=True)
    finally:
        await asyncio.to_thread(shutil.rmtree, directory / _DIRECTORY, True)


async def unload_keys(qmp: Qmp) -> None:
    """Fine when there are none."""
    root = {one["name"] for one in await qmp.execute("qom-list", path="/")}
    if "objects" in root and any(one["name"] == OBJECT for one in await qmp.execute("qom-list", path="/objects")):
        await qmp.execute("object-del", id=OBJECT)


async def unload_keys_if_unused(qmp: Qmp) -> None:
    """The same, unless memory still comes that way."""
    if not str((await qmp.execute("query-migrate")).get("status", "")).startswith("postcopy"):
        await unload_keys(qmp)


def name_of(keys: MoveKeys | None) -> str:
    """The host name that a certificate is for; empty without one."""
    if keys is None:
        return ""
    from cryptography import x509  # imported late: most starts need none of it

    try:
        certificate = x509.load_pem_x509_certificate(keys.certificate.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found: Any = names.get_values_for_type(x509.DNSName)
        return str(found[0])
    except (ValueError, IndexError, x509.ExtensionNotFound) as error:
        raise NodeFailed("The certificate of the move names no host.", detail=str(error)) from error


def _write(directory: Path, keys: MoveKeys, endpoint: str, user: int | None) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    for name, text in (
        ("ca-cert.pem", keys.authority),
        (f"{endpoint}-cert.pem", keys.certificate),
        (f"{endpoint}-key.pem", keys.key),
    ):
        path = directory / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if user is not None:
            os.chown(path, user, user)
    if user is not None:
        os.chown(directory, user, user)
