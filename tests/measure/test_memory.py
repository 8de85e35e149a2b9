"""Peak resident memory of a forward in fresh processes: what is counted, what is not, what is said where it fails."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest
import torch
from artifacts import loaded, saved
from tiny_model import tiny_cnn

from quantbench.arrays import INPUT
from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError, MeasurementError
from quantbench.measure import memory
from quantbench.measure.memory import PROCESSES, PeakMemories, PeakMemory, compared, peak_memory
from quantbench.measure.residency import (
    PROBE_BYTES,
    RESOLUTION_BYTES,
    available_bytes,
    check_instrument,
    reset_peak,
    resident,
)
from quantbench.registry import RECIPES

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems cannot reset a process's peak")

MIB = 1 << 20
# Loosely counted pages, and small allocations beside the buffers.
TOLERANCE = RESOLUTION_BYTES
INPUTS = np.zeros((1, 3, 8, 8), np.float32)

USER_MODEL = """\
import os
import torch

MIB = 1 << 20

class Buffers(torch.nn.Module):
    # Weights of some size, and a forward that holds one buffer and then, in its place, another.
    def __init__(self, weights_mib=0, buffer_mib=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(weights_mib * MIB // 4))
        self.buffer_mib = buffer_mib

    def forward(self, x):
        for _ in range(2):
            buffer = torch.ones(self.buffer_mib * MIB, dtype=torch.uint8)
            del buffer
        return x.flatten(1)

class Dies(Buffers):
    def forward(self, x):
        os._exit(3)

class Fails(Buffers):
    def forward(self, x):
        raise ValueError("no such\\nlayer")
"""


@pytest.fixture
def artifact_of(tmp_path, monkeypatch):
    """The artifact of one of the user's own models, saved as a reference is."""
    (tmp_path / "memory_model.py").write_text(USER_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    user_models = importlib.import_module("memory_model")

    def make(model="Buffers", **params):
        path = tmp_path / f"{model}-{len(list(tmp_path.iterdir()))}.pt"
        module = getattr(user_models, model)(**params)
        return saved(path, module, backend="torch", model=f"memory_model:{model}", params=params)

    yield make
    sys.modules.pop("memory_model")


def measured(artifact, inputs=INPUTS):
    return peak_memory(artifact, {INPUT: inputs}, threads=1)


def peaks(*forwards):
    return PeakMemories(tuple(PeakMemory(forward, 2 * forward, 3 * forward) for forward in forwards))


@linux
@pytest.mark.parametrize("mib", [16, 48])
def test_a_buffer_of_a_forward_is_counted_once_and_with_its_size(artifact_of, mib):
    found = measured(artifact_of(buffer_mib=mib))
    assert len(found.each) == PROCESSES
    for forward in found.forwards:
        assert forward == pytest.approx(mib * MIB, abs=TOLERANCE), "the second buffer takes the place of the first"


@pytest.mark.parametrize(
    ("available_mib", "cores", "at_once"),
    [(4096, 8, PROCESSES - 1), (4096, 1, 1), (850, 8, 2), (700, 8, 1), (0, 8, 1)],
    ids=["room for all", "one core", "room for two", "room for one", "a system that does not tell"],
)
def test_processes_run_beside_each_other_where_there_are_cores_and_memory(monkeypatch, available_mib, cores, at_once):
    monkeypatch.setattr(memory, "available_bytes", lambda: available_mib * MIB)
    monkeypatch.setattr(memory, "usable_cores", lambda: cores)
    assert memory._at_once(PeakMemory(10 * MIB, 10 * MIB, 200 * MIB)) == at_once


@pytest.mark.parametrize(
    ("text", "bytes_"), [("MemFree: 1 kB\nMemAvailable:   2048 kB\n", 2 * MIB), ("MemFree: 1 kB\n", 0), (None, 0)]
)
def test_memory_that_is_available_is_the_system_s_own_figure(tmp_path, text, bytes_):
    path = tmp_path / "meminfo"
    if text is not None:
        path.write_text(text)
    assert available_bytes(path) == bytes_


@linux
def test_weights_stay_and_add_to_the_peak_of_the_forward(artifact_of):
    found = measured(artifact_of(weights_mib=24, buffer_mib=16))
    assert found.median() == pytest.approx(40 * MIB, abs=TOLERANCE)


@linux
def test_the_copy_in_which_weights_are_read_counts_for_loading_and_not_for_the_forward(artifact_of):
    found = measured(artifact_of(weights_mib=24))
    assert found.median() == pytest.approx(24 * MIB, abs=TOLERANCE)
    assert found.median("load_bytes") == pytest.approx(48 * MIB, abs=TOLERANCE)


@linux
def test_the_batch_and_the_libraries_are_not_counted_for_the_model(artifact_of):
    batch = np.zeros((1, 3, 8, 8 * 21_845), np.float32)
    assert batch.nbytes > 15 * MIB
    # Its flattened copy is a view, so that nothing but the batch is large.
    found = measured(artifact_of(), batch)
    assert abs(found.median()) < TOLERANCE
    assert found.median("total_bytes") > 100 * MIB, "torch alone is larger"


@linux
def test_what_this_process_holds_and_how_it_allocates_does_not_matter(artifact_of):
    artifact = artifact_of(buffer_mib=16)
    before = measured(artifact).median("total_bytes")
    held = torch.ones(256 * MIB, dtype=torch.uint8)
    assert measured(artifact).median("total_bytes") == pytest.approx(before, abs=TOLERANCE)
    assert resident().now > held.nbytes


@linux
def test_a_quantized_forward_takes_about_a_quarter_of_its_fp32_one(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(128, 3, 8, 8)).astype(np.float32)
    recipe = RECIPES.create("static_int8_per_tensor", "here", {})
    model = tiny_cnn(channels=512).eval()
    backend = EagerBackend(default_engine())
    quantized = backend.quantize_module(model, recipe, lambda: [torch.from_numpy(inputs)]).model
    made = {"params": {"channels": 512}}
    fp32 = saved(tmp_path / "fp32.pt", model, backend="torch", **made)
    int8 = saved(tmp_path / "int8.pt", quantized, recipe, **made)
    memory = compared(*(measured(each, inputs) for each in (fp32, int8)), 128, 1)
    # At its peak fp32 holds two maps of 128 × 512 × 8 × 8 values, the convolution's and its normalized one.
    assert memory.fp32_bytes == pytest.approx(32 * MIB, abs=TOLERANCE)
    assert memory.ratio > 3.5
    assert memory.ratio_range[0] <= memory.ratio <= memory.ratio_range[1]


def test_fp32_is_loaded_with_the_weights_of_its_file(artifact_of):
    artifact = artifact_of(weights_mib=1)
    write_checkpoint(artifact.path, {"weight": torch.full((MIB // 4,), 7.0)})
    assert loaded(artifact).weight.unique().tolist() == [7.0]


@linux
def test_a_process_that_dies_is_named_with_its_file_and_what_to_do(artifact_of):
    with pytest.raises(CheckpointError, match=r"Dies-\d\.pt: the fresh process .* died .*; if .*batch_size$"):
        measured(artifact_of("Dies"))


@linux
def test_a_model_that_cannot_run_is_told_in_one_line(artifact_of):
    cause = r"the forward raised ValueError: no such layer in Fails, batch \[1, 3, 8, 8\], at "
    with pytest.raises(CheckpointError, match=rf"pt: the model loaded from it cannot run: {cause}[^\n]*$"):
        measured(artifact_of("Fails"))


def test_the_ratio_is_of_medians_and_its_range_of_the_processes_farthest_apart():
    memory = compared(peaks(80 * MIB, 84 * MIB, 100 * MIB), peaks(20 * MIB, 25 * MIB, 21 * MIB), 32, 2)
    assert (memory.fp32_bytes, memory.quantized_bytes, memory.ratio) == (84 * MIB, 21 * MIB, 4.0)
    assert memory.ratio_range == (80 / 25, 100 / 20)
    assert (memory.processes, memory.batch_size, memory.threads) == (3, 32, 2)
    assert memory.quantized_each_bytes == [20 * MIB, 21 * MIB, 25 * MIB]
    assert (memory.fp32_load_bytes, memory.quantized_total_bytes) == (168 * MIB, 63 * MIB)


@pytest.mark.parametrize("small", [-4096, 0, RESOLUTION_BYTES - 1])
def test_of_peaks_below_the_resolution_no_ratio_is_taken(small):
    large = peaks(*[80 * MIB] * 3)
    assert compared(large, peaks(small, RESOLUTION_BYTES, 80 * MIB), 1, 1).ratio is None
    assert compared(peaks(small, 80 * MIB, 80 * MIB), large, 1, 1).ratio_range is None
    assert compared(large, peaks(*[RESOLUTION_BYTES] * 3), 1, 1).ratio == 80 * MIB / RESOLUTION_BYTES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"status cannot be read \(No such file or directory\)$"),
        ("Name:\tpython\nVmRSS:\t 10 kB\nVmSwap:\t 0 kB\n", r"status does not tell what is resident \('VmHWM'\)$"),
        ("VmRSS:\tmany\nVmHWM:\t1 kB\nVmSwap:\t0 kB\n", r"does not tell what is resident \(invalid literal .*\)$"),
        ("not what proc(5) says\n", r"does not tell what is resident"),
    ],
)
def test_a_system_that_does_not_tell_is_an_error_and_no_figure(tmp_path, text, message):
    if text is not None:
        (tmp_path / "status").write_text(text)
    with pytest.raises(MeasurementError, match=message):
        resident(tmp_path / "status")


def test_the_kernel_s_figures_are_read_in_bytes(tmp_path):
    (tmp_path / "status").write_text("VmHWM:\t     300 kB\nVmRSS:\t     200 kB\nVmSwap:\t      4 kB\n")
    assert dataclasses.astuple(resident(tmp_path / "status")) == (200 << 10, 300 << 10, 4 << 10)


def test_a_peak_that_cannot_be_reset_is_an_error_and_makes_no_file(tmp_path):
    with pytest.raises(MeasurementError, match=r"clear_refs cannot be written \(No such file or directory\)$"):
        reset_peak(tmp_path / "clear_refs")
    assert list(tmp_path.iterdir()) == []


@linux
@pytest.mark.parametrize("share", [0, 0.5, 2])
def test_a_block_that_is_not_seen_with_its_size_means_that_nothing_can_be_measured(share):
    size = int(share * PROBE_BYTES)
    message = (
        rf"^peak memory: a block of {PROBE_BYTES:,} bytes was seen as .* bytes, and .*; another allocator or a sand"
    )
    with pytest.raises(MeasurementError, match=message):
        check_instrument(lambda _: torch.ones(size, dtype=torch.uint8))


@linux
def test_memory_that_the_first_block_alone_brings_belongs_to_the_library():
    kept = []

    def take(size):
        if not kept:
            kept.append(torch.ones(PROBE_BYTES // 5, dtype=torch.uint8))
        torch.ones(size, dtype=torch.uint8)

    check_instrument(take)


@linux
def test_a_block_that_stays_when_it_is_dropped_means_that_nothing_can_be_measured():
    kept = []
    with pytest.raises(MeasurementError, match=r"and [\d,]{10} stayed when it was freed"):
        check_instrument(lambda size: kept.append(torch.ones(size, dtype=torch.uint8)))
