"""The guest image boots, obeys its metadata, keeps its data and goes down cleanly: real boots under emulation."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.core.iso9660 import iso9660
from pileus.guest import build
from tests.real.guest_machine import Machine, wait_for

NEEDED = ("qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen")
MISSING = [tool for tool in NEEDED if shutil.which(tool) is None] + list(build.missing_tools())
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def image() -> build.BuiltImage:
    return build.build(build.default_cache(), print)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def overlay(image: build.BuiltImage, path: Path, size: str = "1G") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.disk), "-F", "qcow2", str(path), size], check=True)
    return path


def metadata(key: Path, instance: str, **more: object) -> bytes:
    public = key.with_suffix(".pub").read_text()
    return json.dumps({"uuid": instance, "hostname": f"{instance}.example.org", "public_keys": {"mine": public}, **more}).encode()


def openstack_service(directory: Path, meta_data: bytes, user_data: str) -> Path:
    (directory / "openstack" / "latest").mkdir(parents=True)
    (directory / "openstack" / "latest" / "meta_data.json").write_bytes(meta_data)
    (directory / "openstack" / "latest" / "user_data").write_text(user_data)
    return directory


def config_drive(path: Path, meta_data: bytes, user_data: str) -> list[str]:
    """QEMU's arguments for an ISO 9660 config drive on virtio."""
    files = {"openstack/latest/meta_data.json": meta_data, "openstack/latest/user_data": user_data.encode()}
    path.write_bytes(iso9660(files, "config-2", (2024, 1, 1, 0, 0, 0)))
    drive = f"if=none,id=config,format=raw,readonly=on,file={path}"
    return ["-drive", drive, "-device", "virtio-blk-pci,drive=config,serial=config"]


