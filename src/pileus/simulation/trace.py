"""The sequence of events of a life: two runs are the same when their digests are."""

import hashlib
from collections import Counter
from typing import IO

from pileus.simulation.loop import VirtualTime


class Trace:
    """Events as lines, into a digest and, where one is given, a file. `counts` are by kind."""

    def __init__(self, time: VirtualTime, file: IO[str] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._time = time
        self._file = file
        self._digest = hashlib.blake2b(digest_size=16)

    def note(self, kind: str, *words: object) -> None:
        """Something happened now."""
        self.counts[kind] += 1
        line = f"{self._time.at:.6f} {kind} {' '.join(map(str, words))}\n"
        self._digest.update(line.encode())
        if self._file is not None:
            self._file.write(line)

    @property
    def digest(self) -> str:
        """Of all events up to now."""
        return self._digest.hexdigest()
