"""What `bench boot` found, as text and as a page of the documentation."""

from pathlib import Path

from bench.calibration import machine

PROMISED = 0.150  # seconds that pileus adds to QEMU's own start
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "boot.md"
Together = dict[int, dict[str, float]]


def text(median: dict[str, float], together: Together) -> str:
    """For a terminal."""
    lines = [f"{name:<20} {seconds * 1000:>9.0f} ms" for name, seconds in median.items()]
    lines.append(f"{'ratio to by hand':<20} {ratio(median):>9.2f}")
    for count, found in together.items():
        lines += [f"{count} at once: {name:<15} {value:>9.2f}" + ("" if "MiB" in name else " s") for name, value in found.items()]
    return "\n".join(lines)


def ratio(median: dict[str, float]) -> float:
    """From POST to QEMU running, as a multiple of QEMU's own start."""
    return median["ACTIVE: QEMU runs"] / median["QEMU by hand"]


def write(median: dict[str, float], rounds: int, together: Together, command: str) -> None:
    """The page."""
    about = machine() | {"command": command}
    lines = ["# A server's boot, measured", "", "Written by `sudo ./pileus bench boot --write`; [what is measured, and how](index.md).", ""]
    lines += ["| machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in about.items()), ""]
    lines += [f"One server after another, the median of {rounds}, seconds from POST:", "", "| | s |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in median.items() if name not in ("QEMU by hand", "ours")]
    lines += [f"| QEMU by hand, the same arguments, from its start | {median['QEMU by hand']:.3f} |"]
    lines += [f"| what pileus adds to that (promised: less than {PROMISED:.3f}) | {median['ours']:.3f} |"]
    lines += [f"| POST to QEMU running, as a multiple of QEMU by hand | {ratio(median):.2f} |", ""]
    if together:
        lines += ["So many in one request; by hand, so many QEMUs at once:", "", "| servers | all ACTIVE, s | all by hand, s | ratio | all guests ready, s | a server, s | a guest, MiB (PSS) |"]  # fmt: skip # noqa: E501
        lines += ["|---:|" + "---:|" * 6]
        for count, found in together.items():
            share = f"{found['ACTIVE'] / found['by hand']:.2f}" if found["by hand"] else ""
            each = found["ready"] / count
            lines.append(
                f"| {count} | {found['ACTIVE']:.2f} | {found['by hand']:.2f} | {share} | {found['ready']:.1f} | {each:.1f} | {found['MiB of a guest']:.0f} |"  # noqa: E501
            )
        lines.append("")
    PAGE.write_text("\n".join(lines))
