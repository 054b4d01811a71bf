"""The names of standard traits and resource classes (of os-traits 3.9, os-resource-classes 1.1), and what a custom name looks like.

Clients and tests of Placement count on the whole of these sets; a name that is not here must start with CUSTOM_.
"""

import re

from pileus.model.hosts import DriverCapabilities

RESOURCE_CLASSES: tuple[str, ...] = (
    "VCPU", "MEMORY_MB", "DISK_GB", "PCI_DEVICE", "SRIOV_NET_VF", "NUMA_SOCKET", "NUMA_CORE", "NUMA_THREAD", "NUMA_MEMORY_MB",
    "IPV4_ADDRESS", "VGPU", "VGPU_DISPLAY_HEAD", "NET_BW_EGR_KILOBIT_PER_SEC", "NET_BW_IGR_KILOBIT_PER_SEC", "PCPU",
    "MEM_ENCRYPTION_CONTEXT", "FPGA", "PGPU", "NET_PACKET_RATE_KILOPACKET_PER_SEC", "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC",
    "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC",
)  # fmt: skip

# The part after the prefix, for each prefix.
TRAIT_NAMES: dict[str, str] = {
    "COMPUTE_ARCH": "AARCH64 MIPSEL PPC64LE RISCV64 S390X X86_64",
    "COMPUTE_GRAPHICS_MODEL": "BOCHS CIRRUS GOP NONE QXL VGA VIRTIO VMVGA XEN",
    "COMPUTE_IMAGE_TYPE": "AKI AMI ARI ISO PLOOP QCOW2 RAW VDI VHD VHDX VMDK",
    "COMPUTE_NET_VIF_MODEL": "E1000 E1000E IGB LAN9118 NE2K_PCI NETFRONT PCNET RTL8139 SPAPR_VLAN SRIOV VIRTIO VMXNET VMXNET3",
    "COMPUTE_NET": "ATTACH_INTERFACE ATTACH_INTERFACE_WITH_TAG VIRTIO_PACKED",
    "COMPUTE_SECURITY": (
        "STATELESS_FIRMWARE TPM_1_2 TPM_2_0 TPM_CRB TPM_SECRET_SECURITY_DEPLOYMENT TPM_SECRET_SECURITY_HOST "
        "TPM_SECRET_SECURITY_USER TPM_TIS UEFI_SECURE_BOOT"
    ),
    "COMPUTE_SOUND_MODEL": "AC97 ES1370 ICH6 ICH9 PCSPK SB16 USB VIRTIO",
    "COMPUTE_STORAGE_BUS": "FDC IDE LXC SATA SCSI UML USB VIRTIO XEN",
    "COMPUTE_STORAGE": "VIRTIO_FS",
    "COMPUTE_USB_MODEL": "NEC_XHCI QEMU_XHCI",
    "COMPUTE_VIOMMU_MODEL": "AUTO INTEL SMMUV3 VIRTIO",
    "COMPUTE_VOLUME": "ATTACH ATTACH_WITH_TAG EXTEND MULTI_ATTACH",
    "COMPUTE_ADDRESS_SPACE": "EMULATED PASSTHROUGH",
    "COMPUTE_EPHEMERAL_ENCRYPTION": "LUKS LUKSV2 PLAIN",
    "COMPUTE_FIRMWARE": "BIOS UEFI",
    "COMPUTE_MIGRATE": "AUTO_CONVERGE POST_COPY",
    "COMPUTE": (
        "ACCELERATORS CONFIG_DRIVE_REGENERATION DEVICE_TAGGING EPHEMERAL_ENCRYPTION MANAGED_PCI_DEVICE MEM_BACKING_FILE NODE "
        "REMOTE_MANAGED_PORTS RESCUE_BFV SAME_HOST_COLD_MIGRATE SHARE_LOCAL_FS SOCKET_PCI_NUMA_AFFINITY STATUS_DISABLED "
        "TRUSTED_CERTS"
    ),
    "HW_ARCH": (
        "AARCH64 ALPHA ARMV6 ARMV7 ARMV7B CRIS I686 IA64 LM32 M68K MICROBLAZE MICROBLAZEEL MIPS MIPS64 MIPS64EL MIPSEL OPENRISC "
        "PARISC PARISC64 PPC PPC64 PPC64LE PPCEMB PPCLE S390 S390X SH4 SH4EB SPARC SPARC64 UNICORE32 X86_64 XTENSA XTENSAEB"
    ),
    "HW_CPU_AARCH64": (
        "AES ASIMD ASIMDDP ASIMDHP ASIMDRDM ATOMICS CPUID CRC32 DCPOP EVTSTRM FCMA FP FPHP JSCVT LRCPC PMULL SHA1 SHA2 SHA3 "
        "SHA512 SM3 SM4 SVE"
    ),
    "HW_CPU_X86_AMD": "IBPB NO_SSB SEV SEV_ES SEV_SNP SSBD SVM VIRT_SSBD",
    "HW_CPU_X86_INTEL": "MD_CLEAR PCID SPEC_CTRL SSBD TDX VMX",
    "HW_CPU_X86": (
        "3DNOW ABM AESNI AMXBF16 AMXINT8 AMXTILE ASF AVX AVX2 AVX512BITALG AVX512BW AVX512CD AVX512DQ AVX512ER AVX512F AVX512GFNI "
        "AVX512IFMA AVX512PF AVX512VAES AVX512VBMI AVX512VBMI2 AVX512VL AVX512VNNI AVX512VPCLMULQDQ AVX512VPOPCNTDQ BMI BMI2 "
        "CLMUL F16C FMA3 FMA4 MMX MPX PDPE1GB SGX SHA SSE SSE2 SSE3 SSE41 SSE42 SSE4A SSSE3 STIBP SVM TBM TSX VMX XOP"
    ),
    "HW_CPU": "AMD_SEV HYPERTHREADING PPC64LE_POWER8 PPC64LE_POWER9",
    "HW_GPU_API_DIRECT3D": "V10_0 V10_1 V11_0 V11_1 V11_2 V11_3 V12_0 V6_0 V7_0 V8_0 V8_1 V9_0 V9_0B V9_0C V9_0L",
    "HW_GPU_API_OPENCL": "V1_0 V1_1 V1_2 V2_0 V2_1 V2_2",
    "HW_GPU_API_OPENGL": "V1_1 V1_2 V1_3 V1_4 V1_5 V2_0 V2_1 V3_0 V3_1 V3_2 V3_3 V4_0 V4_1 V4_2 V4_3 V4_4 V4_5",
    "HW_GPU_API": "DIRECT2D DIRECTX_V10 DIRECTX_V11 DIRECTX_V12 DXVA VULKAN",
    "HW_GPU_CUDA_COMPUTE_CAPABILITY": ("V1_0 V1_1 V1_2 V1_3 V2_0 V2_1 V3_0 V3_2 V3_5 V3_7 V5_0 V5_2 V5_3 V6_0 V6_1 V6_2 V7_0 V7_1 V7_2"),
    "HW_GPU_CUDA_SDK": "V10_0 V6_5 V7_5 V8_0 V9_0 V9_1 V9_2",
    "HW_GPU_MAX_DISPLAY_HEADS": "1 2 4 6 8",
    "HW_GPU_RESOLUTION": (
        "W1024H600 W1024H768 W1152H864 W1280H1024 W1280H720 W1280H768 W1280H800 W1360H768 W1366H768 W1440H900 W1600H1200 "
        "W1600H900 W1680H1050 W1920H1080 W1920H1200 W2560H1440 W2560H1600 W320H240 W3840H2160 W640H480 W7680H4320 W800H600"
    ),
    "HW_NIC_ACCEL": "DEFLATE DIFFIEH ECC IPSEC LZS RSA SSL TLS",
    "HW_NIC_DCB": "ETS PFC QCN",
    "HW_NIC_OFFLOAD": (
        "FDF GENEVE GRE GRO GSO L2CRC LRO LSO QINQ RDMA RX RXHASH RXVLAN SCS SG SWITCHDEV TCS TSO TX TXUDP TXVLAN UCS UFO VXLAN"
    ),
    "HW_NIC_SRIOV": "MULTIQUEUE QOS_RX QOS_TX TRUSTED",
    "HW_NIC": "MULTIQUEUE PROGRAMMABLE_PIPELINE SRIOV VMDQ",
    "HW_NVME": "BES CES WZS",
    "HW": "NUMA_ROOT PCI_LIVE_MIGRATABLE PCI_ONE_TIME_USE",
    "MISC": "SHARES_VIA_AGGREGATE",
    "OWNER": "CYBORG NOVA",
    "STORAGE_DISK": "HDD SSD",
}

