"""Looks for inputs that take new paths through a parser, with atheris (pip install atheris).

python -m tests.unit.fuzz.coverage_guided TARGET SECONDS
"""

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run one target until something breaks or the time is over."""
    import atheris

    with atheris.instrument_imports(include=["pileus"]):
        from tests.unit.fuzz.targets import TARGETS
    name, seconds = sys.argv[1], int(sys.argv[2])
    if name not in TARGETS:
        sys.exit(f"{name} is no target; there are {', '.join(TARGETS)}")
    target, samples = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(samples):
            (Path(corpus) / str(number)).write_bytes(sample)
        options = [
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            f"-max_len={max(map(len, samples)) + 4096}",
            "-verbosity=1",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
