"""When an image is built, when it is found, and what is said when it can't be had."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from pileus.guest import build, packages


def put_image(cache: Path, key: str) -> Path:
    """An image in the cache as a build leaves it."""
    place = cache / "guest" / f"{build.revision()}-{key}"
    place.mkdir(parents=True)
    for name in ("disk.qcow2", "vmlinuz", "initrd"):
        (place / name).write_bytes(b"x")
    image = build.BuiltImage(place / "disk.qcow2", place / "vmlinuz", place / "initrd", "6.1+x", ["bash=5"], "0" * 64)
    (place / "manifest.json").write_bytes(msgspec.json.encode(image, enc_hook=str))
    return place


def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.subprocess, "run", lambda *_args, **_more: pytest.fail("a tool was started"))


def test_an_image_in_the_cache_is_returned_without_asking_anyone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_tools(monkeypatch)
    place = put_image(tmp_path, "abc")
    said: list[str] = []
    image = build.build(tmp_path, said.append)
    assert image.disk == place / "disk.qcow2"
    assert image.packages == ["bash=5"]
    assert "6.1+x" in said[0]


def test_a_cache_may_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_tools(monkeypatch)
    put_image(tmp_path / "old", "abc")
    (tmp_path / "old").rename(tmp_path / "new")
    assert build.build(tmp_path / "new", lambda _line: None).kernel.is_file()


def test_an_image_that_lost_a_part_or_was_made_by_other_code_is_not_used(tmp_path: Path) -> None:
    (put_image(tmp_path, "abc") / "initrd").unlink()
    other = put_image(tmp_path, "def")
    other.rename(other.with_name("0000000000-def"))
    assert build.cached(tmp_path) is None


def test_missing_tools_are_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "missing_tools", lambda: {"mtools": build.HOST_PACKAGES["mtools"]})
    with pytest.raises(build.BuildError, match=r"mtools fills the guest's boot partition.*apt-get install mtools"):
        build.build(tmp_path, lambda _line: None)


def test_every_tool_belongs_to_a_declared_package() -> None:
    assert set(build.TOOLS.values()) <= set(build.HOST_PACKAGES)


def fake_tool(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def test_a_package_that_cannot_be_had_is_named_with_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path / "bin", "apt-get", "echo 'E: Could not resolve the mirror' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    fetched = packages.Packages(tmp_path / "work", lambda _line: None)
    with pytest.raises(
        packages.BuildError, match=r"package dropbear-bin cannot be had; it is needed for the ssh server.*Could not resolve the mirror"
    ):
        fetched.fetch("dropbear-bin", "the ssh server")


def test_lists_of_packages_are_fetched_into_a_private_place_only_when_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path / "bin", "apt-cache", 'echo "bash:"; echo "  Installed: (none)"; echo "  Candidate: $(cat "$CANDIDATE")"')
    fake_tool(tmp_path / "bin", "apt-get", 'echo "$@" >>"$CALLS"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("CANDIDATE", str(tmp_path / "candidate"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    (tmp_path / "candidate").write_text("5.2")
    packages.Packages(tmp_path / "one", lambda _line: None).prepare("bash")
    assert not (tmp_path / "calls").exists()
    (tmp_path / "candidate").write_text("(none)")
    packages.Packages(tmp_path / "two", lambda _line: None).prepare("bash")
    assert f"Dir::State::lists={tmp_path}/two/apt/lists" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libext2fs.so.2", "libext2fs2"),
        ("libext2fs.so.2", "libext2fs2t64"),
        ("libpcre2-8.so.0", "libpcre2-8-0"),
        ("libcom_err.so.2", "libcom-err2"),
        ("libz.so.1", "zlib1g"),
        ("libpam.so.0", "libpam0g"),
        ("libc.so.6", "libc6"),
        ("libcap-ng.so.0", "libcap-ng0t64"),
    ],
)
def test_a_library_leads_to_its_package(library: str, package: str) -> None:
    assert packages.matches(library, package)


def test_a_similar_name_is_another_package() -> None:
    assert not packages.matches("libcap.so.2", "libcap2-bin")
    assert not packages.matches("libc.so.6", "libc6-dev")


def test_only_old_images_beyond_the_newest_are_forgotten(tmp_path: Path) -> None:
    places = [put_image(tmp_path, f"image{number}") for number in range(5)]
    for age, place in enumerate(places):
        seconds = time.time() - age * 5 * 86400
        os.utime(place / "manifest.json", (seconds, seconds))
    build._forget_old(tmp_path / "guest")
    assert [place.exists() for place in places] == [True, True, True, False, False]
