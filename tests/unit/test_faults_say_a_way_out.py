"""A server in ERROR says why, and what may be done: there is one place that writes such words, and all that sets an ERROR asks there."""

import ast
from pathlib import Path

import pytest
from msgspec.structs import replace

import pileus
from pileus.core.servers import MAKE_ROOM, TRY_AGAIN, fault_of
from tests.unit.core.test_servers import FRESH

SOURCES = Path(pileus.__file__).parent
MAKES_THEM = "core/servers.py"


def test_every_error_of_a_server_is_worded_in_one_place() -> None:
    makers = [
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ServerFault"
    ]
    assert makers == [MAKES_THEM]


@pytest.mark.parametrize("reason", ["QEMU did not start", "No valid host was found.", "", "  "])
@pytest.mark.parametrize(("host", "way_out"), [("h1", TRY_AGAIN), (None, MAKE_ROOM)])
def test_an_error_says_why_and_the_way_out(reason: str, host: str | None, way_out: str) -> None:
    fault = fault_of(replace(FRESH, host=host), reason, 1.0, "what the tool said")
    cause, _, rest = fault.message.partition(way_out)
    assert cause.strip().startswith(reason.strip()) and len(cause.strip()) > 10 and cause.strip().endswith(".") and rest == ""
    assert fault.details == "what the tool said"
