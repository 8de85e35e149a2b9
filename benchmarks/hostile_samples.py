"""Valid samples of files of every reader, and the reading of those that need more than one call."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quantbench.ablation.run import kept_row, row_entry
from quantbench.cache import CacheEntry
from quantbench.data.cache import open_cached
from quantbench.data.framing import Framing
from quantbench.data.pictures import PictureFormat, decode_picture
from quantbench.data.source import Arrays, Decoded, Normalization, Progress, Source
from quantbench.files import cache_dir, open_file
from quantbench.golden.kinds import KINDS
from quantbench.records.ablation import read_ablation
from quantbench.records.base import Environment, pack_bits
from quantbench.records.search import Decision, LayerCost, LayerSensitivity, SearchRecord
from quantbench.search.journal import FileJournal
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.training.state import EpochSummary, Progressed, restore, save

ROOT = Path(__file__).parents[1]
# What a reader gives that dropped a file with a notice, so that its content is made again.
DROPPED = "dropped"


def _environment() -> Environment:
    return Environment(
        processor="p",
        architecture="x86_64",
        isa=("avx2",),
        cores=2,
        system="Linux",
        python="3.12",
        versions={"torch": "2"},
    )


def search_record() -> SearchRecord:
    n, right = 200, 180
    layers = [LayerCost(name=f"conv{i}", macs=1000 * (i + 1), weights=100, weight_bits=4, inputs=50) for i in range(4)]
    found = []
    for i, lost in enumerate((1, 6, 2, 9)):
        drop, interval = 100 * (lost - 1) / n, tango_interval(PairedOutcomes(n, lost, 1))
        found.append(
            LayerSensitivity(
                layer=f"conv{i}",
                index=i,
                n=n,
                lost=lost,
                gained=1,
                drop_pp=drop,
                drop_interval_pp=(100 * interval.low, 100 * interval.high),
                correct=pack_bits(np.arange(n) < right - lost + 1),
                output_sqnr_db=20.0,
                logits_sqnr_db=15.0,
                logits_kl=0.01,
            )
        )
    decided = ((0, True, 0.0), (2, True, 0.5), (1, False, 3.0), (3, False, 5.0))
    decisions = [
        Decision(layer=f"conv{i}", index=i, accepted=yes, drop_pp=drop, n=n, reason="measured")
        for i, yes, drop in decided
    ]
    return SearchRecord(
        experiment="w/low_bit",
        mode="exact",
        delta=None,
        split="search",
        split_sha256="a" * 64,
        checkpoint_sha256="b" * 64,
        n=n,
        epsilon_pp=1.0,
        high=4,
        low=2,
        layers=layers,
        accuracy=right / n,
        sensitivities=found,
        decisions=decisions,
        bits=[2, 4, 2, 4],
        macs_spent=10**6,
        macs_naive=10**7,
        seconds=1.5,
        memory_bytes=10**6,
        confirmed=None,
        environment=_environment(),
        command="quantbench search w/low_bit",
    )


def quantized_state() -> dict[str, Any]:
    torch.manual_seed(0)
    weights = torch.randn(8, 3, 3, 3)
    scales = torch.linspace(0.01, 0.08, 8).double()
    return {
        "conv.weight": torch.quantize_per_channel(weights, scales, torch.zeros(8, dtype=torch.int64), 0, torch.qint8),
        "conv.bias": torch.randn(8),
        "conv.scale": torch.tensor(0.1),
        "conv.zero_point": torch.tensor(3),
        "fc._packed_params.dtype": torch.qint8,
        "fc._packed_params._packed_params": (
            torch.quantize_per_tensor(torch.randn(4, 8), 0.05, 0, torch.qint8),
            torch.randn(4),
        ),
        "bn.num_batches_tracked": torch.tensor(7),
    }


def training_parts() -> dict[str, Any]:
    torch.manual_seed(0)
    model = torch.nn.Linear(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 16)).sum().backward()
    optimizer.step()
    return {"model": model, "optimizer": optimizer}


IDENTITY = {"training": {"epochs": 4, "seed": 0}, "data": {"train": "0" * 64}}


def read_state(folder: Path) -> Any:
    parts = training_parts()
    found = restore(folder / "w.pt", IDENTITY, parts)
    if not found.history:
        return DROPPED
    states = {name: part.state_dict() for name, part in parts.items()}
    return {"epochs": [vars(each) for each in found.history], "best": found.best_epoch, "weights": found.best, **states}


def training_state(folder: Path) -> bytes:
    history = [EpochSummary(2.0, 0.3, 0.1, 1.0), EpochSummary(1.5, 0.5, 0.1, 1.0)]
    save(folder / "w.pt", IDENTITY, training_parts(), Progressed(history))
    return (folder / "w.pt").read_bytes()


class _TwoColours(Source):
    """Sixteen squares of two classes."""

    normalization = Normalization(255.0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def fingerprint(self) -> str:
        return "two colours"

    def decode(self, progress: Progress) -> Decoded:  # noqa: ARG002 — over at once
        inputs = np.arange(16 * 3 * 4 * 4).astype(np.uint8).reshape(16, 3, 4, 4)
        train, test = (Arrays(inputs + i, np.arange(16) % 2) for i in range(2))
        return Decoded(classes=("blue", "red"), train=train, test=test)


def read_data(folder: Path) -> Any:
    entry = CacheEntry("data", folder.name)
    if (meta := entry.read()) is None:
        return DROPPED
    return [meta["classes"], meta["sha256"], [np.load(entry.folder / each) for each in sorted(meta["sha256"])]]


def data_entry() -> dict[str, bytes]:
    open_cached("two", _TwoColours())
    (made,) = [each for each in (cache_dir() / "data").iterdir() if each.is_dir()]
    files = {each.name: each.read_bytes() for each in made.iterdir()}
    shutil.rmtree(made)
    return files


def ablation_row() -> bytes:
    record = read_ablation(ROOT / "docs/results/ablation_resnet20_cifar10.json")
    row = next(each.trained for each in record.rows if each.trained)
    return row.model_dump_json(indent=1).encode()


def read_row(folder: Path) -> Any:
    found = kept_row(row_entry(folder.name), json.loads(ablation_row())["key"])
    return DROPPED if found is None else found


def search_journal(folder: Path) -> bytes:
    journal = FileJournal(folder / "a.jsonl")
    for i in range(5):
        journal.append({"kind": "pass", "key": i, "macs": 10**6 + i, "seconds": 0.5, "lost": i, "correct": "/wA="})
    return (folder / "a.jsonl").read_bytes()


def read_journal(folder: Path) -> Any:
    """The steps of a journal."""
    return FileJournal(folder / "a.jsonl").entries()


def cache_entry(kind: str, files: dict[str, bytes], folder: Path) -> dict[str, bytes]:
    """Files of an entry of the cache, with its description."""
    entry = CacheEntry(kind, folder.name, by_users_code=True)
    with entry.locked():
        entry.write(lambda place: {name: (place / name).write_bytes(content) for name, content in files.items()} and {})
    return {each.name: each.read_bytes() for each in entry.folder.iterdir()}


def picture(form: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 256, (12, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def sound(form: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(2000) / 9) * 0.5, 8000, format=form)
    return buffer.getvalue()


def read_picture(folder: Path) -> Any:
    with open_file(folder / "a.img") as stream:
        return decode_picture(stream, "a.img", PictureFormat(Framing(8)))


def run_records() -> bytes:
    document = json.loads((ROOT / "docs/results/records.json").read_text())
    full = sorted((each for each in document["records"] if each.get("latency")), key=lambda each: len(json.dumps(each)))
    return json.dumps({**document, "records": full[:2], "not_run": []}, indent=1).encode()


def parts_of(records: Sequence[Any]) -> dict[str, Any]:
    return {each.experiment: each.model_dump(mode="json") for each in records}


def golden(kind: str, name: str) -> tuple[bytes, Callable[[Path], Any]]:
    sample = (ROOT / "golden" / kind / f"{name}.json").read_bytes()
    return sample, lambda folder: KINDS[kind].read(folder, name)


def old_weights() -> bytes:
    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.save({"a": torch.randn(6, 4), "b": torch.ones(3)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def safetensors() -> bytes:
    from safetensors.torch import save

    torch.manual_seed(0)
    return save({"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.randn(4), "n": torch.tensor([3])})