TRAITS: frozenset[str] = frozenset(f"{prefix}_{name}" for prefix, names in TRAIT_NAMES.items() for name in names.split())
SHARES_VIA_AGGREGATE = "MISC_SHARES_VIA_AGGREGATE"

_NAME = re.compile(r"[A-Z0-9_]+")
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+")

ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "i386": "i686", "i486": "i686", "i586": "i686", "arm64": "aarch64", "armhf": "armv7"}


def is_name(text: str) -> bool:
    """Whether a trait or resource class could be called so."""
    return len(text) <= 255 and _NAME.fullmatch(text) is not None


def is_custom(text: str) -> bool:
    """Whether this is a good name for a trait or resource class of one's own."""
    return len(text) <= 255 and _CUSTOM.fullmatch(text) is not None


def architecture_trait(architecture: str) -> str:
    """The trait of hosts that run guests of this architecture."""
    name = ARCHITECTURES.get(architecture.lower(), architecture.lower())
    standard = f"COMPUTE_ARCH_{name.upper()}"
    return standard if standard in TRAITS else custom("ARCH", name)


def hypervisor_trait(hypervisor_type: str) -> str:
    """The trait of hosts with this hypervisor (an image's `img_hv_type`)."""
    return custom("HYPERVISOR", hypervisor_type)


def mode_trait(mode: str) -> str:
    """The trait of hosts that run guests in this mode (an image's `hw_vm_mode`)."""
    return custom("VM_MODE", {"hv": "hvm", "pv": "xen"}.get(mode.lower(), mode))


def level_trait(level: str) -> str:
    """The trait of hosts that virtualize at this level."""
    return custom("LEVEL", level)


def custom(prefix: str, text: str) -> str:
    """CUSTOM_<prefix>_<text>, with what a name can't hold as underscores."""
    return f"CUSTOM_{prefix}_{re.sub('[^A-Z0-9]+', '_', text.upper())}"


def capability_traits(capabilities: list[DriverCapabilities]) -> frozenset[str]:
    """What a host's drivers say of it, as traits. A name of a driver's that Placement would refuse is left out."""
    found: set[str] = set()
    for one in capabilities:
        found.update(name for name in one.traits if name in TRAITS or is_custom(name))
        found.update(architecture_trait(name) for name in one.architectures)
        found.update(hypervisor_trait(name) for name in (one.hypervisor_type, one.driver) if name)
        found.update(mode_trait(name) for name in one.modes)
        found.update(level_trait(name) for name in one.levels)
    return frozenset(found)
