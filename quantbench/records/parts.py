"""Parts of the record of a run, one for each quantity of ours, and what contradicts itself in each."""

from __future__ import annotations

import math
from statistics import median
from typing import Any, Literal

from pydantic import Field

from quantbench.records.base import TOLERANCE, Part, agree, holds, is_share, unpack_bits
from quantbench.records.clusters import Clustered
from quantbench.records.intervals import unlike_tango, unlike_wilson
from quantbench.records.samples import Samples
from quantbench.stats.paired import PairedOutcomes
from quantbench.stats.power import least_drop

# Ratio of a latency, and the forms that it is of.
FORMS_OF = (
    ("speedup", "fp32", "int8"),
    ("speedup_over_fastest", "fp32_fastest", "int8"),
    ("control", "fp32", "fp32_again"),
)
# Processor times are written to the nanosecond.
CLOCK_TOLERANCE = 1e-4


class Accuracy(Part):
    """Both models on the same test samples.

    Attributes:
        n: samples.
        fp32: accuracy of the baseline, 0..1.
        quantized: accuracy of the quantized model, 0..1.
        lost: samples right before, wrong after.
        gained: samples wrong before, right after.
        drop_pp: accuracy lost, percentage points.
        drop_interval_pp: Tango's score interval at `level`, percentage points; a confidence sequence's, which holds
            whenever one stops, where fewer than all samples were looked at; by whole groups where there are some, and
            anything from −100 to 100 where these tell none.
        level: of both intervals.
        quantized_interval: Wilson interval of `quantized`, 0..1.
        fp32_correct: packed bits of per-sample correctness, base64, most significant bit first.
        quantized_correct: the same for the quantized model.
        detectable_pp: the least drop that the test set could detect with a power of 80 %, percentage points; absent in
            records of before it was noted.
        samples: how many were looked at of how many, of a run that may stop before the last; the bits are then in the
            order in which they were.
        clustered: of samples in groups.
    """

    n: int
    fp32: float
    quantized: float
    lost: int
    gained: int
    drop_pp: float
    drop_interval_pp: tuple[float, float]
    level: float
    quantized_interval: tuple[float, float]
    fp32_correct: str
    quantized_correct: str
    detectable_pp: float | None = None
    samples: Samples | None = Field(default=None, exclude_if=lambda samples: samples is None)
    clustered: Clustered | None = Field(default=None, exclude_if=lambda clustered: clustered is None)

    def impossible(self) -> str | None:
        """An interval without its estimate, or figures that are not those of its samples."""
        low, high = self.drop_interval_pp
        if not -100 <= low <= self.drop_pp <= high <= 100:
            return f"an accuracy drop of {self.drop_pp} pp [{low}, {high}]"
        found = []
        for share, bits in ((self.fp32, self.fp32_correct), (self.quantized, self.quantized_correct)):
            try:
                found.append(unpack_bits(bits, self.n))
                matches = self.n > 0 and agree(int(found[-1].sum()) / self.n, share)
            except ValueError:
                matches = False
            if not matches:
                return f"an accuracy of {share} that is not the one of its {self.n} samples"
        before, after = found
        lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
        if (self.lost, self.gained) != (lost, gained):
            return f"lost {self.lost} and gained {self.gained}, but the bits of its samples say {lost} and {gained}"
        if not agree(self.drop_pp, 100 * (lost - gained) / self.n):
            return f"drop_pp {self.drop_pp}, but lost {lost} and gained {gained} of n {self.n}"
        own = self.quantized_interval
        if not (0 < self.level < 1 and is_share(*own) and holds(own, self.quantized)):
            return f"quantized {self.quantized} with quantized_interval [{own[0]}, {own[1]}] at level {self.level}"
        counts = PairedOutcomes(self.n, lost, gained)
        scale = 100 if self.clustered is None else 100 * self.clustered.scale()
        least = scale * least_drop(counts, self.level)
        if self.detectable_pp is not None and not agree(self.detectable_pp, least, 1e-6):
            return f"detectable_pp {self.detectable_pp}, which is not the one of lost {lost} and gained {gained}"
        if self.samples is not None and (wrong := self.samples.impossible_of(self.n)):
            return wrong
        if wrong := self._unlike_tango(counts):
            return wrong
        return unlike_wilson("quantized_interval", own, self.quantized, self.n, self.level)

    def _unlike_tango(self, counts: PairedOutcomes) -> str | None:
        """Words about an interval that is not the one of its counts; None of one that counts alone do not tell."""
        if self.clustered is not None:
            own = self.clustered.interval_pp or (-100.0, 100.0)
            if own != self.drop_interval_pp:
                return f"drop_interval_pp {self.drop_interval_pp}, which is not that of its clusters"
            words = self.clustered.impossible()
            return words or unlike_tango("tango_pp", self.clustered.tango_pp, counts, self.level)
        if self.samples is not None and self.samples.is_part:
            return None
        return unlike_tango("drop_interval_pp", self.drop_interval_pp, counts, self.level)


