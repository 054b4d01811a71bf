"""What is missing is told with what it is for, and a failed installation with the line that says most."""

import pytest

from pileus.cli import debian


def test_the_reason_of_a_failed_tool_is_the_line_that_says_most() -> None:
    apt = "Reading package lists...\nE: Unable to locate package nftables\nE: more\n"
    assert debian.reason(apt) == "E: Unable to locate package nftables"
    update = "Ign:1 http://mirror x\nErr:1 http://mirror x\nW: Failed to fetch http://mirror/x  Temporary failure resolving 'mirror'\n"
    assert debian.reason(update).endswith("Temporary failure resolving 'mirror'")
    assert debian.reason("\n") == "it said nothing"


def test_what_is_missing_is_told_with_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(debian.HOST, "no-such-package", ("no-such-command", "nothing at all"))
    monkeypatch.setitem(debian.HOST, "no-such-file", ("/no/such/file", "nothing either"))
    missing = debian.Debian().missing("up")
    assert missing["no-such-package"] == "nothing at all"
    assert missing["no-such-file"] == "nothing either"


def test_what_only_tests_need_is_installed_for_tests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "TESTS", {"no-such-package": ("no-such-command", "a test")})
    assert "no-such-package" in debian.Debian().missing("test")
    assert "no-such-package" not in debian.Debian().missing("up")
