"""The metrics of a process, by its roles: what stands where, gathered when Prometheus asks.

Figures of the whole cloud come from one process: who leads placement, or the only one there is. So sums over processes are right.
A further part adds a `Source` to `Metrics.sources`: a callable that gives families, or a coroutine function that does.
"""

import asyncio
import inspect
import logging
import math
import os
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pileus
from pileus.core.metrics import Family, counter, gauge, histogram, render
from pileus.model.hosts import HostReport

if TYPE_CHECKING:
    from pileus.api.audit import AuditLog
    from pileus.cli.control_plane import ControlPlane

log = logging.getLogger(__name__)
Source = Callable[[], Iterable[Family] | Awaitable[Iterable[Family]]]
MIB, GIB = 1 << 20, 1 << 30
HELD = 5.0
"""Seconds for which what was read of the store serves: who asks more often costs no more."""
MOST_FILES = 4096
RESOURCES = {"VCPU": ("vcpus", 1), "MEMORY_MB": ("memory_bytes", MIB), "DISK_GB": ("disk_bytes", GIB)}


class Metrics:
    """The sources of a process. One that fails is left out, and said in the log; the others go on."""

    def __init__(self, *sources: Source) -> None:
        self.sources: list[Source] = [process, *sources]
        self.failures = 0

    async def text(self) -> str:
        """What Prometheus reads."""
        families: list[Family] = []
        for source in self.sources:
            try:
                found = source()
                families += list(await found if inspect.isawaitable(found) else found)
            except Exception:
                self.failures += 1
                log.exception("some metrics could not be gathered")
        families.append(counter("pileus_metrics_failures_total", "Sources of metrics that failed when asked.", [({}, self.failures)]))
        return render(families)


def process() -> Iterator[Family]:
    """CPU and memory of this process, under the names that Prometheus's own libraries give them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    yield counter("process_cpu_seconds_total", "User and system CPU time.", [({}, used.ru_utime + used.ru_stime)])
    yield gauge("process_resident_memory_bytes", "Resident memory.", [({}, pages * os.sysconf("SC_PAGE_SIZE"))])
    yield gauge("process_start_time_seconds", "When it was started.", [({}, boot + ticks / os.sysconf("SC_CLK_TCK"))])
    yield gauge("process_open_fds", "Open file descriptors.", [({}, open_files())])
    yield gauge("pileus_info", "The version that runs.", [({"version": pileus.__version__}, 1)])


def open_files() -> int:
    """How many descriptors are open. A process without privileges may not list its own, as it may not be looked into: it tries each."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return sum(_is_open(number) for number in range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST_FILES)))


def _is_open(number: int) -> bool:
    try:
        os.get_inheritable(number)
    except OSError:
        return False
    return True


def of_control_plane(control: "ControlPlane") -> Metrics:
    """The sources of a process of managers."""
    figures = CloudFigures(control)
    return Metrics(
        lambda: engine(control), lambda: links(control), lambda: node_process(control), lambda: verified(control), figures.families
    )


def engine(control: "ControlPlane") -> Iterator[Family]:
    """Reconcilers, where this process leads: how long steps wait and take, what is left to do; placements."""
    one = control.engine
    if one is None:
        return
    times = sorted(one.times.items())
    left = one.backlog().items()
    backlog = [({"kind": kind, "state": state}, getattr(part, state)) for kind, part in left for state in part.__struct_fields__]
    yield histogram(
        "pileus_reconcile_wait_seconds", "From a wake-up to the step's begin.", [({"kind": kind}, part.waited) for kind, part in times]
    )
    yield histogram("pileus_reconcile_step_seconds", "A step.", [({"kind": kind}, part.took) for kind, part in times])
    yield counter("pileus_reconcile_failures_total", "Steps that failed.", [({"kind": kind}, part.failed) for kind, part in times])
    yield gauge("pileus_reconcile_backlog", "Ids that wait, are at work, are due later, or failed the last time.", backlog)
    yield gauge("pileus_engine_tasks", "Tasks of the engine.", [({}, one.tasks)])
    servers: Any = one.reconcilers["servers"]
    took = [({"outcome": outcome}, part) for outcome, part in sorted(servers.placing.took.items())]
    yield histogram("pileus_placement_seconds", "Servers that were given a host, were refused, or failed.", took)


def links(control: "ControlPlane") -> Iterator[Family]:
    """The message bus and the leases."""
    if control.config.bus is not None:
        yield gauge("pileus_bus_connected", "Whether the message bus is reached.", [({}, not math.isinf(control.bus.connected_at))])
    held = [one for one in (control.leadership, control.placement) if one is not None]
    yield gauge("pileus_lease_held", "Whether this process leads.", [({"lease": one.name}, one.leading) for one in held])


def node_process(control: "ControlPlane") -> Iterator[Family]:
    """What the process that drives this machine has taken, where that is another one; as it said with its last complete report."""
    used = control.apart.used if control.apart is not None else None
    if used is not None:
        yield counter("pileus_node_process_cpu_seconds_total", "User and system CPU time of the node process.", [({}, used.cpu)])
        yield gauge("pileus_node_process_resident_memory_bytes", "Resident memory of the node process.", [({}, used.memory)])


