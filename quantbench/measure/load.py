"""Load of the machine while something is timed, and whatever else disturbs timings on it; from what Linux tells."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
# Share of the time in which something waited for a processor, or of a core's time that a hypervisor took.
PRESSURE, STOLEN = 0.10, 0.02
# By how many cores the work of others may overlap with ours, before both must share one.
OVERLAP = 0.1
# By which the clock of a core may move between two moments.
STEADY_FREQUENCY = 0.10


@dataclass(frozen=True, slots=True)
class Moment:
    """Counters of the whole machine at one moment; None or empty where the system does not tell.

    Attributes:
        wall_s: monotonic wall clock, seconds.
        own_s: processor time of this process, seconds.
        busy_s: processor time of everything on all cores, seconds.
        stolen_s: time that a hypervisor gave to others while a core wanted to run, seconds.
        waited_s: time in which at least one process waited for a core, seconds.
        throttled: times that a core was slowed down by heat.
        limited: times that a limit of the control group stopped this process.
        frequencies_khz: clock of each core.
        on_battery: whether the machine runs on battery.
    """

    wall_s: float
    own_s: float
    busy_s: float | None = None
    stolen_s: float | None = None
    waited_s: float | None = None
    throttled: int = 0
    limited: int = 0
    frequencies_khz: tuple[int, ...] = ()
    on_battery: bool = False


def moment(root: Path = ROOT) -> Moment:
    """Reads the counters now.

    Args:
        root: of the file system that is read.
    """
    busy_s, stolen_s = _processor_times(root)
    return Moment(
        wall_s=time.perf_counter(),
        own_s=time.process_time(),
        busy_s=busy_s,
        stolen_s=stolen_s,
        waited_s=_waited(root),
        throttled=sum(_numbers(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")),
        limited=_limited(root),
        frequencies_khz=tuple(_numbers(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")),
        on_battery=any(_text(path) == "Discharging" for path in root.glob("sys/class/power_supply/*/status")),
    )


@dataclass(frozen=True)
class Load:
    """The machine between two moments.

    Attributes:
        others_cores: cores that other processes kept busy; None where the system does not tell, as below.
        stolen: share of one core's time that a hypervisor took.
        pressure: share of the time in which something waited for a core.
    """

    others_cores: float | None = None
    stolen: float | None = None
    pressure: float | None = None

    @classmethod
    def between(cls, before: Moment, after: Moment) -> Load:
        """The load from one moment to the next."""
        wall_s = max(after.wall_s - before.wall_s, 1e-9)

        def share(then: float | None, now: float | None, own_s: float = 0.0) -> float | None:
            return None if then is None or now is None else max(0.0, (now - then - own_s) / wall_s)

        return cls(
            share(before.busy_s, after.busy_s, after.own_s - before.own_s),
            share(before.stolen_s, after.stolen_s),
            share(before.waited_s, after.waited_s),
        )

    def is_shared(self, threads: int, cores: int) -> bool:
        """True if that many threads of this process had to share cores with something else."""
        overlap = self.others_cores is not None and self.others_cores + threads > cores + OVERLAP
        return overlap or (self.pressure or 0.0) > PRESSURE or (self.stolen or 0.0) > STOLEN

    def words(self) -> str:
        """Words for a message; empty if nothing is known."""
        parts = []
        if self.others_cores is not None:
            parts.append(f"others kept {self.others_cores:.1f} cores busy")
        if self.pressure is not None:
            parts.append(f"something waited for a core {100 * self.pressure:.0f} % of the time")
        if self.stolen is not None and self.stolen > STOLEN:
            parts.append(f"the hypervisor took {100 * self.stolen:.0f} % of a core")
        return ", ".join(parts)


def disturbances(before: Moment, after: Moment, cores: int) -> list[str]:
    """Sentences' parts about what disturbed timings between two moments; empty on a quiet machine.

    Args:
        before: as timing began.
        after: as it ended.
        cores: that this process may use.
    """
    load, found = Load.between(before, after), []
    if load.is_shared(1, cores):
        found.append(f"it was busy ({load.words()})")
    if after.on_battery:
        found.append("it runs on battery")
    if after.throttled > before.throttled:
        found.append(f"its cores were slowed down by heat {after.throttled - before.throttled} times")
    if after.limited > before.limited:
        found.append(f"a limit of processor time stopped this process {after.limited - before.limited} times")
    moves = zip(before.frequencies_khz, after.frequencies_khz, strict=False)
    then, now = max(moves, key=lambda move: abs(move[1] / move[0] - 1.0), default=(1, 1))
    if abs(now / then - 1.0) > STEADY_FREQUENCY:
        found.append(f"its frequency scaling moves (a core went from {then / 1e6:.2f} to {now / 1e6:.2f} GHz)")
    return found


def _processor_times(root: Path) -> tuple[float | None, float | None]:
    """Busy and stolen seconds of all cores, from the first line of `/proc/stat`."""
    try:
        fields = (root / "proc/stat").read_text().split("\n", 1)[0].split()[1:]
        # man 5 proc: user nice system idle iowait irq softirq steal; guests are counted in user and nice.
        user, nice, system, _, _, irq, softirq, stolen = (int(each) for each in fields[:8])
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None, None
    return (user + nice + system + irq + softirq) / ticks, stolen / ticks


def _waited(root: Path) -> float | None:
    """Seconds in which something waited for a core, from the pressure stall information of the kernel."""
    _, _, total = _text(root / "proc/pressure/cpu").partition("total=")
    return int(total.split()[0]) / 1e6 if total[:1].isdigit() else None


def _limited(root: Path) -> int:
    """Times that the process's control group ran into its limit of processor time."""
    for path in ("sys/fs/cgroup/cpu.stat", "sys/fs/cgroup/cpu/cpu.stat"):
        _, _, count = _text(root / path).partition("nr_throttled ")
        if count[:1].isdigit():
            return int(count.split()[0])
    return 0


def _numbers(root: Path, pattern: str) -> list[int]:
    texts = [_text(path) for path in sorted(root.glob(pattern))]
    return [int(text) for text in texts if text.isdigit() and int(text)]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
