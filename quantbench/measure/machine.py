"""Facts of this machine that decide int8 kernels and disturb timings, read in milliseconds, without a library."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from quantbench.config.instruction_sets import INSTRUCTION_SETS
from quantbench.extras import EXTRAS, OWN, version_of
from quantbench.measure.load import ROOT, disturbances, moment, usable_cores

# Seconds between the two looks at the machine's counters.
LOOK_S = 0.25
# Runtime → distributions it needs, and its int8 kernels by instruction set, the fastest first; from the sources of
# oneDNN and FBGEMM (torch, openvino), MLAS (onnxruntime) and XNNPACK (litert, executorch).
_DOT = ("avx_vnni", "avx512_vnni", "amx_int8")
RUNTIMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "torch": (("torch",), ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd")),
    "onnxruntime": (
        ("onnxruntime", "onnx"),
        ("amx_int8", "avx_vnni_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd"),
    ),
    "openvino": (
        ("openvino", "nncf"),
        ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd"),
    ),
    "litert": (("ai-edge-litert",), ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd")),
    "executorch": (("executorch",), ("avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd")),
}
# Libraries beside them.
BESIDE = (OWN, "numpy", "pytest", "torchvision", "torchaudio", "torchao", "soundfile", "matplotlib")
# Variables that libraries take their number of threads from.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Runtime:
    """A runtime on this machine.

    Attributes:
        name: of the runtime.
        versions: of the distributions that it needs; None of one that is not installed.
        kernels: the instruction set of the fastest int8 kernels that it has for this processor; None for none known.
        note: what else should be known.
    """

    name: str
    versions: dict[str, str | None]
    kernels: str | None
    note: str

    @property
    def is_installed(self) -> bool:
        """All of its distributions are."""
        return None not in self.versions.values()


@dataclass(frozen=True)
class Machine:
    """This machine.

    Attributes:
        processor: its name.
        architecture: as Python names it.
        isa: instruction sets for which int8 kernels exist, of those that it has.
        cores: that this process may use, and that there are.
        python: version.
        runtimes: installed or not.
        versions: of other libraries that are installed.
        disturbs: what could disturb timings, a line each.
    """

    processor: str
    architecture: str
    isa: tuple[str, ...]
    cores: tuple[int, int]
    python: str
    runtimes: tuple[Runtime, ...]
    versions: dict[str, str]
    disturbs: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def this_machine(root: Path = ROOT) -> Machine:
    """Looks at the processor, at what is installed, and for a quarter of a second at what else runs.

    Args:
        root: of the file system that is read.
    """
    before = moment(root)
    processor, isa = _processor(root)
    runtimes = tuple(_runtime(name, isa) for name in RUNTIMES)
    versions = {name: own for name in BESIDE if (own := _version(name))}
    time.sleep(max(0.0, LOOK_S - (time.perf_counter() - before.wall_s)))
    disturbs = [*disturbances(before, moment(root), usable_cores()), *_settings(root)]
    cores = (usable_cores(), os.cpu_count() or 1)
    python, architecture = platform.python_version(), platform.machine()
    return Machine(processor, architecture, isa, cores, python, runtimes, versions, tuple(disturbs))


def _processor(root: Path) -> tuple[str, tuple[str, ...]]:
    """Name and instruction sets, as Linux tells them; of other systems by a library, which takes a second."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        import cpuinfo

        info = cpuinfo.get_cpu_info()
        return str(info.get("brand_raw") or platform.processor() or "unknown"), _known(info.get("flags", []))
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    flags = told.get("flags") or told.get("Features") or ""
    return told.get("model name") or platform.processor() or "unknown", _known(flags.split())


def _known(flags: list[str]) -> tuple[str, ...]:
    own = {flag.replace("avx512vnni", "avx512_vnni") for flag in flags}
    return tuple(name for name in INSTRUCTION_SETS if name in own)


def _runtime(name: str, isa: tuple[str, ...]) -> Runtime:
    distributions, kernels = RUNTIMES[name]
    best = next((each for each in kernels if each in isa), None)
    versions = {each: _version(each) for each in distributions}
    note = ""
    if missing := [each for each, found in versions.items() if found is None]:
        note = f"pip install 'quantbench-suite[{EXTRAS.get(missing[0].replace('-', '_'), name)}]'"
    elif best in ("avx2", "avx512f") and not set(_DOT) & set(isa):
        note = "no VNNI: sums of 8-bit products saturate, so that a bit of weights or activations is left free"
    return Runtime(name, versions, best, note)


def _version(distribution: str) -> str | None:
    try:
        return version_of(distribution)
    except PackageNotFoundError:
        return None


def _settings(root: Path) -> list[str]:
    """Settings by which the same forward takes another time on another day."""
    found = []
    governors = {_text(path) for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")}
    if odd := sorted(governors - {"", "performance"}):
        found.append(f"frequency scaling: {', '.join(odd)}; for timings: cpupower frequency-set -g performance")
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        found.append(f"a control group limits this process to {int(quota) / int(period):.1f} cores")
    if usable_cores() < (os.cpu_count() or 1):
        found.append(f"this process may use {usable_cores()} of {os.cpu_count()} cores")
    for name in THREADS:
        if value := os.environ.get(name):
            found.append(f"{name}={value}: threads of libraries; a workload's latency.threads decides what is timed")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