class Size(Part):
    """Bytes of the saved files, both written by `torch.save` of a state dict."""

    fp32_bytes: int
    quantized_bytes: int
    ratio: float

    def impossible(self) -> str | None:
        """A file without a byte, or a ratio that is not that of the sizes."""
        sizes = (self.fp32_bytes, self.quantized_bytes)
        if min(sizes) > 0 and 0 < self.ratio < math.inf and agree(self.ratio, sizes[0] / sizes[1]):
            return None
        return f"sizes of {self.fp32_bytes} and {self.quantized_bytes} bytes with a ratio of {self.ratio}"


class CheckpointFacts(Part):
    """The saved file, as a fresh process found it.

    Attributes:
        reload_identical: whether its logits there were bit-identical to those of the model that was saved.
        largest_difference: largest absolute difference of a logit; −1 where they cannot be compared.
        graph: what else the file tells of its structure; left out where it tells nothing.
    """

    sha256: str
    payload_bytes: int
    keys: dict[str, dict[str, Any]]
    reload_identical: bool
    largest_difference: float
    graph: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda graph: not graph)

    def impossible(self) -> str | None:
        """Less than no bytes, or logits that are identical and differ."""
        if self.payload_bytes < 0:
            return f"payload_bytes {self.payload_bytes}"
        differs = self.largest_difference
        if not (differs == 0 if self.reload_identical else differs == -1 or 0 <= differs < math.inf):
            return f"reload_identical {self.reload_identical} with largest_difference {differs}"
        return None


class CoverageFacts(Part):
    """Multiply-accumulates of one sample, by the kernels that ran.

    Attributes:
        int8_share: share of those that were counted, 0..1.
        float_layers: of each layer that computed in floating point.
        int8_layers: of each layer that computed in int8; empty in records that were written before it was noted.
        uncounted: operators and layers that may have multiplied, and whose work is in none of these figures.
        unknown_layers: of each layer whose kernel does not tell what it computes in.
    """

    int8_macs: int
    float_macs: int
    int8_share: float
    float_layers: dict[str, int]
    int8_layers: dict[str, int] = Field(default_factory=dict)
    uncounted: list[str] = Field(default_factory=list)
    unknown_layers: dict[str, int] = Field(default_factory=dict)

    def impossible(self) -> str | None:
        """Less than no work, a share that is not that of the work, or layers that did more than all work."""
        unknown = sum(self.unknown_layers.values())
        work = self.int8_macs + self.float_macs + unknown
        if min(self.int8_macs, self.float_macs) < 0:
            return f"int8_macs {self.int8_macs} and float_macs {self.float_macs}"
        if not agree(self.int8_share, self.int8_macs / work if work else self.int8_share) or not is_share(
            self.int8_share
        ):
            return f"int8_share {self.int8_share}, but int8_macs {self.int8_macs} of {work}"
        for name, layers, most in (
            ("float_layers", self.float_layers, self.float_macs),
            ("int8_layers", self.int8_layers, self.int8_macs),
            ("unknown_layers", self.unknown_layers, unknown),
        ):
            # Each is rounded to one sample's.
            if min(layers.values(), default=0) < 0 or sum(layers.values()) > most + len(layers):
                return f"{name} of {sum(layers.values())} multiply-accumulates in all, of {most}"
        return None