def verified(control: "ControlPlane") -> Iterator[Family]:
    """What the last look at the invariants in the background came to, of the cluster that this process leads."""
    last = control.verifier.last if control.verifier is not None else None
    if last is None:
        return
    cluster = {"cluster": last.cluster}
    broken = Counter(one.name for one in last.breaches)
    yield gauge("pileus_verify_breaches", "Breaches that were found (100 at most have a name).", [(cluster, len(last.breaches))])
    yield gauge(
        "pileus_verify_broken", "The same, by invariant.", [({**cluster, "invariant": name}, broken[name]) for name in sorted(broken)]
    )
    yield gauge("pileus_verify_invariants", "Invariants that were looked at; 0 when nothing was.", [(cluster, last.invariants)])
    yield gauge("pileus_verify_time_seconds", "When that look ended.", [(cluster, last.at)])
    yield gauge("pileus_verify_duration_seconds", "How long it took.", [(cluster, last.seconds)])


def audit(log: "AuditLog") -> Iterator[Family]:
    """How many lines the audit log took, and lost."""
    yield counter("pileus_audit_lines_total", "Lines of the audit log.", [({}, log.lines)])
    yield counter("pileus_audit_lost_total", "Lines that could not be written: the disk is full.", [({}, log.lost)])


class CloudFigures:
    """Hosts and servers of the whole cloud, from the store."""

    def __init__(self, control: "ControlPlane") -> None:
        self._control = control
        self._found: list[Family] = []
        self._at = -math.inf

    async def families(self) -> list[Family]:
        """What it holds now, or held a moment ago. Nothing where another process stands for it."""
        control = self._control
        if control.engine is None or not (control.config.bus is None or (control.placement is not None and control.placement.leading)):
            return []
        if time.monotonic() - self._at > HELD:
            self._found = [*await self._servers(), *await self._hosts()]
            self._at = time.monotonic()
        return self._found

    async def _servers(self) -> list[Family]:
        rows = await self._control.db.all("SELECT status, count(*) FROM servers WHERE removed_at IS NULL GROUP BY status ORDER BY status")
        return [gauge("pileus_servers", "Servers, by status.", [({"status": row[0]}, row[1]) for row in rows])]

    async def _hosts(self) -> list[Family]:
        from pileus.reconcile.server_inputs import aggregate_metadata
        from pileus.store.host_views import hosts_of

        db = self._control.db
        hosts = await hosts_of(db, time.time(), self._control.config.node_silence, await aggregate_metadata(db))
        states: Counter[tuple[str, str, str]] = Counter()
        total: Counter[tuple[str, str]] = Counter()
        used: Counter[tuple[str, str]] = Counter()
        for number, view in enumerate(hosts.by_name.copy().values()):
            state = view.state
            states[state.cluster, "up" if state.up else "down", str(state.enabled).lower()] += 1
            for name, inventory, taken in state.stocks:
                total[state.cluster, name] += inventory.total
                used[state.cluster, name] += taken
            if number % 1000 == 999:
                await asyncio.sleep(0)  # others' turn: there may be ten thousand
        labels = ("cluster", "state", "enabled")
        found = [gauge("pileus_hosts", "Hosts.", [(dict(zip(labels, one, strict=True)), states[one]) for one in sorted(states)])]
        for name, (unit, size) in RESOURCES.items():
            for kind, sums, help in (("", total, "What the hosts have."), ("_used", used, "What is allocated of the hosts.")):
                parts = [({"cluster": key[0]}, sums[key] * size) for key in sorted(total) if key[1] == name]
                found.append(gauge(f"pileus_hosts_{_with(unit, kind)}", help, parts))
        return found


class NodeFigures:
    """A Computer Manager's own: passes its reports on and keeps the newest complete one."""

    def __init__(self, report: Callable[[HostReport], None], bus: Any) -> None:
        self._pass_on = report
        self._bus = bus
        self._newest: HostReport | None = None

    def report(self, report: HostReport) -> None:
        """The agent reports."""
        if report.complete:
            self._newest = report
        self._pass_on(report)

    def families(self) -> Iterator[Family]:
        """This host as it reported last."""
        yield gauge("pileus_bus_connected", "Whether the message bus is reached.", [({}, not math.isinf(self._bus.connected_at))])
        report = self._newest
        if report is None:
            return
        guests = Counter(guest.power.value for guest in report.guests)
        yield gauge("pileus_node_guests", "Guests on this host.", [({"power": power}, count) for power, count in sorted(guests.items())])
        figures = {
            "vcpus": report.vcpus,
            "memory_bytes": report.memory_mib * MIB,
            "memory_used_bytes": report.memory_used_mib * MIB,
            "disk_bytes": report.disk_gib * GIB,
            "disk_used_bytes": report.disk_used_gib * GIB,
        }
        for name, value in figures.items():
            yield gauge(f"pileus_node_{name}", "Of this host.", [({}, value)])
        yield gauge("pileus_node_networks", "Routing domains on this host.", [({}, len(report.domains))])
        yield gauge("pileus_node_report_time_seconds", "When it last reported in full.", [({}, report.reported_at)])


def _with(unit: str, kind: str) -> str:
    """memory_bytes and _used: memory_used_bytes, the unit at the end."""
    head, _, tail = unit.rpartition("_")
    return f"{head}{kind}_{tail}" if head else f"{unit}{kind}"
