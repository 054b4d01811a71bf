"""Images that a host does not see as files: their content is fetched from the cloud, checked, and kept until disks have been made of it."""

import asyncio
import hashlib
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from pileus.model.errors import NodeFailed
from pileus.model.guests import DiskImage, Guest
from pileus.model.messages import ApplyGuest, NodeRequest, PrepareIncoming

BLOCK = 1 << 20
TIMEOUT = 60.0
"""Seconds for which the cloud may say nothing."""


class ImageFetcher:
    """Fetches into `directory` from the cloud whose API is at `api`; one fetch of the same content at a time."""

    def __init__(self, directory: Path, api: str, base: Path) -> None:
        self.directory = directory
        self.api = api
        self.base = base  # where the storage driver keeps images that disks are made of
        self._turns: dict[str, asyncio.Lock] = {}

    async def localize(self, request: NodeRequest) -> NodeRequest:
        """The request with paths of this host for all its images; NodeFailed when one can't be had."""
        if not isinstance(request, ApplyGuest | PrepareIncoming):
            return request
        disks = [
            disk if disk.image is None else msgspec.structs.replace(disk, image=await self._local(disk.image))
            for disk in request.guest.disks
        ]
        guest: Guest = msgspec.structs.replace(request.guest, disks=disks)
        return msgspec.structs.replace(request, guest=guest)

    async def release(self, request: NodeRequest) -> None:
        """Disks have been made: what was fetched is linked to where the storage driver keeps it."""
        if isinstance(request, ApplyGuest | PrepareIncoming):
            for disk in request.guest.disks:
                if disk.image is not None and (self.base / disk.image.sha256).exists():
                    (self.directory / disk.image.sha256).unlink(missing_ok=True)

    async def _local(self, image: DiskImage) -> DiskImage:
        if not image.source or (self.base / image.sha256).exists() or Path(image.path).exists():
            return image
        target = self.directory / image.sha256
        async with self._turns.setdefault(image.sha256, asyncio.Lock()):
            if not target.exists():
                await asyncio.to_thread(self._fetch, image, target)
        return msgspec.structs.replace(image, path=str(target))

    def _fetch(self, image: DiskImage, target: Path) -> None:
        """Blocks."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        digest = hashlib.sha256()
        try:
            context = ssl.create_default_context() if self.api.startswith("https:") else None
            address = self.api + image.source  # http or https: `api` was checked when this host joined
            with urllib.request.urlopen(address, timeout=TIMEOUT, context=context) as answer, partial.open("wb") as file:  # noqa: S310
                while block := answer.read(BLOCK):
                    digest.update(block)
                    file.write(block)
        except urllib.error.HTTPError as error:
            raise NodeFailed(f"The image's content could not be fetched: the cloud answered {error.code}.") from error
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise NodeFailed("The image's content could not be fetched from the cloud.", detail=str(error)) from error
        if digest.hexdigest() != image.sha256:
            partial.unlink(missing_ok=True)
            raise NodeFailed("The image's content arrived otherwise than it was stored; it was not used.")
        partial.rename(target)
