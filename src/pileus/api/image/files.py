"""Files of image content: written under a name of their own, hashed and inspected on the way, then named by their hash.

The order makes a crash harmless: a file gets its final name before a row names it, and goes only after no row names it.
Naming and freeing exclude each other (`naming`), so that a file is never freed between the two. What a crash leaves is
removed by `recover` at start.
"""

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pileus import threads
from pileus.api.image import sparse
from pileus.core.image_formats import Inspector
from pileus.model.base import Model
from pileus.model.errors import PileusError, TooLarge, Unavailable
from pileus.model.image_stores import LOCAL
from pileus.model.images import ImageStatus
from pileus.store import contents, image_tasks
from pileus.store import images as store
from pileus.store.database import Database, Transaction

Outcome = TypeVar("Outcome", covariant=True)
log = logging.getLogger("pileus.image")
BLOCK = 2 << 20
UPLOADS = ".uploads"
STAGED = ".staged"
PART = ".part"
"""Ends the name of what is staged in parts, and not complete yet."""
NAMING = ".naming"
LOOK_EVERY = 0.01
CONTENT = re.compile(r"[0-9a-f]{64}")

SYNC_EVERY = 64 << 20
"""Bytes after which the disk is made to begin, so that the end of an upload does not wait for all of it."""
# Of their own, three for each of two uploads: what hashes a large image must hold up neither another's nor what else has work for threads.
_COUNTERS = 6
_counters = ThreadPoolExecutor(max_workers=_COUNTERS, thread_name_prefix="image")
# What a tenant has packed may take an hour to unpack: that holds up others' imports, and nothing else that needs a thread.
_UNPACKERS = 4
unpackers = ThreadPoolExecutor(max_workers=_UNPACKERS, thread_name_prefix="unpacking")


def begin() -> None:
    """Start the threads, while there is memory for them."""
    threads.begin(_counters, _COUNTERS)
    threads.begin(unpackers, _UNPACKERS)


_naming: dict[Path, asyncio.Lock] = {}
Stores = Mapping[str, Path]
"""The directories of content by the store's name; what is on its way and what is staged lies in the default one."""


class Digest(Model, frozen=True, kw_only=True):
    """What was counted of some content: its length and its hashes, in hex."""

    size: int
    sha256: str
    sha512: str
    md5: str


class Intake:
    """Bytes on their way into a file. Each method blocks: call it in a thread, one at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self.inspector = Inspector()
        self._hashes = new_hashes()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._syncing: Future[None] | None = None
        self._synced = 0

    def write(self, data: bytes) -> None:
        """Keep and count the next bytes."""
        offset = self.inspector.size
        counting = start_count(data, self._hashes)
        try:
            sparse.write(self._file, data, offset)
            self.inspector.feed(data)
            if offset - self._synced >= SYNC_EVERY and (self._syncing is None or self._syncing.done()):
                self._sync_ended()
                self._syncing, self._synced = _counters.submit(os.fdatasync, self._file), offset
        finally:
            wait(counting)

    def finish(self) -> Digest:
        """Make it durable; nothing can be written any more."""
        os.ftruncate(self._file, self.inspector.size)
        self._sync_ended()
        os.fsync(self._file)
        self.close()
        return digest(self.inspector, self._hashes)

    def _sync_ended(self) -> None:
        """The kernel tells an error of the disk once: it must not go unheard."""
        if self._syncing is not None:
            self._syncing.result()

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._syncing is not None:
            wait([self._syncing])
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)


Hashes = tuple["hashlib._Hash", "hashlib._Hash", "hashlib._Hash"]


def new_hashes() -> Hashes:
    """What every content is counted by."""
    return hashlib.sha256(), hashlib.sha512(), hashlib.md5(usedforsecurity=False)


def start_count(data: bytes, hashes: Hashes) -> list[Future[None]]:
    """Let each hash see the next bytes, in a thread of its own: the slowest alone bounds an upload then, not their sum. Wait for all."""
    return [_counters.submit(one.update, data) for one in hashes]


def count(data: bytes, inspector: Inspector, hashes: Hashes) -> None:
    """Let the inspector and the hashes see the next bytes. Blocks."""
    counting = start_count(data, hashes)
    try:
        inspector.feed(data)
    finally:
        wait(counting)


def digest(inspector: Inspector, hashes: Hashes) -> Digest:
    """The outcome."""
    sha256, sha512, md5 = (one.hexdigest() for one in hashes)
    return Digest(size=inspector.size, sha256=sha256, sha512=sha512, md5=md5)


class Sink(Protocol[Outcome]):
    """What takes bytes. Each method blocks: call it in a thread, one at a time."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> Outcome: ...


