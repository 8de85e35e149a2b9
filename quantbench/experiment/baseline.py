"""A workload's fp32 model, measured once for all experiments of the workload."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from quantbench.backends.checkpoint import serialize
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.measure.fp32_forms import fastest_form
from quantbench.measure.latency import FP32, FP32_AGAIN, LATENCY_LEVEL, quiet_process, time_forwards, why_not_timed
from quantbench.measure.memory import MemoryJob, Peaks, peak_memory
from quantbench.measure.reload import FloatJob, ReloadJob
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Speedup


@dataclass
class Baseline:
    """A workload's fp32 model, measured once for all its experiments."""

    opened: OpenWorkload

    @cached_property
    def model(self) -> nn.Module:
        """With its committed weights, in eval mode."""
        return self.opened.load_baseline()

    @cached_property
    def evaluation(self) -> Evaluation:
        """On the test split."""
        return evaluate(self.model, self.opened.splits.test)

    @cached_property
    def size_bytes(self) -> int:
        """Of its state dict, saved as the quantized one is."""
        return len(serialize(self.model.state_dict()))

    @cached_property
    def memory(self) -> Peaks:
        """Peak resident memory of one forward."""
        return self.memory_of(self.float_job)

    @property
    def float_job(self) -> FloatJob:
        """What a fresh process needs to load the model from its file."""
        opened = self.opened
        name, where = opened.workload.config.model.name, opened.workload.where("model")
        return FloatJob(name, opened.model_params(), where, opened.weights_path)

    def memory_of(self, model: FloatJob | ReloadJob) -> Peaks:
        """The same of any form of the model, on the batch that is timed."""
        config = self.opened.workload.config.latency
        return peak_memory(MemoryJob(model, self.latency_batch.numpy(), config.threads))

    @cached_property
    def latency_batch(self) -> torch.Tensor:
        """The test samples whose forward is timed."""
        return next(self.opened.splits.test.batches(self.opened.workload.config.latency.batch_size))

    @cached_property
    def control(self) -> Speedup | None:
        """The fp32 model against itself, or None where this machine can time nothing."""
        config, batch, model = self.opened.workload.config.latency, self.latency_batch, self.model
        if why_not_timed(config.threads) is not None:
            return None
        looks = Looks(config.rounds, 1, LATENCY_LEVEL)
        forwards = {FP32: lambda: model(batch), FP32_AGAIN: lambda: model(batch)}
        with quiet_process(config.threads):
            timings = time_forwards(forwards, looks, config.budget_s, lambda _: True)
        return Speedup.of(timings.control, looks)

    @cached_property
    def fastest(self) -> tuple[str, nn.Module]:
        """The fastest fp32 form at hand, by name. What int8 must beat to be worth it."""
        return fastest_form(self.model, self.latency_batch, self.opened.workload.config.latency.threads)
