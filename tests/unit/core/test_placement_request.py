"""What a flavor, an image and hints ask of a host."""

import pytest

from pileus.core.placement_request import flavor_traits, hinted, image_traits, request_of, resources_of, with_hints
from pileus.core.traits import TRAITS, capability_traits, is_custom
from pileus.model.errors import Invalid
from pileus.model.hosts import DriverCapabilities
from pileus.model.servers import Server, ServerFlavor


def flavor(**extra: str) -> ServerFlavor:
    return ServerFlavor(id="1", name="tiny", vcpus=2, ram=512, disk=5, ephemeral=1, swap=1025, extra_specs=extra)


def test_a_flavor_is_cpu_memory_and_all_its_disks() -> None:
    assert resources_of(flavor()) == {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 8}


def test_extra_specs_override_amounts_and_take_classes_away() -> None:
    wanted = resources_of(flavor(**{"resources:VCPU": "0", "resources:CUSTOM_GOLD": "3"}))
    assert wanted == {"MEMORY_MB": 512, "DISK_GB": 8, "CUSTOM_GOLD": 3}
    with pytest.raises(Invalid):
        resources_of(flavor(**{"resources:VCPU": "many"}))


def test_a_flavor_without_a_disk_takes_the_images_size() -> None:
    assert resources_of(ServerFlavor(id="1", name="x", vcpus=1, ram=64, disk=0), root_gib=3)["DISK_GB"] == 3


def test_traits_come_from_flavor_and_image_with_their_source() -> None:
    wishes = flavor_traits(flavor(**{"trait:HW_CPU_X86_AVX": "required", "trait:CUSTOM_SLOW": "forbidden"}))
    assert [(one.trait, one.forbidden) for one in wishes] == [("CUSTOM_SLOW", True), ("HW_CPU_X86_AVX", False)]
    wishes = image_traits({"hw_architecture": "arm64", "img_hv_type": "qemu", "hw_vm_mode": "hvm", "os_type": "linux"})
    assert [one.trait for one in wishes] == ["COMPUTE_ARCH_AARCH64", "CUSTOM_VM_MODE_HVM", "CUSTOM_HYPERVISOR_QEMU"]
    assert wishes[0].source == "image property hw_architecture=arm64"
    with pytest.raises(Invalid):
        flavor_traits(flavor(**{"trait:HW_CPU_X86_AVX": "maybe"}))


def test_what_images_ask_is_what_hosts_report() -> None:
    caps = DriverCapabilities(
        driver="qemu",
        hypervisor_type="KVM",
        hypervisor_version=1,
        architectures=["x86_64", "s390x"],
        modes=["hvm"],
        traits=["NO", "CUSTOM_A"],
    )
    traits = capability_traits([caps])
    asked = image_traits({"hw_architecture": "x86_64", "img_hv_type": "kvm", "vm_mode": "hvm"})
    assert {one.trait for one in asked} <= traits
    assert "CUSTOM_A" in traits and all(name in TRAITS or is_custom(name) for name in traits)


def test_hints_name_servers_and_become_hosts() -> None:
    server = Server(id="s", project_id="p", user_id="u", name="n", hostname="n", flavor=flavor(), vcpus=2, memory_mib=512)
    request = request_of(server, {"architecture": "x86_64"})
    assert request.seed == request_of(server, {}).seed and request.traits
    hints = {"same_host": "a", "different_host": ["b", "c"]}
    assert hinted(hints, "different_host") == ["b", "c"] and hinted(hints, "group") == []
    asked = with_hints(request, hints, {"a": "h1", "b": "h2"})
    assert asked.same_host == {"h1"} and asked.different_host == {"h2"}
    assert with_hints(request, {}, {}).same_host is None
