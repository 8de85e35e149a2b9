"""Peak resident memory of one forward, measured where nothing else has left a trace: in fresh processes.

What is counted is what the model needs at once: its weights as loaded and packed, and every activation and scratch
buffer alive at the peak of one forward, as the kernel counts resident pages (`VmHWM` of proc(5)). Not counted are the
interpreter, the libraries with their code, and the input batch, all of which are resident before.

Two things make the figure one of the model and not of the process. The same model is loaded, run and freed once before:
otherwise the library code that a first forward faults in counts as the model's, more than the model itself, and how
much that is depends on how the process was made. And the C library gives freed memory back at once, so that what it
would keep for later does not count.
"""

from __future__ import annotations

import gc
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact
from quantbench.errors import MeasurementError
from quantbench.measure.allocator import return_freed_memory
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.load import usable_cores
from quantbench.measure.reload import run_loaded
from quantbench.measure.residency import (
    RESOLUTION_BYTES,
    available_bytes,
    check_instrument,
    reset_peak,
    resident,
    resident_after_trim,
)
from quantbench.records.run import Memory

# Fresh processes per model: a figure moves by some 100 KiB from one to the next, since the kernel counts pages loosely.
PROCESSES = 3
# Share of the memory that is available, 1 / this, which they may take together.
MARGIN = 2


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory that one fresh process measured, in bytes.

    Attributes:
        forward_bytes: peak of the forward, weights included, above what was resident before the model was loaded.
        load_bytes: peak while the model was built and filled from its file, above the same.
        total_bytes: peak of the whole process in the forward.
    """

    forward_bytes: int
    load_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class PeakMemories:
    """The same of several fresh processes."""

    each: tuple[PeakMemory, ...]

    def median(self, part: str = "forward_bytes") -> int:
        """Of an attribute of `PeakMemory`; a value that was measured, never a mean of two."""
        values: list[int] = [getattr(peak, part) for peak in self.each]
        return statistics.median_low(values)

    @property
    def forwards(self) -> list[int]:
        """Peak of the forward in each process, bytes, ascending."""
        return sorted(peak.forward_bytes for peak in self.each)


def peak_memory(artifact: Artifact, inputs: Inputs, threads: int) -> PeakMemories:
    """Loads an artifact and runs one forward, in `PROCESSES` fresh processes.

    The first has the machine to itself and tells what one takes; the others run beside each other where there are cores
    and memory for it, since each counts its own pages.

    Args:
        artifact: of the model.
        inputs: the batch of the forward.
        threads: intra-operator threads.

    Raises:
        MeasurementError: if this system cannot say what is resident, or ran short of memory meanwhile.
        CheckpointError: if the artifact cannot be loaded, the model cannot run, or a process died.
    """
    died = (
        f"{artifact.path}: the fresh process that measured its memory died without a word; if the system ended "
        "it for want of memory, lower workload.latency.batch_size"
    )

    def measured(_: object = None) -> PeakMemory:
        return in_fresh_process(run, artifact, inputs, threads, died=died)

    first = measured()
    with ThreadPoolExecutor(_at_once(first)) as pool:
        return PeakMemories((first, *pool.map(measured, range(1, PROCESSES))))


def _at_once(first: PeakMemory) -> int:
    """Processes that this machine runs beside each other without a lack of cores or memory."""
    room = available_bytes() // MARGIN // max(first.total_bytes, 1)
    return max(1, min(usable_cores(), room, PROCESSES - 1))


def run(artifact: Artifact, inputs: Inputs, threads: int) -> PeakMemory:
    """The fresh process's work."""
    if not return_freed_memory():
        raise MeasurementError("peak memory: this system's C library cannot be told to give freed memory back")
    # What the imports made need not be looked through at each collection.
    gc.freeze()
    backend = artifact.backend.create()
    run_loaded(artifact, backend.load(artifact, threads), inputs)
    check_instrument()
    before = resident_after_trim()
    reset_peak()
    predictor = backend.load(artifact, threads)
    loaded = resident()
    resident_after_trim()
    reset_peak()
    run_loaded(artifact, predictor, inputs)
    after = resident()
    if after.swapped > before.swapped:
        raise MeasurementError("peak memory: the system ran short of memory meanwhile and swapped some of it out")
    return PeakMemory(after.peak - before.now, loaded.peak - before.now, after.peak)


def compared(fp32: PeakMemories, quantized: PeakMemories, batch_size: int, threads: int) -> Memory:
    """Both models' peaks with their ratio, which is None where a peak is below what counting pages resolves.

    Args:
        fp32: of the baseline.
        quantized: of the quantized model.
        batch_size: samples in the forward.
        threads: intra-operator threads.
    """
    before, after = fp32.forwards, quantized.forwards
    resolved = min(before[0], after[0]) >= RESOLUTION_BYTES
    return Memory(
        batch_size=batch_size,
        threads=threads,
        processes=len(after),
        fp32_bytes=fp32.median(),
        quantized_bytes=quantized.median(),
        ratio=fp32.median() / quantized.median() if resolved else None,
        ratio_range=(before[0] / after[-1], before[-1] / after[0]) if resolved else None,
        fp32_each_bytes=before,
        quantized_each_bytes=after,
        fp32_load_bytes=fp32.median("load_bytes"),
        quantized_load_bytes=quantized.median("load_bytes"),
        fp32_total_bytes=fp32.median("total_bytes"),
        quantized_total_bytes=quantized.median("total_bytes"),
    )
