"""Runs Tempest's tests against a running cloud: an oracle that is installed beside pileus, in an environment of its own.

    python -m venv judge && judge/bin/pip install tempest keystone-tempest-plugin glance-tempest-plugin
    ./pileus --state DIR up --simulate 2 --detach
    python tests/conformance/run_tempest.py --state DIR --tempest judge 'tempest.api.(identity|image)'

Needs the client's packages (`pip install pileus[client]`) where it runs. Without a REGEX, `--list FILE` names the tests, one a line
(what an interoperability guideline gives). Prints what failed, the reason of each skip, and how many passed, failed and were skipped;
the whole output is kept in WORKSPACE/output.txt (default DIR/tempest). The code is 1 when a test failed.
For the tests that import an image from the web, name a place for it before the cloud starts, in DIR/config.json:
{"import_hosts": ["127.0.0.1:5999"]}; an image is served from there during the run.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance import tempest_config

LINE = re.compile(r"^\{\d+\} (?P<test>.+?) (?:\[[\d.]+s\] )?\.\.\. (?P<outcome>ok|FAILED|SKIPPED)(?:: (?P<reason>.*))?$")
STESTR = "[DEFAULT]\ntest_path={path}\ntop_dir={top}\ngroup_regex=([^\\.]*\\.)*\n"


class Outcome:
    """What the tests came to. A class that is skipped or broken as a whole counts once for each of its tests."""

    def __init__(self, output: str, listed: list[str]) -> None:
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.skipped: dict[str, str] = {}
        listed = [name.partition("[")[0] for name in listed]
        for match in filter(None, map(LINE.match, output.splitlines())):
            name = match["test"].partition("[")[0]
            if name.startswith(("setUpClass", "tearDownClass")):
                group = name.partition("(")[2].rstrip(")")
                names = [one for one in listed if one.rpartition(".")[0] == group] if name.startswith("setUp") else [name]
            else:
                names = [name]
            if match["outcome"] == "SKIPPED":
                self.skipped |= dict.fromkeys(names, (match["reason"] or "").strip())
            else:
                (self.passed if match["outcome"] == "ok" else self.failed).extend(names)
        seen = {*self.passed, *self.failed, *self.skipped}
        self.lost = [name for name in listed if name not in seen]

    def report(self) -> str:
        """The text for people."""
        lines = [f"FAILED   {name}" for name in sorted(self.failed)] + [f"NOT RUN  {name}" for name in self.lost]
        for reason, count in Counter(self.skipped.values()).most_common():
            lines.append(f"skipped  {count}: {reason}")
            lines += [f"         {name}" for name, why in sorted(self.skipped.items()) if why == reason]
        counts = f"passed {len(self.passed)}, failed {len(self.failed)}, skipped {len(self.skipped)}"
        return "\n".join([*lines, counts + (f", not run {len(self.lost)}" if self.lost else "")])


def prepare(asked: argparse.Namespace, image_url: str) -> Path:
    """A workspace with the settings; returns the settings' path."""
    users = tempest_config.accounts(asked.state) if asked.accounts else None
    path = tempest_config.write(asked.workspace, tempest_config.settings(asked.state, image_url), users)
    discover = next((asked.tempest / "lib").glob("python3*/site-packages/tempest/test_discover"))
    (asked.workspace / ".stestr.conf").write_text(STESTR.format(path=discover, top=discover.parents[1]))
    if not (asked.workspace / ".stestr").exists():
        subprocess.run([asked.tempest.resolve() / "bin" / "stestr", "init"], cwd=asked.workspace, check=True)
    return path


@contextmanager
def web(asked: argparse.Namespace) -> Iterator[str]:
    """Serves a small image where the cloud may fetch it, and gives its address; "" when there is no such place."""
    config = asked.state / "config.json"
    hosts = json.loads(config.read_text()).get("import_hosts", []) if config.exists() else []
    port = next((int(host.rpartition(":")[2]) for host in hosts if host.startswith("127.0.0.1:")), None)
    if port is None:
        yield ""
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{folder}/image.qcow2", "1M"], check=True)
        handler = partial(SimpleHTTPRequestHandler, directory=folder)
        with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{port}/image.qcow2"
            server.shutdown()


def run(asked: argparse.Namespace) -> Outcome:
    """Run the tests and read what they said."""
    with web(asked) as image_url:
        return _run(asked, prepare(asked, image_url))


def _run(asked: argparse.Namespace, settings: Path) -> Outcome:
    command = [
        str(asked.tempest.resolve() / "bin" / "tempest"),
        "run",
        "--config-file",
        str(settings),
        "--concurrency",
        str(asked.concurrency),
    ]
    if asked.list:
        command += ["--include-list", str(asked.list.resolve())]
    if asked.regex:
        command += ["--regex", asked.regex]
    listing = subprocess.run([*command, "--list-tests"], cwd=asked.workspace, capture_output=True, text=True, check=True)
    listed = [line for line in listing.stdout.splitlines() if re.match(r"^[\w.]+\.test_", line) or "_tempest_" in line.partition(".")[0]]
    print(f"{len(listed)} tests", flush=True)
    output = asked.workspace / "output.txt"
    with output.open("w") as file:
        subprocess.run(command, cwd=asked.workspace, stdout=file, stderr=subprocess.STDOUT, timeout=asked.timeout)
    return Outcome(output.read_text(), listed)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="the cloud's state directory")
    parser.add_argument("--tempest", type=Path, required=True, help="the environment that Tempest is installed in")
    parser.add_argument("--workspace", type=Path, help="where settings and output go (DIR/tempest)")
    parser.add_argument("--list", type=Path, help="a file with the names of tests")
    parser.add_argument("--accounts", action="store_true", help="use users made beforehand instead of the admin's dynamic ones")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for the whole run")
    parser.add_argument("regex", nargs="?", default="")
    asked = parser.parse_args()
    if not asked.regex and not asked.list:
        parser.error("give a REGEX or --list FILE")
    asked.workspace = (asked.workspace or asked.state / "tempest").resolve()
    outcome = run(asked)
    print(outcome.report())
    sys.exit(bool(outcome.failed or outcome.lost))


if __name__ == "__main__":
    main()
