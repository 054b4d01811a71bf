"""How quick this machine is, so that figures of others can be compared: a loop of pure Python, commits of SQLite, the disk's fsync."""

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LOOP = 2_000_000


def loop() -> float:
    """Seconds of CPU of a fixed loop of pure Python, the best of five."""

    def once() -> float:
        began = time.process_time()
        table: dict[int, int] = {}
        total = 0
        for number in range(LOOP):
            total = (total * 31 + number) & 0xFFFFFFFF
            table[total & 1023] = number
        return time.process_time() - began

    return min(once() for _ in range(5))


def disk(times: int = 100) -> dict[str, float]:
    """Milliseconds (medians): 4 KiB written and synced; a row inserted and committed by SQLite as the store does it."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.open(Path(folder) / "file", os.O_WRONLY | os.O_CREAT)
        synced: list[float] = []
        for number in range(times):
            began = time.perf_counter()
            os.pwrite(file, bytes(4096), number * 4096)
            os.fdatasync(file)
            synced.append(time.perf_counter() - began)
        os.close(file)
        db = sqlite3.connect(Path(folder) / "db", isolation_level=None)
        for text in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT)"):
            db.execute(text)
        committed: list[float] = []
        for number in range(times):
            began = time.perf_counter()
            db.execute("INSERT INTO t (value) VALUES (?)", (f"{number:0500}",))
            committed.append(time.perf_counter() - began)
        db.close()
    return {"fdatasync, ms": statistics.median(synced) * 1000, "SQLite commit, ms": statistics.median(committed) * 1000}


def machine() -> dict[str, Any]:
    """What it is, and how busy others keep it."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    home = Path(__file__).parents[1]
    commit = subprocess.run(["git", "-C", str(home), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "CPU": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory, GiB": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": " ".join(["./pileus bench control-plane", *sys.argv[1:]]),
        "load before": round(os.getloadavg()[0], 2),
        "loop of pure Python, s CPU": round(loop(), 3),
        **{name: round(value, 2) for name, value in disk().items()},
    }
