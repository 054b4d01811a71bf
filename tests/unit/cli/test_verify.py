"""`pileus verify`: its answers, and repairs that are told first and done only when they are wanted."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pileus.cli import verify as module
from pileus.cli.main import cli
from pileus.config import Config
from pileus.core.verify import INVARIANTS
from pileus.store.open import open_database
from pileus.store.schema import migrate

STRAY = "0" * 64


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cloud of simulated hosts, not running, in which a content without an image and a role of nobody lie about."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / STRAY).write_bytes(b"nobody's")
    (tmp_path / "config.json").write_text(json.dumps({"simulate": 1}))

    async def make() -> None:
        db = open_database(Config(state=str(tmp_path)))
        await migrate(db)
        sql = "INSERT INTO implied_roles (prior_id, implied_id) VALUES ('gone', 'also')"
        await db.write(lambda tx: tx.execute(sql))
        await db.close()

    asyncio.run(make())
    return tmp_path


def run(state: Path, *words: str, typed: str | None = None) -> Result:
    """The command's answer."""
    return CliRunner().invoke(cli, ["--state", str(state), "verify", *words], input=typed)


def test_the_answer_for_programs_names_each_breach_and_says_what_can_be_mended(state: Path) -> None:
    done = run(state, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["invariants"] == len(INVARIANTS)
    assert {one["name"] for one in found["breaches"]} == {"contents_have_images", "implications_have_priors", "implications_have_roles"}
    for one in found["breaches"]:
        assert set(one) == {"name", "invariant", "sentence", "evidence", "repairable", "repair"}
        assert one["repairable"] and one["repair"]


def test_what_can_be_mended_is_said_to_a_person(state: Path) -> None:
    done = run(state)
    assert done.exit_code == 1
    assert "contents_have_images: content 000000000000 belongs to no image" in done.stdout
    assert "3 of 3 can be mended without losing anything" in done.stdout


def test_nothing_is_mended_before_somebody_says_yes(state: Path) -> None:
    done = run(state, "--repair", typed="n\n")
    assert done.exit_code == 1
    assert f"will remove the file images/{STRAY}" in done.stdout and "Do these 3 repairs?" in done.stdout
    assert (state / "images" / STRAY).exists()


def test_repairs_are_done_together_and_looked_at_again(state: Path) -> None:
    done = run(state, "--repair", typed="y\n")
    assert done.exit_code == 0, done.output
    assert f"{len(INVARIANTS)} invariants hold" in done.stdout
    assert not (state / "images" / STRAY).exists()
    assert run(state, "--json").exit_code == 0


def test_programs_repair_without_being_asked_and_are_told_what_was_done(state: Path) -> None:
    done = run(state, "--repair", "--yes", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["breaches"] == [] and len(found["repaired"]) == 3
    assert json.loads(run(state, "--repair", "--yes", "--json").stdout)["repaired"] == []


@pytest.mark.parametrize("words", [("--yes",), ("--repair", "--json")])
def test_words_that_do_not_go_together_are_refused(state: Path, words: tuple[str, ...]) -> None:
    assert run(state, *words).exit_code == 2