class Work(Part):
    """Multiply-accumulates of one sample in both models, of any precision.

    Attributes:
        ratio: quantized / fp32; 0 where none of fp32 was counted.
        idle_layers: those that multiply in fp32 and not in the quantized model, with their work in fp32.
        fp32_uncounted: operators and layers that may have multiplied, and whose work is not in these figures.
        quantized_uncounted: the same of the quantized model.
    """

    fp32_macs: int
    quantized_macs: int
    ratio: float
    idle_layers: dict[str, int]
    fp32_uncounted: list[str]
    quantized_uncounted: list[str]

    def impossible(self) -> str | None:
        """Less than no work, or a ratio that is not that of the work."""
        ratio = self.quantized_macs / self.fp32_macs if self.fp32_macs else 0.0
        if min(self.fp32_macs, self.quantized_macs) >= 0 and agree(self.ratio, ratio):
            return None
        return f"{self.fp32_macs} and {self.quantized_macs} multiply-accumulates with a ratio of {self.ratio}"


class Counted(Part):
    """Counts of the forwards of one form beside their wall time, aligned by round.

    Attributes:
        thread_s: processor time of the calling thread, seconds.
        process_s: processor time of all threads, seconds.
        voluntary: switches because the thread waited.
        involuntary: switches because something else was to run.
        minor_faults: pages that were mapped anew.
        major_faults: pages that were read from a disk.
    """

    thread_s: list[float]
    process_s: list[float]
    voluntary: list[int]
    involuntary: list[int]
    minor_faults: list[int]
    major_faults: list[int]


class Latency(Part):
    """Interleaved forwards, seconds, aligned by round.

    Attributes:
        memory_kept: whether the allocator kept freed memory, so that no time was spent on page faults.
        looks: taken of those planned, before the interval decided or time was up.
        out_of_time: whether the time budget ended the measurement.
        level: of each interval over all planned looks together.
        speedup: median of fp32 / int8 over rounds.
        speedup_interval: distribution-free interval at `level`.
        fastest_form: the form of the fp32 model that was the fastest, such as fused with channels last.
        forms_left_out: lines about forms of the fp32 model that are not timed.
        speedup_over_fastest: the same against that form.
        control: the same of the fp32 model against itself, in the same rounds.
        strayed: whether the control is too far from 1 for anything timed beside it to be believed.
        clock: of all ratios: `wall`, or `processor` for the calling thread's processor time.
        clock_note: why it is not wall time.
        doubt: why no verdict follows from either clock; None if one does.
        speedup_by: clock → its median of fp32 / int8, for both.
        repeats: how often the shorter of fp32 and int8 ran in the control of unequal lengths.
        repeated_s: its wall times; form `repeated` in `counted`.
        counted: form → what was counted beside its wall times; empty where the system counts nothing.
        clean: share of rounds in which no forward was preempted.
        others_cores: cores that other processes kept busy meanwhile.
        stolen: share of a core's time that a hypervisor took.
        pressure: share of the time in which something waited for a core.
    """

    batch_size: int
    threads: int
    memory_kept: bool
    fastest_form: str
    rounds: int
    warmup_rounds: int
    looks: int
    planned_looks: int
    out_of_time: bool
    level: float
    speedup: float
    speedup_interval: tuple[float, float]
    speedup_over_fastest: float
    speedup_over_fastest_interval: tuple[float, float]
    control: float
    control_interval: tuple[float, float]
    strayed: bool
    int8_s: list[float]
    fp32_s: list[float]
    fp32_again_s: list[float]
    fp32_fastest_s: list[float]
    forms_left_out: list[str] = Field(default_factory=list)
    clock: Literal["wall", "processor"] = "wall"
    clock_note: str = ""
    doubt: str | None = None
    speedup_by: dict[str, float] = Field(default_factory=dict)
    repeats: int | None = None
    repeated_s: list[float] = Field(default_factory=list)
    counted: dict[str, Counted] = Field(default_factory=dict)
    clean: float | None = None
    others_cores: float | None = None
    stolen: float | None = None
    pressure: float | None = None

    def impossible(self) -> str | None:
        """A time or a ratio that is not positive, or a round without its times."""
        for speedup, limits in (
            (self.speedup, self.speedup_interval),
            (self.speedup_over_fastest, self.speedup_over_fastest_interval),
            (self.control, self.control_interval),
        ):
            if not all(0 < each < math.inf for each in (speedup, *limits)):
                return f"a speed-up of {speedup} [{limits[0]}, {limits[1]}]"
        forms = (self.fp32_s, self.fp32_again_s, self.fp32_fastest_s, self.int8_s)
        if not all(len(times) == self.rounds > 0 and all(0 < each < math.inf for each in times) for times in forms):
            return f"not {self.rounds} forward times of each form, or some that are not positive"
        return self._inconsistent()

    def _inconsistent(self) -> str | None:
        """A ratio that is not the median of its times or outside of its interval, or a control that is misjudged."""
        # Not imported where nothing is judged.
        from quantbench.stats.speed import CONTROL_TOLERANCE

        for form, counts in self.counted.items():
            if any(len(each) != self.rounds for each in counts.model_dump().values()):
                return f"counted of {form!r:.40} that is not of its {self.rounds} rounds"
        for name, reference, candidate in FORMS_OF:
            estimate, limits = getattr(self, name), getattr(self, f"{name}_interval")
            found = self._median(reference, candidate)
            if found is None or not agree(estimate, found, CLOCK_TOLERANCE if self.clock == "processor" else TOLERANCE):
                return f"{name} {estimate}, but the median of its {self.rounds} rounds is {found}"
            if not holds(limits, estimate):
                return f"{name} {estimate} outside of its interval [{limits[0]}, {limits[1]}]"
        low, high = self.control_interval
        deviates = low > 1 + CONTROL_TOLERANCE or high < 1 / (1 + CONTROL_TOLERANCE)
        if (self.strayed and not deviates) or (deviates and not self.strayed and self.doubt is None):
            return f"strayed {self.strayed} with control_interval [{low}, {high}]"
        if not (0 < self.level < 1 and 0 < self.looks <= self.planned_looks):
            return f"look {self.looks} of planned_looks {self.planned_looks} at level {self.level}"
        return None if is_share(self.clean or 0.0) else f"clean {self.clean}"

    def _median(self, reference: str, candidate: str) -> float | None:
        """Median ratio of two forms' times by the clock that is believed; None without them."""
        if self.clock == "wall":
            times = [getattr(self, f"{form}_s") for form in (reference, candidate)]
        else:
            times = [self.counted[form].thread_s for form in (reference, candidate) if form in self.counted]
        if len(times) < 2 or min(times[1], default=0) <= 0:
            return None
        return float(median(one / other for one, other in zip(*times, strict=True)))


