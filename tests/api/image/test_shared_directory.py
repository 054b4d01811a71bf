"""Image content in a directory that several processes share: naming a file and freeing it exclude each other among them all."""

import asyncio
import subprocess
import sys
from pathlib import Path

from pileus.api.image.files import NAMING, naming

HOLD = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_is_named_only_when_no_other_process_frees_one(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / NAMING)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"held\n"

    async def enter() -> None:
        async with naming(tmp_path):
            pass

    async def run() -> None:
        waiting = asyncio.create_task(enter())
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        given_up = asyncio.create_task(enter())
        await asyncio.sleep(0)
        given_up.cancel()
        other.kill()  # what a process held that was killed is free
        await asyncio.wait_for(waiting, 10)
        await asyncio.wait_for(enter(), 10)

    try:
        asyncio.run(run())
    finally:
        other.kill()
        other.communicate()
