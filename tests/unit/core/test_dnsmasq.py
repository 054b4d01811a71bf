"""dnsmasq's files: as the golden files have them, accepted by dnsmasq itself, and safe from what tenants write."""

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from pileus.core import dnsmasq
from tests.unit.core.network_samples import DOMAIN, PORTS, ROUTER, STORE, WEB

GOLDEN = Path(__file__).parent / "golden"


def whole(instance: dnsmasq.Instance) -> str:
    files = {"conf": instance.configuration("/DIR", "dnsmasq"), "hosts": instance.hosts, "names": instance.names, "extra": instance.extra}
    return "".join(f"== {instance.name}/{name}\n{text}" for name, text in files.items())


@pytest.mark.parametrize(("name", "network"), [("web", WEB), ("store", STORE)])
def test_the_files_of_a_network_are_those_of_the_golden_file(name: str, network: dnsmasq.DomainNetwork) -> None:
    found = dnsmasq.instances(DOMAIN, network, ["192.0.2.1", "127.0.0.53"])
    assert "".join(whole(instance) for instance in found) == (GOLDEN / f"dnsmasq_{name}.txt").read_text()


@pytest.mark.parametrize("network", [WEB, STORE], ids=["web", "store"])
def test_dnsmasq_accepts_its_configuration(network: dnsmasq.DomainNetwork, tmp_path: Path) -> None:
    if shutil.which("dnsmasq") is None:
        pytest.skip("missing: dnsmasq")
    for instance in dnsmasq.instances(DOMAIN, network, []):
        for name in ("hosts", "names", "extra"):
            (tmp_path / name).write_text(getattr(instance, name))
        (tmp_path / "conf").write_text(instance.configuration(str(tmp_path), "root"))
        done = subprocess.run(["dnsmasq", "--test", f"--conf-file={tmp_path / 'conf'}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_nothing_runs_where_dhcp_is_off_and_nothing_is_advertised() -> None:
    silent = replace(WEB, subnets=[replace(subnet, dhcp=False, dhcp_ip=None, ipv6_ra_mode=None) for subnet in WEB.subnets])
    assert dnsmasq.instances(DOMAIN, silent, []) == []


def test_a_new_port_changes_no_option_so_that_dnsmasq_goes_on() -> None:
    fewer = replace(DOMAIN, ports=PORTS[:1])
    before, after = dnsmasq.instances(fewer, WEB, []), dnsmasq.instances(DOMAIN, WEB, [])
    assert [one.options for one in before] == [one.options for one in after]
    assert before[0].hosts != after[0].hosts


def test_without_a_way_out_no_server_is_asked() -> None:
    alone = replace(DOMAIN, routers=[replace(ROUTER, gateway=None)])
    assert "server=" not in dnsmasq.instances(alone, WEB, ["192.0.2.1"])[0].options


@pytest.mark.parametrize("hostname", ["web\n1.2.3.4,evil", "a,b", "..", "x" * 200])
def test_a_host_name_stays_one_word(hostname: str) -> None:
    domain = replace(DOMAIN, ports=[replace(PORTS[0], hostname=hostname)])
    lines = dnsmasq.instances(domain, WEB, [])[0].hosts.splitlines()
    assert len(lines) == 1 and lines[0].count(",") == 3


@pytest.mark.parametrize("option", [{"opt_name": "x\ny", "opt_value": "1"}, {"opt_name": "router", "opt_value": "1\nport=0"}])
def test_an_option_that_would_leave_its_line_is_left_out(option: dict[str, str]) -> None:
    domain = replace(DOMAIN, ports=[replace(PORTS[0], dhcp_options=[option])])
    assert dnsmasq.instances(domain, WEB, [])[0].extra == ""


def test_the_owners_of_addresses_are_read_from_a_hosts_file() -> None:
    text = "fa:16:3e:00:00:01,10.0.0.4,web\nfa:16:3e:00:00:02,set:port-1,[fd00::4],db\n"
    assert dnsmasq.owners(text) == {"10.0.0.4": "fa:16:3e:00:00:01", "fd00::4": "fa:16:3e:00:00:02"}
