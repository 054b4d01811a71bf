"""The guest's own scripts, as far as they can be tried on the host."""

import shutil
import subprocess
from pathlib import Path

import pytest

import pileus.guest

FILES = Path(pileus.guest.__file__).parent / "files"
SHELL = shutil.which("sh")
SCRIPTS = [path for path in sorted(FILES.rglob("*")) if path.is_file() and (path.suffix == ".sh" or path.read_bytes().startswith(b"#!"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(FILES)))
def test_every_script_is_valid_shell_and_says_what_it_is_for(script: Path) -> None:
    subprocess.run([str(SHELL), "-n", str(script)], check=True, timeout=10)
    lines = script.read_text().splitlines()
    first = lines[1] if lines[0].startswith("#!") else lines[0]
    assert first.startswith("# ")


def curl(tmp_path: Path, *arguments: str) -> list[str]:
    """What the small curl asks of wget."""
    wget = tmp_path / "wget"
    wget.write_text('#!/bin/sh\nfor argument in "$@"; do echo "$argument"; done\n')
    wget.chmod(0o755)
    script = FILES / "root" / "usr" / "bin" / "curl"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", str(script), *arguments], env=environment, capture_output=True, text=True, check=True, timeout=10
    ).stdout.splitlines()


def test_the_small_curl_gets_a_page(tmp_path: Path) -> None:
    assert curl(tmp_path, "-sf", "http://169.254.169.254/latest") == ["-q", "-T", "60", "-O", "-", "http://169.254.169.254/latest"]


def test_the_small_curl_passes_headers_and_data_on(tmp_path: Path) -> None:
    asked = curl(tmp_path, "-m", "5", "-H", "X-One: a b", "-d", "x=1", "-o", "/tmp/out", "host/path")
    assert asked == ["-q", "-T", "5", "-O", "/tmp/out", "--header", "X-One: a b", "--post-data", "x=1", "http://host/path"]


def test_the_small_curl_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        curl(tmp_path, "--ftp-pasv", "ftp://host")
    assert "--ftp-pasv is not known" in refused.value.stderr


def parts_of(tmp_path: Path, text: str) -> dict[str, str]:
    """Split user data as the guest does."""
    source = tmp_path / "user_data"
    source.write_text(text)
    parts = tmp_path / "parts"
    parts.mkdir()
    script = f'. {FILES}/root/usr/lib/pileus/user-data.sh; parts={parts}; unpacked() {{ cat "$1"; }}; split_user_data {source}'
    subprocess.run(["sh", "-c", script], check=True, timeout=10)
    return {path.name: path.read_text() for path in parts.iterdir()}


def test_a_plain_script_is_one_part(tmp_path: Path) -> None:
    assert parts_of(tmp_path, "#!/bin/sh\necho\n") == {"0": "#!/bin/sh\necho\n"}


def test_a_mime_message_is_taken_apart(tmp_path: Path) -> None:
    message = (
        'Content-Type: multipart/mixed; boundary="==B=="\nMIME-Version: 1.0\n\n--==B==\nContent-Type: text/x-shellscript\n\n'
        "#!/bin/sh\necho one\n"
        "--==B==\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\nI2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogaAo=\n--==B==--\n"
    )
    assert parts_of(tmp_path, message) == {"part-1": "#!/bin/sh\necho one\n", "part-2": "#cloud-config\nhostname: h\n"}
