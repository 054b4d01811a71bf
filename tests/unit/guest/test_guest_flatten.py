"""The guest's reader of JSON and simple YAML, run by this host's awk."""

import shutil
import subprocess
from pathlib import Path

import pytest

import pileus.guest

SCRIPT = Path(pileus.guest.__file__).parent / "files" / "root" / "usr" / "lib" / "pileus" / "flatten.awk"
AWK = shutil.which("awk")
pytestmark = pytest.mark.skipif(AWK is None, reason="awk is missing")


def flatten(kind: str, text: str) -> dict[str, str]:
    """What the guest sees: values as `printf %b` gives them back."""
    done = subprocess.run(
        [str(AWK), "-v", f"kind={kind}", "-f", str(SCRIPT)], input=text, env={"LC_ALL": "C"}, capture_output=True, text=True, check=True
    )
    pairs = [line.partition("=")[::2] for line in done.stdout.splitlines()]
    return {path: value.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\") for path, value in pairs}


def test_json_of_the_metadata_service_is_read_whole() -> None:
    text = """{"uuid": "83f7", "public_keys": {"my key": "ssh-ed25519 AAAA me@host\\n"},
"index": 0, "files": [{"path": "/a", "content_path": "/c/0"}]}"""
    assert flatten("json", text) == {
        "/uuid": "83f7",
        "/public_keys/my key": "ssh-ed25519 AAAA me@host\n",
        "/index": "0",
        "/files/0/path": "/a",
        "/files/0/content_path": "/c/0",
    }


def test_json_escapes_come_back_as_what_they_stand_for() -> None:
    text = (
        r'{"quote": "a \"b\" c", "slash": "c:\\new \/", "letter": "\u00fc", "smile": "\ud83d\ude00", "empty": "", "brace": "{x: [1], y}"}'
    )
    assert flatten("json", text) == {
        "/quote": 'a "b" c',
        "/slash": "c:\\new /",
        "/letter": "ü",
        "/smile": "😀",
        "/empty": "",
        "/brace": "{x: [1], y}",
    }


def test_empty_lists_and_maps_have_no_values() -> None:
    assert flatten("json", '{"keys": [], "meta": {}, "last": true}') == {"/last": "true"}


def test_cloud_config_of_the_usual_kind_is_read() -> None:
    text = """#cloud-config
# a comment
hostname: web   # trailing
ssh_authorized_keys:
  - ssh-rsa AAAA one@two
- ssh-rsa AAAA never
runcmd:
- echo "a: b" > /tmp/x
- [ ls, -l, "/tmp/a b" ]
- 'it''s'
write_files:
  - path: /etc/motd
    permissions: '0644'
    content: |
      first

        indented: yes
      last
  - content: >-
      folded
      text
    path: /etc/folded
chpasswd: {expire: false, list: [a:b]}
"""
    found = flatten("yaml", text)
    assert found["/hostname"] == "web"
    assert found["/ssh_authorized_keys/0"] == "ssh-rsa AAAA one@two"
    assert found["/runcmd/0"] == 'echo "a: b" > /tmp/x'
    assert [found[f"/runcmd/1/{index}"] for index in range(3)] == ["ls", "-l", "/tmp/a b"]
    assert found["/runcmd/2"] == "it's"
    assert found["/write_files/0/path"] == "/etc/motd"
    assert found["/write_files/0/permissions"] == "0644"
    assert found["/write_files/0/content"] == "first\n\n  indented: yes\nlast\n"
    assert found["/write_files/1/content"] == "folded text"
    assert found["/write_files/1/path"] == "/etc/folded"
    assert found["/chpasswd/expire"] == "false"
    assert found["/chpasswd/list/0"] == "a:b"


def test_a_list_may_stand_at_its_keys_own_depth_and_maps_may_nest() -> None:
    text = "chpasswd:\n  users:\n  - name: pileus\n    password: p#1\n    type: text\n  expire: False\npassword: x\n"
    assert flatten("yaml", text) == {
        "/chpasswd/users/0/name": "pileus",
        "/chpasswd/users/0/password": "p#1",
        "/chpasswd/users/0/type": "text",
        "/chpasswd/expire": "False",
        "/password": "x",
    }


def test_a_flow_list_may_run_over_lines() -> None:
    assert flatten("yaml", "runcmd:\n  - [sh, -c,\n     'echo hi']\nhostname: h\n") == {
        "/runcmd/0/0": "sh",
        "/runcmd/0/1": "-c",
        "/runcmd/0/2": "echo hi",
        "/hostname": "h",
    }
