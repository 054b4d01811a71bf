"""What was said on the command line is kept, and what can't be meant is refused in words that name the way out."""

from pathlib import Path

import pytest

from pileus.cli import settings
from pileus.config import Config
from pileus.model.errors import Conflict, Invalid, NotFound


def test_what_was_said_is_kept_for_the_next_start(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    settings.remember(state, listen="127.0.0.1:5001", simulate=None)
    settings.remember(state, listen=None, simulate=2)
    assert settings.load(state) == Config(state=str(state), listen="127.0.0.1:5001", simulate=2)


def test_a_directory_that_moved_is_known_by_its_new_name(tmp_path: Path) -> None:
    settings.remember(tmp_path / "old", listen="127.0.0.1:5001")
    (tmp_path / "old").rename(tmp_path / "new")
    assert settings.load(tmp_path / "new").state == str(tmp_path / "new")


@pytest.mark.parametrize("listen", ["5000", ":5000", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1:²"])
def test_an_address_that_is_none_is_refused_and_not_kept(tmp_path: Path, listen: str) -> None:
    with pytest.raises(Invalid, match="expected HOST:PORT"):
        settings.remember(tmp_path, listen=listen)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("text", ["{{{", '{"listen": 5}', '{"lisen": "127.0.0.1:1"}', "[]", "\xff"])
def test_damaged_settings_name_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(Invalid, match=r"config\.json is not valid.*Mend it"):
        settings.load(tmp_path)


def test_a_file_is_no_state_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="is a file"):
        settings.prepare_directory(tmp_path / "file")


def test_a_directory_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(Invalid, match="holds something else"):
        settings.prepare_directory(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["letter.txt"]


def test_a_fresh_file_system_may_be_a_state_directory(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert settings.prepare_directory(tmp_path) == tmp_path


def test_a_directory_that_no_cloud_was_made_in_goes_again(tmp_path: Path) -> None:
    state = settings.prepare_directory(tmp_path / "cloud")
    (state / "up.lock").touch()
    settings.forget_unused(state)
    assert not state.exists()


def test_a_directory_with_a_cloud_stays(tmp_path: Path) -> None:
    settings.remember(tmp_path, listen="127.0.0.1:5001")
    settings.forget_unused(tmp_path)
    assert settings.load(tmp_path).listen == "127.0.0.1:5001"


def test_a_real_cloud_does_not_become_a_simulated_one(tmp_path: Path) -> None:
    settings.remember(tmp_path, listen="127.0.0.1:5001")
    (tmp_path / "pileus.db").touch()
    with pytest.raises(Conflict, match="is a real one"):
        settings.remember(tmp_path, simulate=3)


def test_records_are_asked_for_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no cloud"):
        settings.check_store(Config(state=str(tmp_path)))
