"""What the tests of the identity service ask and are answered, against the schemas of Keystone's release."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = os.environ.get("PILEUS_KEYSTONE_PYTHON", "")
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not PYTHON, reason="PILEUS_KEYSTONE_PYTHON names no python with keystone in it")
def test_exchanges_are_as_keystones_schemas_say(tmp_path: Path) -> None:
    """Tests that ask for what is refused write nothing down; the others must be well for this to mean something."""
    file = tmp_path / "exchanges.jsonl"
    environment = {**os.environ, "PILEUS_EXCHANGES": str(file)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}", "tests/api/identity"]
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert made.returncode == 0, made.stdout[-4000:]
    checked = subprocess.run(
        [PYTHON, str(ROOT / "tests/conformance/keystone_schemas.py"), str(file)], capture_output=True, text=True, timeout=600
    )
    print(checked.stdout)
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr[-4000:]
