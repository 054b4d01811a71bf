"""Puts finished content into stores: first a file beside the others on each store's own disk, then, under the lock, its name in all.

A crash in between leaves files without a final name, which go at the next start, or names without an image, which go then too.
"""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pileus.api.image import files
from pileus.api.image.files import Digest
from pileus.model.errors import PileusError
from pileus.model.image_stores import LOCAL

log = logging.getLogger("pileus.image")


@dataclass(frozen=True)
class Targets:
    """The stores that content is to lie in. `all_must_succeed`: in all of them or in none; else in as many as can be."""

    stores: tuple[str, ...] = (LOCAL,)
    all_must_succeed: bool = True


@dataclass
class Placing:
    """One content on its way into stores. `ready` are those that have it, each with the file that waits for its name."""

    stores: Mapping[str, Path]
    source: Path
    mark: str
    ready: dict[str, Path] = field(default_factory=dict[str, Path])

    def spread(self, targets: Targets) -> None:
        """Blocks. Have a file on each store's disk: the source itself, another name of it, or a copy."""
        failure: PileusError | None = None
        for name in targets.stores:
            uploads = self.stores[name] / files.UPLOADS
            path = self.source if self.source.parent == uploads else uploads / f"{self.mark}.{name}.placed"
            try:
                if path != self.source:
                    path.unlink(missing_ok=True)
                    files.link_or_copy(self.source, path)
                self.ready[name] = path
            except OSError as error:
                path.unlink(missing_ok=True)
                log.warning("the store %s could not take the content of %s: %s", name, self.mark, error.strerror)
                failure = failure or files.storage_error(error, name)
                if targets.all_must_succeed:
                    raise failure from error
        if failure and not self.ready:
            raise failure

    def install(self, found: Digest) -> None:
        """Blocks. Give each file its final name; the caller holds the lock until a row names it."""
        for name in sorted(self.ready, key=lambda name: self.ready[name] == self.source):  # the source last: others may be made of it
            files.install(self.stores[name], self.ready[name], found)

    def discard(self) -> None:
        """Remove what has got no final name."""
        for path in self.ready.values():
            if path != self.source:
                path.unlink(missing_ok=True)


def copied(source: Path, target: Path) -> str:
    """Blocks. Copy a content to another disk; returns the SHA-256 of what was read."""
    hashed = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with source.open("rb", buffering=0) as file, target.open("wb", buffering=0) as made:
        while data := file.read(files.BLOCK):
            hashed.update(data)
            rest = memoryview(data)
            while rest:
                rest = rest[made.write(rest) :]
        os.fsync(made.fileno())
    return hashed.hexdigest()


def leftovers(stores: Mapping[str, Path], name: str) -> list[Path]:
    """The files that a write of that name may have left in the stores."""
    return [path for directory in stores.values() for path in (directory / files.UPLOADS).glob(f"{name}*") if os.path.lexists(path)]
