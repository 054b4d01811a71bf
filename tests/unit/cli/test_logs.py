"""Every line of the log is one event, and says for which request it was written."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.cli.logs import log_to
from pileus.core import request_ids


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    one = logging.getLogger()
    before, level = list(one.handlers), one.level
    yield one
    for handler in one.handlers:
        if handler not in before:
            handler.close()
    one.handlers, one.level = before, level


def written(directory: Path) -> list[str]:
    return (directory / "log" / "pileus.log").read_text().splitlines()


def test_a_line_of_json_names_request_level_logger_and_message(tmp_path: Path, root: logging.Logger) -> None:
    log_to(tmp_path, also_terminal=False, form="json")
    request_ids.CURRENT.set("req-1")
    logging.getLogger("pileus.here").warning('two\nlines and a "quote" of %s', "me")
    (line,) = written(tmp_path)
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {"level": "WARNING", "logger": "pileus.here", "message": 'two\nlines and a "quote" of me', "request_id": "req-1"}
    request_ids.CURRENT.set("")


def test_a_traceback_is_part_of_the_line_in_json_and_indented_in_text(tmp_path: Path, root: logging.Logger) -> None:
    for form in ("json", "text"):
        directory = tmp_path / form
        directory.mkdir()
        log_to(directory, also_terminal=False, form=form)
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("pileus.here").exception("it failed")
    (line,) = written(tmp_path / "json")
    assert json.loads(line)["exception"].endswith("ValueError: why")
    first, *rest = written(tmp_path / "text")
    assert first.endswith("ERROR pileus.here: it failed")
    assert rest[-1] == "  ValueError: why" and all(one.startswith("  ") for one in rest)


def test_nobody_writes_a_second_line_into_the_text_by_what_he_says(tmp_path: Path, root: logging.Logger) -> None:
    log_to(tmp_path, also_terminal=False)
    logging.getLogger("pileus.here").warning("name %s", "x\n2026-11-21T00:00:00.000Z ERROR pileus: forged\r")
    (line,) = written(tmp_path)
    assert line.endswith(r"name x\n2026-11-21T00:00:00.000Z ERROR pileus: forged\r")


def test_the_log_is_the_owners_and_the_groups(tmp_path: Path, root: logging.Logger) -> None:
    log_to(tmp_path, also_terminal=False)
    assert (tmp_path / "log" / "pileus.log").stat().st_mode & 0o777 == 0o640
