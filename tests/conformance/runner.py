"""Runs one suite against a cloud: writes its settings, lists its tests, runs them with stestr, and reads what it said."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from pileus.cli.progress import Step, step
from pileus.model.errors import Unavailable
from tests.conformance import environment, outcome, tempest_config, warm_client
from tests.conformance.cloud import Place
from tests.conformance.suites import CLIENTS, Suite

STESTR = "[DEFAULT]\ntest_path={path}\ntop_dir={top}\ngroup_regex=([^\\.]*\\.)*\n"
LOADING = 120.0
CLOUDS = {"OS_CLOUD": "devstack-admin", "OS_TEST_TIMEOUT": "120", "OPENSTACKSDK_FUNC_TEST_TIMEOUT": "120", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Asked:
    """What to run of a suite: names that match `regex`, and only those of `names` when there are any."""

    regex: str = ""
    names: frozenset[str] | None = None
    workers: int = 2
    timeout: float = 7200.0


def run(suite: Suite, place: Place, judge: Path, folder: Path, asked: Asked) -> outcome.Outcome:
    """What came of the suite; its settings and its whole output stay in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with step(suite.title) as current:
        current.note("settings and users")
        environ = settings(suite, place, judge, folder, asked.workers)
        listed = tests(suite, judge, folder, environ, asked)
        if not listed:
            current.note("no test of it was asked for")
            return outcome.Outcome(suite.title)
        (folder / "tests.txt").write_text("".join(f"^{re.escape(name)}$\n" for name in listed))
        started = time.monotonic()
        with warm(suite, judge, folder, environ):
            output = follow(judge, folder, environ, asked, (current, len(listed)))
        found = outcome.read(suite.title, output, listed)
        found.seconds = time.monotonic() - started
        current.note(f"{len(found.passed)} passed, {len(found.failed) + len(found.lost)} failed, {len(found.skipped)} skipped")
    return found


def settings(suite: Suite, place: Place, judge: Path, folder: Path, workers: int) -> dict[str, str]:
    """Writes what the suite reads, and gives the environment of its processes."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environ |= {"PATH": f"{judge / 'bin'}:{environ.get('PATH', '/usr/bin:/bin')}", "PYTHONUNBUFFERED": "1"}
    packages = environment.packages(judge)
    (folder / ".stestr.conf").write_text(STESTR.format(path=packages / suite.discovered, top=packages))
    if not (folder / ".stestr").exists():
        subprocess.run([judge / "bin" / "stestr", "init"], cwd=folder, check=True, capture_output=True)
    if suite.part == CLIENTS:
        image = tempest_config.write_clouds(place.state, folder)
        (folder / "CONTRIBUTING.rst").write_text("What openstacksdk's tests upload: a file of this name in their source tree.\n")
        return environ | CLOUDS | {"OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"), "OPENSTACKSDK_IMAGE": image}
    users = tempest_config.accounts(place.state, workers) if suite.accounts else None
    path = tempest_config.write(folder, tempest_config.settings(place), users)
    return environ | {"TEMPEST_CONFIG_DIR": str(path.parent), "TEMPEST_CONFIG": path.name}


def tests(suite: Suite, judge: Path, folder: Path, environ: dict[str, str], asked: Asked) -> list[str]:
    """The names of what is to be run."""
    command = [str(judge / "bin" / "stestr"), "list", suite.pattern]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or ["no reason was given"]
        raise Unavailable(f"The tests of {suite.title} can't be listed: {said[-1][:300]} (settings and output: {folder})")
    chosen, left_out = re.compile(suite.pattern), re.compile(suite.left_out or "(?!)")
    names = [line.strip() for line in done.stdout.splitlines() if chosen.search(line.strip()) and not left_out.search(line)]
    return [name for name in names if re.search(asked.regex, name) and (asked.names is None or outcome.bare(name) in asked.names)]


@contextmanager
def warm(suite: Suite, judge: Path, folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """For the tests of the command line client: its program answers from a process that has loaded it (`warm_client.py`)."""
    if suite.part != CLIENTS or not suite.pattern.startswith("^openstackclient"):
        yield
        return
    path = folder / "client.sock"
    path.unlink(missing_ok=True)
    program = folder / "bin" / "openstack"
    program.parent.mkdir(exist_ok=True)
    program.write_text(warm_client.CALL.format(python=judge / "bin" / "python", path=str(path)))
    program.chmod(0o755)
    environ["PATH"] = f"{program.parent}:{environ['PATH']}"
    process = subprocess.Popen([judge / "bin" / "python", warm_client.__file__, path], cwd=folder, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LOADING
        while not path.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable("The openstack client of the suites' environment can't be loaded.")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def follow(judge: Path, folder: Path, environ: dict[str, str], asked: Asked, shown: tuple[Step, int]) -> str:
    """The run's output. Meanwhile the step says how far it is."""
    current, count = shown
    command = [str(judge / "bin" / "stestr"), "run", "--concurrency", str(asked.workers), "--include-list", "tests.txt"]
    lines: list[str] = []
    done = failed = 0
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout
    late = Timer(asked.timeout, os.killpg, (process.pid, signal.SIGTERM))
    late.start()
    try:
        with (folder / "output.txt").open("w") as kept:
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                lines.append(line)
                if match := outcome.LINE.match(line.rstrip("\n")):
                    done += 1
                    failed += match["outcome"] == "FAILED"
                    current.progress(done / count, f"{done} of {count}" + (f", {failed} failed" if failed else ""))
    finally:
        late.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    return "".join(lines)
