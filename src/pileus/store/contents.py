"""Files of image content, plain or encrypted: opened, they give plain bytes; made encrypted, for stores that are to hold no others.

A file that has its final name, the SHA-256 of its content, says itself what it is: content that happens to begin like an encrypted file is
encrypted in every store. What has another name is on its way, and plain. Everything here blocks.
"""

import base64
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pileus.core import encrypted_content
from pileus.core.encrypted_content import HEADER, Header
from pileus.model.errors import Unavailable
from pileus.store.sealing import Seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAME = re.compile(r"[0-9a-f]{64}")
AT_ONCE = 16
"""Chunks that are encrypted and written, or read, together: one MiB."""
SYNC_EVERY = 64 << 20
Seals = Callable[[], Seal]


class Content:
    """An open content. `size` and all that is read are those of the plain bytes; `encrypted` says how the file has them."""

    encrypted = False

    def __init__(self, handle: int, size: int) -> None:
        self.size = size
        self._handle = handle

    def read(self, length: int, offset: int) -> bytes:
        """Bytes from there on, as many as there are. Unavailable when they are not what was written."""
        return os.pread(self._handle, length, offset)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Encrypted(Content):
    encrypted = True

    def __init__(self, handle: int, header: Header, cipher: "AESGCM", name: str) -> None:
        super().__init__(handle, header.size)
        self._header = header
        self._cipher = cipher
        self._name = name

    def read(self, length: int, offset: int) -> bytes:
        numbers = encrypted_content.span(self._header, offset, length)
        if not numbers:
            return b""
        begin, _ = self._header.place(numbers[0])
        last, size = self._header.place(numbers[-1])
        data = memoryview(os.pread(self._handle, last + size - begin, begin))
        plain = b"".join(self._opened(number, data, begin) for number in numbers)
        skipped = offset - numbers[0] * self._header.chunk
        return plain[skipped : skipped + length] if skipped or len(plain) > length else plain

    def _opened(self, number: int, data: memoryview, begin: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        place, size = self._header.place(number)
        sealed = data[place - begin : place - begin + size]
        try:
            return self._cipher.decrypt(encrypted_content.nonce(number), sealed, self._header.bound(number))
        except (InvalidTag, ValueError) as error:
            raise damaged(self._name, f"chunk {number} is not what was written") from error


def opened(path: Path, seal: Seals, flags: int = 0) -> Content:
    """A content, to be read. `seal` is asked for when it is encrypted; `flags` are further ones for `os.open`.

    OSError when there is no such file; Unavailable when it is damaged, is another's content, or was sealed with another key.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise damaged(path.name, "it is no file")
        begin = _beginning(handle, path.name)
        if not encrypted_content.is_encrypted(begin):
            return Content(handle, about.st_size)
        header = _header(begin, path.name)
        if about.st_size != header.file_size:
            raise damaged(path.name, f"it has {about.st_size} bytes instead of {header.file_size}")
        return _Encrypted(handle, header, _cipher(header, seal(), path.name), path.name)
    except BaseException:
        os.close(handle)
        raise


def check(path: Path, seal: Seals) -> None:
    """Unavailable when the content can't be opened, or when its first bytes are not what was written."""
    try:
        with opened(path, seal) as content:
            if content.encrypted:
                content.read(1, 0)
    except OSError as error:
        raise Unavailable(f"The content {path.name[:12]} can't be read: {error.strerror}.") from error


def is_encrypted(path: Path) -> bool:
    """Whether this is an encrypted content, or one that waits for its name; False when it is not there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return encrypted_content.is_encrypted(os.pread(handle, HEADER, 0))
    except OSError:
        return False
    finally:
        os.close(handle)


def size_of(path: Path) -> int:
    """Bytes of the plain content that are there: fewer than there should be where it is cut off. OSError when there is none."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there, begin = os.fstat(handle).st_size, _beginning(handle, path.name)
    finally:
        os.close(handle)
    if not encrypted_content.is_encrypted(begin):
        return there
    try:
        header = encrypted_content.decode(begin)
    except ValueError:
        return -1
    return header.size - (header.file_size - there)


def encrypt(source: Content, target: Path, sha256: str, seal: Seal) -> str:
    """Write a content encrypted, durably, where nothing is yet; returns the SHA-256 of what was read."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = AESGCM.generate_key(256)
    header = Header(size=source.size, sha256=bytes.fromhex(sha256), sealed_key=seal.close(base64.b64encode(key).decode()))
    cipher, counted = AESGCM(key), hashlib.sha256()

    def chunk(number: int, data: bytes) -> bytes:
        return cipher.encrypt(encrypted_content.nonce(number), data, header.bound(number))

    with _Target(target) as made:
        made.write(encrypted_content.encode(header))
        step = AT_ONCE * header.chunk
        for offset in range(0, max(header.size, 1), step):
            data = source.read(step, offset)
            if len(data) != min(step, header.size - offset):
                raise damaged(sha256, "it became shorter while it was read")
            counted.update(data)
            parts = [data[at : at + header.chunk] for at in range(0, max(len(data), 1), header.chunk)]
            first = offset // header.chunk
            made.write(b"".join(chunk(first + index, part) for index, part in enumerate(parts)))
    return counted.hexdigest()


def copy(source: Content, target: Path) -> str:
    """Write a content as it is, durably, where nothing is yet; returns the SHA-256 of what was read."""
    counted = hashlib.sha256()
    with _Target(target) as made:
        for offset in range(0, source.size, AT_ONCE * encrypted_content.CHUNK):
            data = source.read(AT_ONCE * encrypted_content.CHUNK, offset)
            counted.update(data)
            made.write(data)
    return counted.hexdigest()


def damaged(name: str, why: str) -> Unavailable:
    """What to say of a content that does not open."""
    return Unavailable(f"The encrypted content {name[:12]} can't be read: {why}. Upload it again.")


class _Target:
    """A file that is written from its beginning to its end, and durable then; what fails goes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._unsynced = 0

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        self._unsynced += len(data)
        if self._unsynced >= SYNC_EVERY:  # so that the end does not wait for all of it
            os.fdatasync(self._handle)
            self._unsynced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                os.fsync(self._handle)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(self._handle)
        if kind is not None:
            self._path.unlink(missing_ok=True)


def _beginning(handle: int, name: str) -> bytes:
    return os.pread(handle, HEADER, 0) if NAME.fullmatch(name) else b""


def _header(begin: bytes, name: str) -> Header:
    try:
        header = encrypted_content.decode(begin)
    except ValueError as error:
        raise damaged(name, str(error)) from error
    if not secrets.compare_digest(header.sha256.hex(), name):
        raise damaged(name, f"the file is that of the content {header.sha256.hex()[:12]}")
    return header


def _cipher(header: Header, seal: Seal, name: str) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(base64.b64decode(seal.open(header.sealed_key)))
    except Unavailable as error:
        raise Unavailable(
            f"The encrypted content {name[:12]} can't be read: it was sealed with another key than DIR/secrets/seal.key. "
            "Bring that key back, or upload the image again."
        ) from error
    except ValueError as error:
        raise damaged(name, "its key is damaged") from error
