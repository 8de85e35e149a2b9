"""A full evaluation pass from the warm cache against the published way: `python benchmarks/cached_pass.py`.

The published way decodes and resamples every clip in the loader, in every pass; whether it kept its resampling filter
or computed it for each clip is not known, so both are measured. All ways run the same model on the same recorded clips,
alternating, in one process; figures are medians of ratios. The share outside the model is what `evaluate` costs beyond
bare forwards over the same batches, normalized and in memory, alternating with them.
Needs Speech Commands (docs/real-data.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import soundfile
import torch
from interleaved import interleaved
from median_bootstrap import median_ratio_interval
from torch.utils.data import DataLoader, Dataset
from torchaudio.functional import resample
from torchaudio.transforms import Resample

from quantbench.arrays import INPUT, OUTPUT, Inputs
from quantbench.backends.interface import Predictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.data.audio import CLIP_SAMPLES, SAMPLE_RATE
from quantbench.data.speech_commands import RATE, SpeechCommandsSource
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import EVALUATION_BATCH, evaluate, inputs_of
from quantbench.registry import DATA

ROUNDS, SHARE_ROUNDS = 15, 60
PUBLISHED_BATCH = 256
FASTER_TARGET, OUTSIDE_TARGET = 20.0, 0.10
MODELS = ("fp32_baseline", "ptq_static")


class _Decoding(Dataset[tuple[torch.Tensor, int]]):
    """Clips as the published loader gives them: read, resampled and padded whenever asked for."""

    def __init__(self, files: list[tuple[Path, int]], resample: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.files = files
        self.resample = resample

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        sound, _ = soundfile.read(path, dtype="float32")
        clip = torch.zeros(1, CLIP_SAMPLES)
        resampled = self.resample(torch.from_numpy(sound))[:CLIP_SAMPLES]
        clip[0, : len(resampled)] = resampled
        return clip, label


def main() -> None:
    """Prints one row per model."""
    here = environment()
    experiments = load_experiments(Path("configs"))
    runs = Runs(Settings(Path("golden")))
    print(
        f"{here.processor} ({', '.join(here.isa)}), {torch.get_num_threads()} threads, torch {here.versions['torch']}\n"
    )
    titles = ("model", "warm cache, s", "outside the model [99 %]", "filter kept, s", "times faster [99 %]")
    print("| " + " | ".join([*titles, "filter per clip, s", "times faster [99 %]"]) + " |")
    print("| --- |" + " ---: |" * 6)
    for name in MODELS:
        run = runs.run(select(experiments, f"m5_speech_commands/{name}")[0])
        split, predictor = run.opened.splits.test, run.loaded(torch.get_num_threads())
        data = run.experiment.workload.config.data
        source = cast("SpeechCommandsSource", DATA.create(data.name, "data", data.params))
        files = [(clip.path, source.words.index(clip.word)) for clip in source.ordered() if clip.is_test]
        ways = {
            "kept": Resample(RATE, SAMPLE_RATE),
            "per clip": partial(resample, orig_freq=RATE, new_freq=SAMPLE_RATE),
        }
        loaders = {way: DataLoader(_Decoding(files, ways[way]), PUBLISHED_BATCH) for way in ways}
        batches = list(inputs_of(split, EVALUATION_BATCH))
        accuracies: dict[str, float] = {}

        def decoding(way: str, predictor: Predictor, loader: DataLoader[tuple[torch.Tensor, int]], n: int) -> None:
            right = 0
            for clips, labels in loader:
                logits = predictor({INPUT: clips.numpy()})[OUTPUT]
                right += int((logits.argmax(1) == labels.numpy()).sum())
            accuracies[way] = right / n  # noqa: B023 — called within this iteration

        def cached(predictor: Predictor = predictor) -> None:
            accuracies["cached"] = evaluate(predictor, split).accuracy  # noqa: B023

        def bare(predictor: Predictor = predictor, batches: list[Inputs] = batches) -> None:
            for batch in batches:
                predictor(batch)

        jobs = {way: partial(decoding, way, predictor, loader, len(split)) for way, loader in loaders.items()}
        times = interleaved({"cached": cached, "bare": bare}, SHARE_ROUNDS)
        within = median_ratio_interval(times["bare"] / times["cached"])
        outside = 100 * (1 - float(np.median(times["bare"] / times["cached"])))
        row = [name, f"{np.median(times['cached']):.4f}"]
        row += [f"{outside:.1f} % [{100 * (1 - within.high):.1f}, {100 * (1 - within.low):.1f}]"]
        times = interleaved({**jobs, "cached": cached}, ROUNDS)
        for way in ways:
            faster = times[way] / times["cached"]
            interval = median_ratio_interval(faster)
            row += [
                f"{np.median(times[way]):.3f}",
                f"{np.median(faster):.1f} [{interval.low:.1f}, {interval.high:.1f}]",
            ]
        print("| " + " | ".join(row) + " |")
        shown = ", ".join(f"{way} {100 * accuracy:.2f} %" for way, accuracy in accuracies.items())
        print(f"  n = {len(split):,} clips, {SHARE_ROUNDS} and {ROUNDS} rounds; accuracy: {shown}")
    print(f"\ntargets: {FASTER_TARGET:g} times faster, less than {100 * OUTSIDE_TARGET:g} % outside the model")


if __name__ == "__main__":
    main()