@pytest.fixture(scope="module")
def served(image: build.BuiltImage, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest that found its metadata at the service and is ready."""
    here = tmp_path_factory.mktemp("served")
    script = '#!/bin/bash\necho "ran as $(id -un)" >>/root/ran\n'
    service = openstack_service(here / "service", metadata(key, "first", admin_pass="pass \\ word"), script)
    machine = Machine(here, overlay(image, here / "disk.qcow2"), key=key)
    machine.start(service=service)
    try:
        seconds = machine.until_ready()
        cpu, memory = machine.cost()
        size = image.disk.stat().st_size / 1e6
        print(f"ready after {seconds:.1f} s, {cpu:.1f} CPU-seconds, {memory:.0f} MiB PSS with 128 MiB for the guest, image {size:.1f} MB")
        yield machine
    finally:
        machine.end()


def test_the_console_tells_addresses_and_key_and_ends_with_a_login_prompt(served: Machine) -> None:
    log = served.until_logged("first login:")
    assert "eth0 169.254.169.15/24" in log
    assert (
        log.index("-----BEGIN SSH HOST KEY FINGERPRINTS-----")
        < log.index("256 SHA256:")
        < log.index("-----END SSH HOST KEY FINGERPRINTS-----")
    )
    assert "metadata from http://169.254.169.254/openstack" in log


def test_the_key_opens_the_users_account_with_sudo_without_password(served: Machine) -> None:
    assert served.ssh("id -un; sudo id -un; sudo -n sh -c 'id -u'; sudo -i id -un; hostname").split() == [
        "pileus",
        "root",
        "0",
        "root",
        "first",
    ]


def test_root_and_strangers_are_kept_out(served: Machine, tmp_path: Path) -> None:
    assert served.ssh("sudo cut -d: -f2 /etc/shadow | head -n 1") == "*"
    stranger = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    other = Machine(tmp_path / "other", served.disk, key=stranger)
    other.port = served.port
    assert other.ssh("id", check=False) == ""


def test_the_disk_has_grown_to_the_flavors_size(served: Machine) -> None:
    assert int(served.ssh("df -k / | tail -n 1").split()[1]) > 930_000


def test_the_users_script_ran_once(served: Machine) -> None:
    served.until_logged("user data ended with status 0")
    assert served.ssh("sudo cat /root/ran") == "ran as root"


def test_the_admin_password_is_the_users(served: Machine) -> None:
    salt, hashed = served.ssh("sudo awk -F: '$1 == \"pileus\" {print $2}' /etc/shadow").rsplit("$", 1)
    again = served.ssh(f"printf '%s' 'pass \\ word' | mkpasswd -P 0 -m sha512 -S '{salt.split('$')[2]}'")
    assert again.rsplit("$", 1)[1] == hashed


def test_the_tools_that_testers_expect_are_there(served: Machine) -> None:
    for command in (
        "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin; true",
        "lsblk && sudo blkid && nproc && free -m && ps && df -h && dmesg | tail -n 1 && ip -o link",
        "for tool in mkfs.ext4 wget curl nc udhcpc mount umount dd sync md5sum poweroff reboot awk vi; do command -v $tool || exit 1; done",
        "ping -c 1 -w 5 169.254.169.2",
        "curl -s http://169.254.169.254/openstack/latest/meta_data.json | grep -q first",
        "test -d /proc/$(cat /var/run/udhcpc.eth0.pid) && sudo kill -USR1 $(cat /var/run/udhcpc.eth0.pid)",
        "dd if=/dev/zero of=/tmp/image bs=1M count=8 2>/dev/null && mkfs.ext4 -q /tmp/image",
        "sudo mount -o loop /tmp/image /mnt && sudo umount /mnt",
    ):
        served.ssh(command)


def test_a_program_may_be_served_to_many_callers(served: Machine) -> None:
    caller = "sleep 0.2; nc -w 2 127.0.0.1 8080 </dev/null"
    assert served.ssh(f"(timeout 20 nc -lk -p 8080 -e echo hello >/dev/null 2>&1 &); {caller}; {caller}").split() == ["hello", "hello"]


def test_files_are_copied_in_and_out(served: Machine, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content\n")
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    scp = ["scp", "-i", str(served.key), "-P", str(served.port), *options]
    for argv in ([str(tmp_path / "there"), "pileus@127.0.0.1:copy"], ["pileus@127.0.0.1:copy", str(tmp_path / "back")]):
        subprocess.run([*scp, *argv], check=True, timeout=60)
    assert (tmp_path / "back").read_text() == "content\n"


def test_an_interface_that_is_plugged_in_gets_an_address(served: Machine) -> None:
    served.qmp("netdev_add", type="user", id="n1", net="10.9.0.0/24")
    served.qmp("device_add", driver="virtio-net-pci", id="nic1", netdev="n1", bus="spare", romfile="")
    wait_for(lambda: "10.9.0.15/24" in served.ssh("ip -4 address show dev eth1", check=False), "an address on eth1")
    assert "default via 169.254.169.2 dev eth0" in served.ssh("ip route get 8.8.8.8 || true; ip route | head -n 1")
    served.qmp("device_del", id="nic1")
    wait_for(lambda: "eth1" not in served.ssh("ip link"), "eth1 to go")
    wait_for(lambda: served.ssh("ls /run/udhcpc.eth1.pid", check=False) == "", "its DHCP client to go")


def test_a_reboot_keeps_data_and_repeats_nothing_and_the_power_button_works(served: Machine) -> None:
    host_key = fingerprint(served)
    served.ssh("echo kept >kept; sudo reboot", check=False)
    wait_for(lambda: served.log.count("pileus-guest: ready") == 2, "the second boot")
    assert served.ssh("cat kept; sudo cat /root/ran").splitlines() == ["kept", "ran as root"]
    assert fingerprint(served) == host_key
    assert served.press_power_button() < 20  # about 3 seconds on an idle machine
    assert "going down" in served.log


def fingerprint(machine: Machine) -> str:
    return machine.ssh("sudo dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep Fingerprint")


CLOUD_CONFIG = """#cloud-config
hostname: configured
write_files:
- path: /etc/written
  permissions: '0600'
  owner: pileus:pileus
  content: |
    one
      two
runcmd:
- echo "a: b" >/root/command
- [sh, -c, 'echo "$0" >>/root/command', it works]
"""


def test_another_instance_from_the_same_disk_is_another_machine(image: build.BuiltImage, key: Path, tmp_path: Path) -> None:
    """First boot by one config drive, without a network's help; second boot by another: what a server made from a snapshot sees."""
    disk = overlay(image, tmp_path / "disk.qcow2", "2G")
    machine = Machine(tmp_path / "one", disk, key=key, memory=96)
    try:
        machine.start(*config_drive(tmp_path / "one.iso", metadata(key, "one"), "#!/bin/sh\necho one >>/root/ran\n"))
        machine.until_logged("user data ended with status 0")
        assert "metadata from config drive" in machine.log
        before = fingerprint(machine)
        machine.ssh("echo snapshot >kept; sync")
        machine.press_power_button()

        other = tmp_path / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
        drive = config_drive(tmp_path / "two.iso", metadata(other, "two"), CLOUD_CONFIG)
        machine.start(*drive, machine_id="00000000-0000-0000-0000-000000000002")
        machine.until_logged("user data ended with status 0")
        assert machine.ssh("true; echo in", check=False) == ""
        machine.key = other
        assert machine.ssh("hostname; cat kept; sudo cat /root/ran").split() == ["configured", "snapshot", "one"]
        assert machine.ssh("cat /etc/written; stat -c '%a %U' /etc/written") == "one\n  two\n600 pileus"
        assert machine.ssh("sudo cat /root/command") == "a: b\nit works"
        assert fingerprint(machine) != before
        machine.press_power_button()
    finally:
        machine.end()


def test_ec2s_metadata_serves_where_openstacks_is_not(image: build.BuiltImage, key: Path, tmp_path: Path) -> None:
    keys = tmp_path / "service" / "latest" / "meta-data" / "public-keys"
    (keys / "0").mkdir(parents=True)
    (keys / "index").write_text("0=mine")
    (keys / "0" / "openssh-key").write_text(key.with_suffix(".pub").read_text())
    (keys.parent / "instance-id").write_text("i-0001")
    (keys.parent / "local-hostname").write_text("from-ec2")
    machine = Machine(tmp_path / "machine", overlay(image, tmp_path / "disk.qcow2"), key=key)
    try:
        machine.start(service=tmp_path / "service")
        machine.until_ready()
        assert machine.ssh("hostname") == "from-ec2"
    finally:
        machine.end()


def test_without_any_metadata_the_boot_ends_all_the_same(image: build.BuiltImage, key: Path, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", overlay(image, tmp_path / "disk.qcow2"), key=key)
    try:
        machine.start()
        machine.until_logged("pileus login:")
        assert "metadata from nowhere" in machine.log
        assert machine.press_power_button() < 20
    finally:
        machine.end()


def test_the_kernel_and_first_root_answer_the_probe(image: build.BuiltImage) -> None:
    argv = [
        "qemu-system-x86_64",
        "-machine",
        "q35,accel=tcg",
        "-m",
        "128",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
    ]
    argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", "console=ttyS0 panic=1 pileus.probe", "-no-reboot"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert "pileus-probe-ok" in done.stdout


def test_the_same_packages_give_the_same_bytes(image: build.BuiltImage, tmp_path: Path) -> None:
    again = build.build(tmp_path / "cache", print)
    assert again.packages == image.packages, "the mirror has newer packages than the cached image"
    assert again.sha256 == image.sha256
    assert again.kernel.read_bytes() == image.kernel.read_bytes()
    assert again.initrd.read_bytes() == image.initrd.read_bytes()
