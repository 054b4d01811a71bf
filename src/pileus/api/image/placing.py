"""Puts finished content into stores: first a file beside the others on each store's own disk, then, under the lock, its name in all.

A crash in between leaves files without a final name, which go at the next start, or names without an image, which go then too.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pileus.api.cloud import Cloud
from pileus.api.image import files, stores
from pileus.api.image.files import Digest
from pileus.core.encrypted_content import MAGIC
from pileus.core.encrypted_content import is_encrypted as begins_as_encrypted
from pileus.model.errors import PileusError
from pileus.model.image_stores import LOCAL
from pileus.store import contents
from pileus.store.contents import Content

log = logging.getLogger("pileus.image")


@dataclass(frozen=True)
class Targets:
    """The stores that content is to lie in. `all_must_succeed`: in all of them or in none; else in as many as can be."""

    stores: tuple[str, ...] = (LOCAL,)
    all_must_succeed: bool = True


@dataclass
class Placing:
    """One content on its way into stores. `ready` are those that have it, each with the file that waits for its name."""

    cloud: Cloud
    source: Path
    found: Digest
    mark: str
    ready: dict[str, Path] = field(default_factory=dict[str, Path])

    def spread(self, targets: Targets) -> None:
        """Blocks. Have a file on each store's disk: the source itself, another name of it, or a copy, in the form that the store wants."""
        failure: PileusError | None = None
        for name in targets.stores:
            uploads = self.cloud.image_stores[name] / files.UPLOADS
            path = uploads / f"{self.mark}.{name}.placed"
            try:
                path.unlink(missing_ok=True)
                self.ready[name] = self._spread_to(name, path)
            except OSError as error:
                path.unlink(missing_ok=True)
                log.warning("the store %s could not take the content of %s: %s", name, self.mark, error.strerror)
                failure = failure or files.storage_error(error, name)
                if targets.all_must_succeed:
                    raise failure from error
        if failure and not self.ready:
            raise failure

    def _spread_to(self, name: str, path: Path) -> Path:
        with contents.opened(self.source, partial(stores.seal, self.cloud)) as content:
            if content.encrypted or _to_be_encrypted(self.cloud, name, content):
                _write(self.cloud, name, content, path, self.found.sha256)
                return path
        if self.source.parent == path.parent:
            return self.source
        files.link_or_copy(self.source, path)
        return path

    def install(self) -> None:
        """Blocks. Give each file its final name; the caller holds the lock until a row names it."""
        for name in sorted(self.ready, key=lambda name: self.ready[name] == self.source):  # the source last: others may be made of it
            files.install(self.cloud.image_stores[name], self.ready[name], self.found)

    def discard(self) -> None:
        """Remove what has got no final name."""
        for path in self.ready.values():
            if path != self.source:
                path.unlink(missing_ok=True)


def copied(cloud: Cloud, name: str, source: Path, target: Path, sha256: str) -> str:
    """Blocks. Copy a content to another store's disk, in that store's form; returns the SHA-256 of what was read."""
    with contents.opened(source, partial(stores.seal, cloud)) as content:
        return _write(cloud, name, content, target, sha256)


def _write(cloud: Cloud, name: str, content: Content, target: Path, sha256: str) -> str:
    if _to_be_encrypted(cloud, name, content):
        return contents.encrypt(content, target, sha256, stores.seal(cloud))
    return contents.copy(content, target)


def _to_be_encrypted(cloud: Cloud, name: str, content: Content) -> bool:
    """Where its store wants it; and where a plain file would be taken for an encrypted one."""
    return stores.is_encrypted(cloud.config, name) or begins_as_encrypted(content.read(len(MAGIC), 0))


def leftovers(directories: Mapping[str, Path], name: str) -> list[Path]:
    """The files that a write of that name may have left in the stores."""
    return [path for directory in directories.values() for path in (directory / files.UPLOADS).glob(f"{name}*") if os.path.lexists(path)]