class Memory(Part):
    """Peak resident memory of one forward in fresh processes, above what was resident before the model was loaded.

    Attributes:
        processes: fresh processes for each of the two models; every figure is their median.
        ratio: fp32 / quantized; None where a peak is below what counting pages resolves.
        ratio_range: smallest and largest ratio of any two processes.
        fp32_each_bytes: of each process, ascending.
        fp32_load_bytes: peak while the model was built and filled from its file.
        fp32_total_bytes: peak of the whole process in the forward, libraries included.
    """

    batch_size: int
    threads: int
    processes: int
    fp32_bytes: int
    quantized_bytes: int
    ratio: float | None
    ratio_range: tuple[float, float] | None
    fp32_each_bytes: list[int]
    quantized_each_bytes: list[int]
    fp32_load_bytes: int
    quantized_load_bytes: int
    fp32_total_bytes: int
    quantized_total_bytes: int

    def impossible(self) -> str | None:
        """A figure that is not the median of its processes, or a ratio that is not that of the figures."""
        for name, figure in (("fp32", self.fp32_bytes), ("quantized", self.quantized_bytes)):
            each = getattr(self, f"{name}_each_bytes")
            if len(each) != self.processes or not each or each != sorted(each):
                return f"{name}_each_bytes {each} of {self.processes} processes"
            if abs(median(each) - figure) > 1:
                return f"{name}_bytes {figure}, but the median of its processes is {median(each)}"
        if (self.ratio is None) != (self.ratio_range is None):
            return f"ratio {self.ratio} with ratio_range {self.ratio_range}"
        if self.ratio is not None and self.ratio_range is not None:
            ratio = self.fp32_bytes / self.quantized_bytes if self.quantized_bytes > 0 else math.inf
            if not (agree(self.ratio, ratio) and holds(self.ratio_range, self.ratio)):
                return (
                    f"ratio {self.ratio}, but fp32_bytes {self.fp32_bytes} and quantized_bytes {self.quantized_bytes}"
                )
        return None
