"""What a process of another user is given to reach a database: what concerns that database, and no more."""

from pathlib import Path

import pytest

from pileus.cli.separation.database_access import access_to
from pileus.cli.separation.sandbox import PRIVATE_FILES


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".pgpass").write_text(
        "# all of them\n*:*:cloud:pileus:secret\ndb.example.org:5432:*:pileus:\\:colon\n*:*:books:pileus:other\n*:*:cloud:admin:of-admin\n"
    )
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_text("authority")
    return tmp_path


def test_sqlite_needs_nothing(home: Path) -> None:
    assert access_to(None, {"PGUSER": "x"}, home).variables == {}


def test_of_the_passwords_only_those_for_this_user_of_this_database_are_given(home: Path) -> None:
    found = access_to("postgresql://pileus@db.example.org/cloud", {}, home)
    assert found.files[".pgpass"] == b"*:*:cloud:pileus:secret\ndb.example.org:5432:*:pileus:\\:colon\n"
    assert found.files[".postgresql/root.crt"] == b"authority"
    assert found.variables["HOME"] == str(PRIVATE_FILES)
    assert (found.url, found.sockets) == ("postgresql://pileus@db.example.org/cloud", [])


def test_files_that_the_url_and_the_environment_name_are_given_and_named_anew(home: Path) -> None:
    authority = home / ".postgresql" / "root.crt"
    url = f"postgresql://pileus@db/cloud?sslmode=verify-full&sslrootcert={authority}&sslkey=/none"
    found = access_to(url, {"PGPASSFILE": str(home / ".pgpass"), "PGSSLMODE": "require", "LANG": "C"}, Path("/nowhere"))
    shown = f"{PRIVATE_FILES}/database-sslrootcert".replace("/", "%2F")
    assert found.url == f"postgresql://pileus@db/cloud?sslmode=verify-full&sslrootcert={shown}&sslkey=%2Fnone"
    assert found.files == {
        "database-sslrootcert": b"authority",
        "database-PGPASSFILE": b"*:*:cloud:pileus:secret\ndb.example.org:5432:*:pileus:\\:colon\n",
    }
    assert (found.variables["PGPASSFILE"], found.variables["PGSSLMODE"]) == (f"{PRIVATE_FILES}/database-PGPASSFILE", "require")
    assert "LANG" not in found.variables


@pytest.mark.parametrize(
    ("url", "variables", "sockets"),
    [
        ("postgresql://pileus@/cloud?host=/srv/pg", {}, ["/srv/pg"]),
        ("postgresql://pileus@%2Fsrv%2Fpg/cloud", {}, ["/srv/pg"]),
        ("postgresql://pileus@/cloud?host=/srv/pg/.s.PGSQL.5433", {}, ["/srv/pg"]),
        ("postgresql:///cloud", {"PGHOST": "/srv/pg"}, ["/srv/pg"]),
        ("postgresql:///cloud", {"PGHOST": "db"}, []),
        ("postgresql:///cloud", {}, ["/run/postgresql", "/var/run/postgresql"]),
        ("postgresql://db1:5432,db2:5432/cloud", {}, []),
    ],
)
def test_the_directory_of_the_servers_socket_is_shown(url: str, variables: dict[str, str], sockets: list[str], home: Path) -> None:
    found = access_to(url, variables, home)
    assert (found.sockets, found.hindrance) == (sockets, "")


@pytest.mark.parametrize("directory", ["/tmp", "/run", "/"])
def test_a_directory_with_more_in_it_than_a_socket_is_not_shown(directory: str, home: Path) -> None:
    assert directory in access_to(f"postgresql://pileus@/cloud?host={directory}", {}, home).hindrance


def test_root_is_who_it_was_where_nobody_says_which_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "operator")
    assert access_to("postgresql://db/cloud", {}, home).variables["PGUSER"] == "operator"
    assert access_to("postgresql://db/cloud", {"PGUSER": "pileus"}, home).variables["PGUSER"] == "pileus"
