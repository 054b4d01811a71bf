"""What is drawn, from a seed and from what it is drawn for: neither the time nor what else happens changes an outcome."""

import random
from collections import Counter


class Dice:
    """Draws of one cloud. The same seed, the same words and the same count of draws for these words: the same outcome."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._drawn: Counter[tuple[str, ...]] = Counter()

    def next(self, *words: str) -> random.Random:
        """The source of the next outcome for these words."""
        self._drawn[words] += 1
        return random.Random("\0".join((str(self.seed), *words, str(self._drawn[words]))))
