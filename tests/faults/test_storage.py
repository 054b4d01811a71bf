"""The disk under the store is full, or can't be written: said clearly, nothing accepted is lost, and it works again afterwards."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pileus.model.errors import Unavailable
from pileus.store.sqlite import SqliteDatabase
from tests.api.harness import TestCloud
from tests.faults.incarnation import Answer, Life, live
from tests.faults.operations import NETWORK, SERVERS, create_server, image_ids, one, running, server_id, status


def fill_up(place: Path) -> Path:
    """Leave not a byte free."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return filler


async def make_network(life: Life, name: str) -> Answer:
    return await life.call("POST", f"{NETWORK}/networks", {"network": {"name": name}})


def test_on_a_full_disk_writes_are_refused_and_nothing_accepted_is_lost(filled: Path, small_disk: Path) -> None:
    state = Path(shutil.copytree(filled, small_disk / "state"))

    async def script(life: Life) -> None:
        await running(life)
        filler = fill_up(small_disk)
        accepted: list[str] = []
        refused: list[Answer] = []
        while not refused:  # what the log of the database holds already may still be overwritten
            name = f"n{len(accepted)}"
            answer = await make_network(life, name)
            (accepted.append(name) if answer.status == 201 else refused.append(answer))
            assert len(accepted) < 2000, "the disk never became full"
        assert refused[0].status == 503, refused[0]
        assert "full" in refused[0].json["NeutronError"]["message"], refused[0]
        again = await life.call("POST", f"{SERVERS}/{await server_id(life)}/action", {"os-stop": None})
        assert again.status == 503, again
        assert (await life.get(f"{SERVERS}/{await server_id(life)}"))["server"]["status"] == "ACTIVE"
        filler.unlink()
        assert (await make_network(life, "after")).status == 201
        names = {one["name"] for one in (await life.get(f"{NETWORK}/networks"))["networks"]}
        assert names >= {*accepted, "after"}
        await life.settled()
        assert await life.verify() == []

    live(state, script)

    async def later(life: Life) -> None:
        await life.settled()
        assert await status(life) == "ACTIVE"
        assert await life.verify() == []

    live(state, later)


def test_a_report_that_could_not_be_recorded_is_recorded_when_there_is_space_again(filled: Path, small_disk: Path) -> None:
    state = Path(shutil.copytree(filled, small_disk / "state"))

    async def script(life: Life) -> None:
        await running(life)
        guest = await server_id(life)
        driver = next(agent._hypervisors[0] for agent in life.control.agents if agent._guests)
        filler = fill_up(small_disk)
        while (await make_network(life, "more")).status == 201:
            pass
        driver._keep = lambda kept: driver._states.update({kept.guest.id: kept})  # its own disk is full too
        driver.end(guest)
        await life.until(lambda: life.engine.failing, "the failure being shown")
        assert "full" in str(life.engine.failing)
        filler.unlink()
        del driver._keep
        await life.settled()
        assert await status(life) == "SHUTOFF"

    live(state, script)


def test_an_upload_to_a_full_disk_leaves_the_image_waiting_and_no_file(filled: Path, small_disk: Path) -> None:
    state = Path(shutil.copytree(filled, small_disk / "state"))

    async def script(life: Life) -> None:
        made = await life.do("POST", "/image/v2/images", {"name": "large", "disk_format": "raw", "container_format": "bare"})
        before = sorted((state / "images").rglob("*"))
        answer = await life.call("PUT", f"/image/v2/images/{made['id']}/file", content=b"x" * (8 << 20))
        assert answer.status == 413 and b"full" in answer.body, answer
        assert sorted((state / "images").rglob("*")) in (before, sorted([*before, state / "images" / ".uploads"]))
        assert [one["status"] for one in await image_ids(life, "large")] == ["queued"]

    live(state, script)


def test_a_database_that_cannot_be_written_is_said_at_once(filled: Path, small_disk: Path) -> None:
    state = Path(shutil.copytree(filled, small_disk / "state"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Unavailable, match=r"pileus\.db can't be (written|opened): .*([Rr]ead-?only)"):
        SqliteDatabase(state / "pileus.db")


def test_starting_on_a_read_only_state_directory_says_so(filled: Path, small_disk: Path) -> None:
    state = Path(shutil.copytree(filled, small_disk / "state"))
    (state / "config.json").write_text("{}")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    launcher = Path(__file__).parents[2] / "src"
    done: Any = subprocess.run(
        [sys.executable, "-c", "from pileus.cli.main import main; main()", "--state", str(state), "serve", "--listen", "127.0.0.1:0"],
        env={"PYTHONPATH": str(launcher), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and f"{state} can't be written" in done.stderr, done.stderr


def test_what_fills_the_disk_later_does_not_undo_what_was_answered_before(filled: Path, small_disk: Path) -> None:
    state = Path(shutil.copytree(filled, small_disk / "state"))

    async def script(life: Life) -> None:
        await create_server(life)
        fill_up(small_disk)  # while it is being built

    live(state, script)
    (small_disk / "filler").unlink()

    async def later(life: Life) -> None:
        await life.settled()
        assert await status(life) == "ACTIVE"
        assert await one(life, "network", "private")
        assert await life.verify() == []

    live(state, later)


def test_an_answer_that_can_no_longer_be_kept_for_a_repeat_is_still_given(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = TestCloud()
    try:
        write = cloud.db.write

        async def write_until_the_answer(work: Any) -> Any:
            if work.__qualname__.startswith("remember"):
                raise Unavailable("The database could not be written: database or disk is full")
            return await write(work)

        monkeypatch.setattr(cloud.db, "write", write_until_the_answer)
        ask = {"path": f"{NETWORK}/networks", "token": "member", "json": {"network": {"name": "n"}}, "headers": {"Idempotency-Key": "k"}}
        assert cloud.call("POST", **ask).status == 201
        again = cloud.call("POST", **ask)
        assert again.status == 409 and "look what is there" in again.json["NeutronError"]["message"]
    finally:
        monkeypatch.undo()
        cloud.close()
