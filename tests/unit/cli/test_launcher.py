"""The launcher `./pileus`, which runs before there is anything but Python's library."""

import ast
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pileus.cli import COMMANDS

HOME = Path(__file__).parents[3]
FILE = HOME / "pileus"
EARLY = [FILE, *(HOME / "src" / "pileus" / name for name in ("__init__.py", "cli/__init__.py", "cli/progress.py", "cli/debian.py"))]


@pytest.fixture(scope="module")
def launcher() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("pileus_launcher", str(FILE))
    spec = importlib.util.spec_from_loader("pileus_launcher", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    before, writing = list(sys.path), sys.dont_write_bytecode
    loader.exec_module(module)
    sys.path[:], sys.dont_write_bytecode = before, writing
    return module


def call(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(FILE), *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **more})


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], ""),
        (["--help"], ""),
        (["up"], "up"),
        (["--state", "/srv/a", "up", "--detach"], "up"),
        (["--state=/srv/a", "status"], "status"),
        (["--state", "up", "test"], "test"),
        (["--state"], ""),
        (["openstack", "--os-cloud", "x", "server", "list"], "openstack"),
    ],
)
def test_the_command_is_the_first_word_that_is_no_option(launcher: ModuleType, words: list[str], command: str) -> None:
    assert launcher.command_of(words) == command


def test_an_options_value_stands_after_it_or_in_it(launcher: ModuleType) -> None:
    assert launcher.option(["up", "--state", "/a"], "--state") == "/a"
    assert launcher.option(["up", "--state=/a"], "--state") == "/a"
    assert launcher.option(["up"], "--state") is None


def test_a_cloud_that_was_simulated_is_so_again(launcher: ModuleType, tmp_path: Path) -> None:
    assert launcher.simulated(["up", "--simulate", "3"])
    assert not launcher.simulated(["--state", str(tmp_path), "up"])
    (tmp_path / "config.json").write_text(json.dumps({"simulate": 2}))
    assert launcher.simulated(["--state", str(tmp_path), "up"])
    (tmp_path / "config.json").write_text("[")
    assert not launcher.simulated(["--state", str(tmp_path), "up"])


def test_an_unknown_command_is_told_before_anything_is_installed(launcher: ModuleType) -> None:
    done = call("frobnicate")
    assert done.returncode == 1
    assert done.stderr.startswith("pileus: there is no command frobnicate; there are: up, ")
    assert done.stderr.count("\n") == 1


def test_every_command_has_a_module_and_every_module_a_line(launcher: ModuleType) -> None:
    for name in COMMANDS:
        assert (HOME / "src" / "pileus" / "cli" / f"{name}.py").is_file()
        assert name in launcher.usage()


def test_it_reads_on_a_python_that_is_too_old_to_run_pileus() -> None:
    for file in EARLY:
        ast.parse(file.read_text(), feature_version=(3, 7))


def test_it_stands_on_pythons_library_alone() -> None:
    text = "".join(file.read_text() for file in EARLY)
    imported = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    assert set(imported) - set(sys.stdlib_module_names) == {"pileus"}


def test_a_too_old_python_is_told_with_the_way_out(launcher: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "MINIMUM", (99, 0))
    with pytest.raises(launcher.Stop, match=r"Python 99\.0 or newer is needed, this machine has 3\.\d+: sudo apt-get install python3"):
        launcher.python()