async def fill(intake: Sink[Outcome], chunks: AsyncIterator[bytes], limit: int) -> Outcome:
    """Write all chunks; while one block is written and hashed in a thread, the next one is gathered, and no more than that.

    TooLarge beyond `limit` bytes or when the disk is full.
    """
    writing: asyncio.Future[Any] | None = None  # shielded: the file must not be closed while a thread is at it
    parts: list[bytes] = []
    held = total = 0
    try:
        async for chunk in chunks:
            parts.append(chunk)
            held += len(chunk)
            total += len(chunk)
            if total > limit:
                raise TooLarge(f"The image is larger than {limit} bytes, the most that is accepted.")
            if held >= BLOCK:
                if writing:
                    await asyncio.shield(writing)
                writing = asyncio.ensure_future(asyncio.to_thread(intake.write, b"".join(parts)))
                parts, held = [], 0
        if writing:
            await asyncio.shield(writing)
        writing = asyncio.ensure_future(asyncio.to_thread(_end, intake, b"".join(parts)))
        return await asyncio.shield(writing)
    except OSError as error:
        raise storage_error(error) from error
    finally:
        if writing:
            await asyncio.wait([writing])
            writing.exception()  # told already, or of no use any more


def _end(intake: Sink[Outcome], rest: bytes) -> Outcome:
    intake.write(rest)
    return intake.finish()


def storage_error(error: OSError, name: str = LOCAL) -> PileusError:
    """What to say when the image directory, or another store, can't be written."""
    what = "The image storage" if name == LOCAL else f"The image store {name}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TooLarge(f"{what} is full: {error.strerror}.")
    return Unavailable(f"{what} can't be written: {error.strerror}.")


def read_through(path: Path) -> tuple[Digest, Inspector]:
    """Hash and inspect a file that is there."""
    inspector = Inspector()
    hashes = new_hashes()
    with path.open("rb", buffering=0) as file:
        data = file.read(BLOCK)
        while data:
            counting = start_count(data, hashes)
            try:
                inspector.feed(data)
                data = file.read(BLOCK)
            finally:
                wait(counting)
        os.fsync(file.fileno())
    return digest(inspector, hashes), inspector


def look_through(path: Path) -> Inspector:
    """Inspect a file that is there, without its hashes, which take ten times as long."""
    inspector = Inspector()
    with path.open("rb", buffering=0) as file:
        while data := file.read(BLOCK):
            inspector.feed(data)
    return inspector


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system gives none."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


@asynccontextmanager
async def naming(directory: Path) -> AsyncIterator[None]:
    """Held while a file gets its final name and a row that names it, and while one without a row is freed: by one process at a time of
    those that share the directory."""
    async with _naming.setdefault(directory, asyncio.Lock()):
        directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        handle = os.open(directory / NAMING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(handle):  # noqa: ASYNC110 another process holds it, and tells nobody
                await asyncio.sleep(LOOK_EVERY)
            yield
        finally:
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def install(directory: Path, path: Path, found: Digest) -> None:
    """Give a finished file its final name; one that has it already stays, so that its other names remain the same file. But an encrypted
    one takes the place of what is there: of a plain one, or one that may be damaged without its length telling it."""
    target = directory / found.sha256
    if target.exists() and contents.size_of(target) == found.size and not contents.is_encrypted(path):
        path.unlink()
        return
    path.chmod(0o444)
    path.replace(target)
    sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def release(db: Database, stores: Stores, content: str) -> bool:
    """Remove a content's file from each store where no image has it; says whether it went from any. Where a disk is away it stays, for
    `collect` at the next start, or `verify`."""
    gone = False
    async with naming(stores[LOCAL]):
        for name, directory in stores.items():
            if await store.content_used(db, content, name):
                continue
            try:
                await asyncio.to_thread((directory / content).unlink, missing_ok=True)
                gone = True
            except OSError as error:
                log.warning("the content %s could not be removed from the store %s: %s", content, name, error.strerror)
    return gone


async def collect(db: Database, stores: Stores) -> list[str]:
    """Remove every content that no image has where it lies; returns the hashes that went."""
    used = await store.contents(db)
    there = {
        (name, one.name) for name, folder in stores.items() if folder.exists() for one in folder.iterdir() if CONTENT.fullmatch(one.name)
    }
    return [content for content in sorted({content for _, content in there - used}) if await release(db, stores, content)]


async def recover(db: Database, stores: Stores) -> list[str]:
    """At start, before requests: uploads that died with the process wait for content again, copies between stores have failed, and their
    files go.

    Returns the ids of the images that wait again.
    """
    directory = stores[LOCAL]
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    for one in stores.values():
        shutil.rmtree(one / UPLOADS, ignore_errors=True)
    staged = directory / STAGED

    async def requeue(tx: Transaction) -> list[str]:
        parts = {path.name.removesuffix(PART) for path in staged.glob(f"*{PART}")}
        again = await store.requeue_broken(tx, parts)
        for image in await store.IMAGES.find(tx, "status IN ('uploading', 'importing') AND upload IS NULL"):
            if image.status == ImageStatus.IMPORTING or not (image.id in parts or (staged / image.id).exists()):
                await store.save(tx, image, status=ImageStatus.QUEUED, staged=None)
                again.append(image.id)
        await image_tasks.fail_broken(tx)
        return again

    again = await db.write(requeue)
    waiting = {row[0] for row in await db.all("SELECT id FROM images WHERE status = 'uploading'")}
    for entry in staged.iterdir() if staged.exists() else []:
        if entry.name.removesuffix(PART) not in waiting:
            entry.unlink()
    await collect(db, stores)
    return again
