"""Images that a host can't make disks of as they lie there: their content is brought here in the clear, checked, and kept until disks
have been made of it.

What a host does not see it fetches from the cloud, and so it does with what is encrypted; the cloud's own machine opens that where it lies.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pileus.core import encrypted_content
from pileus.model.errors import NodeFailed, PileusError
from pileus.model.guests import DiskImage, Guest
from pileus.model.messages import ApplyGuest, NodeRequest, PrepareIncoming

BLOCK = 1 << 20
TIMEOUT = 60.0
"""Seconds for which the cloud may say nothing."""
Opener = Callable[[Path], Iterator[bytes]]
"""The plain bytes of an encrypted content. PileusError, or OSError, when it can't be read."""


class ImageBringer:
    """Brings contents into `directory`, each once at a time. `base`: where the storage driver keeps what disks are made of."""

    def __init__(self, directory: Path, base: Path) -> None:
        self.directory = directory
        self.base = base
        self._turns: dict[str, asyncio.Lock] = {}

    def sweep(self) -> None:
        """At start: what an interrupted request has left goes."""
        for path in self.directory.glob("*"):
            path.unlink(missing_ok=True)

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
        """Disks have been made: what was brought is linked to where the storage driver keeps it."""
        if isinstance(request, ApplyGuest | PrepareIncoming):
            for disk in request.guest.disks:
                if disk.image is not None and (self.base / disk.image.sha256).exists():
                    (self.directory / disk.image.sha256).unlink(missing_ok=True)

    async def _local(self, image: DiskImage) -> DiskImage:
        if not self._has_to_be_brought(image):
            return image
        target = self.directory / image.sha256
        async with self._turns.setdefault(image.sha256, asyncio.Lock()):
            if not target.exists() and not self._kept(image, target):
                if (self.base / image.sha256).exists():  # on another file system
                    return image
                await asyncio.to_thread(self._bring, image, target)
        return msgspec.structs.replace(image, path=str(target))

    def _kept(self, image: DiskImage, target: Path) -> bool:
        """What the storage driver has already gets a second name: it may lose the first with its last guest, before this one has it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.link(self.base / image.sha256, target)
        except OSError:
            return False
        return True

    def _has_to_be_brought(self, image: DiskImage) -> bool:
        raise NotImplementedError

    def _blocks(self, image: DiskImage) -> Iterator[bytes]:
        """The plain content. Errors are NodeFailed, or OSError."""
        raise NotImplementedError

    def _bring(self, image: DiskImage, target: Path) -> None:
        """Blocks."""
        partial = target.with_suffix(".partial")
        digest = hashlib.sha256()
        try:
            with partial.open("wb") as file:
                for block in self._blocks(image):
                    digest.update(block)
                    file.write(block)
        except PileusError:
            partial.unlink(missing_ok=True)
            raise
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise NodeFailed(self.failure, detail=str(error)) from error
        if digest.hexdigest() != image.sha256:
            partial.unlink(missing_ok=True)
            raise NodeFailed("The image's content arrived otherwise than it was stored; it was not used.")
        partial.rename(target)

    failure = "The image's content could not be read."


class ImageFetcher(ImageBringer):
    """For a host that has joined: from the cloud whose API is at `api`."""

    failure = "The image's content could not be fetched from the cloud."

    def __init__(self, directory: Path, api: str, base: Path) -> None:
        super().__init__(directory, base)
        self.api = api

    def _has_to_be_brought(self, image: DiskImage) -> bool:
        return bool(image.source) and _encrypted(image) is not False

    def _blocks(self, image: DiskImage) -> Iterator[bytes]:
        import ssl  # the cloud's own machine needs none of them
        import urllib.error
        import urllib.request

        context = ssl.create_default_context() if self.api.startswith("https:") else None
        address = self.api + image.source  # http or https: `api` was checked when this host joined
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT, context=context) as answer:  # noqa: S310
                while block := answer.read(BLOCK):
                    yield block
        except urllib.error.HTTPError as error:
            raise NodeFailed(f"The image's content could not be fetched: the cloud answered {error.code}.") from error


class ImageOpener(ImageBringer):
    """For the cloud's own machine: what is encrypted is opened by `opener`, all else is used where it lies."""

    def __init__(self, directory: Path, base: Path, opener: Opener) -> None:
        super().__init__(directory, base)
        self._opener = opener

    def _has_to_be_brought(self, image: DiskImage) -> bool:
        return _encrypted(image) is True

    def _blocks(self, image: DiskImage) -> Iterator[bytes]:
        try:
            yield from self._opener(Path(image.path))
        except NodeFailed:
            raise
        except PileusError as error:
            raise NodeFailed(error.message) from error


def _encrypted(image: DiskImage) -> bool | None:
    """Whether the content's file is encrypted; None when this host does not see it."""
    try:
        handle = os.open(image.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # the storage driver says what is wrong with it
        return False
    try:
        return encrypted_content.is_encrypted(os.pread(handle, len(encrypted_content.MAGIC), 0))
    except OSError:
        return False
    finally:
        os.close(handle)
