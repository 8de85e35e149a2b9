"""Readers of the package with a valid sample each: read, and the reason for which another content may be accepted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hostile_mutations as mutations
import numpy as np
import torch
from hostile_files import ir_files, onnx_file, preload, pte_file, reader_of, tflite_file
from hostile_mutations import BYTES, Mutation
from hostile_samples import (
    DROPPED,
    ROOT,
    ablation_row,
    cache_entry,
    data_entry,
    golden,
    old_weights,
    parts_of,
    picture,
    quantized_state,
    read_data,
    read_journal,
    read_picture,
    read_row,
    read_state,
    run_records,
    safetensors,
    search_journal,
    search_record,
    sound,
    training_state,
)
from pydantic import BaseModel

from quantbench.ablation.run import ROW
from quantbench.backends.checkpoint import read_checkpoint, read_safetensors, serialize
from quantbench.cache import META, CacheEntry
from quantbench.config.ablation import Ablation, Row, find_ablation
from quantbench.config.reading import load_workload
from quantbench.config.schema import Experiment
from quantbench.data.audio import ClipFormat, decode_clip
from quantbench.errors import ConfigError
from quantbench.golden.baselines import load_card, load_weights
from quantbench.golden.gates import accepted_gates
from quantbench.inspect.inspection import describe_file
from quantbench.records.ablation import read_ablation
from quantbench.records.base import read_json
from quantbench.records.search import SearchRecord
from quantbench.report.documents import read_records

JSON: tuple[Mutation, ...] = (*BYTES, *[mutations.edit_json] * 8)
YAML: tuple[Mutation, ...] = (*BYTES, *[mutations.edit_yaml] * 8)
TORCH: tuple[Mutation, ...] = (
    *BYTES,
    *[mutations.edit_archive] * 2,
    *[mutations.edit_pickle] * 3,
    *[mutations.edit_tensors] * 2,
)
WHOLE_AGAIN = {mutations.edit_archive, mutations.edit_pickle, mutations.edit_tensors}


@dataclass(frozen=True)
class Reader:
    """A reader of the package.

    Attributes:
        name: in the table.
        file: name of the file that is damaged, below a folder of its own.
        sample: its valid content.
        read: folder → all that was read.
        mutations: one of them is drawn for each input.
        reason: for which content that is not the sample's may be accepted; None where it may not.
        watched: figures that must not change unseen, as paths into what was read, or into each record of it; of a
            change there the reason is none.
        shorter: the same for content that is the sample's up to a point; None where it is as any other.
        beside: other files of the folder, by name.
        by_program_only: the reason holds of edits whose checksums were made anew, and of no damaged bytes.
    """

    name: str
    file: str
    sample: bytes
    read: Callable[[Path], Any]
    mutations: Sequence[Mutation] = JSON
    reason: str | None = None
    watched: tuple[str, ...] = ()
    beside: dict[str, bytes] = field(default_factory=dict)
    by_program_only: bool = False
    shorter: str | None = None

    def excuse(self, mutation: Mutation, before: Any, after: Any) -> str | None:
        """The reason for which other content was accepted; None where that is a defect."""
        if self.by_program_only and mutation not in WHOLE_AGAIN:
            return None
        if self.shorter and isinstance(after, list) and before[: len(after)] == after:
            return self.shorter
        known = [self._figures(each) for each in _each(before)]
        return self.reason if all(self._figures(each) in known for each in _each(after)) else None

    def _figures(self, found: Any) -> list[Any]:
        return [_at(found, path) for path in self.watched]


def _each(found: Any) -> list[Any]:
    """The records of a file, which may be fewer and of other names, or all of it."""
    return list(found.values()) if isinstance(found, dict) and found and all("/" in key for key in found) else [found]


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def canonical(value: Any) -> Any:
    """A value that compares equal exactly if the content is the same, as JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, torch.Tensor):
        if value.is_quantized:
            return [str(value.dtype), repr(value)]
        raw = value.detach().contiguous().view(-1).view(torch.uint8) if value.numel() else value
        return [str(value.dtype), list(value.shape), hashlib.sha256(raw.numpy().tobytes()).hexdigest()]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, dict):
        return {str(key): canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    if isinstance(value, Ablation):
        return [value.name, canonical(vars(value)["rows"])]
    if isinstance(value, Row):
        return [value.name, value.training.described()]
    if isinstance(value, Experiment):
        return [value.id, value.config.model_dump(mode="json"), value.workload.config.model_dump(mode="json")]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


VERSIONED = "compared with what is found, under version control, and told by nothing else in the file"
OTHER_FILE = "another whole file, whose checksums are right"
DATA = "no checksum in the format; data is known by a hash of its content"
WORDS = "the user's own words"
# Figures of a run that something else in its record tells.
RUN_FIGURES = (
    *(
        f"accuracy.{each}"
        for each in ("n", "fp32", "quantized", "lost", "gained", "drop_pp", "fp32_correct", "quantized_correct")
    ),
    "size.ratio", "size.fp32_bytes", "size.quantized_bytes", "coverage.int8_share", "latency.speedup",
    "latency.control", "latency.strayed",
)  # fmt: skip
FIGURE = "a word, or a figure that nothing else in the record tells"


def readers(folder: Path, is_lowering: bool = True) -> list[Reader]:
    """Every reader with its sample.

    Args:
        folder: for files that samples are made in; the cache is below it.
        is_lowering: with samples that take ten seconds to make.
    """
    os.environ["QUANTBENCH_CACHE"] = str(folder / "cache")
    made = folder / "made"
    made.mkdir(parents=True, exist_ok=True)
    documents = [*_of_workloads(), *_of_records(), _of_cards(), *_of_goldens(), *_of_kept(made)]
    return [*documents, *_of_tensors(), *_of_data(), *_of_models(made, is_lowering)]


def _of_workloads() -> list[Reader]:
    return [
        Reader(
            "workload files (YAML)",
            "w.yaml",
            (ROOT / "configs/cifar_cnn_shapes.yaml").read_bytes(),
            lambda place: load_workload(place / "w.yaml"),
            YAML,
            WORDS,
        ),
        Reader(
            "ablation files (YAML)",
            "a.yaml",
            (ROOT / "configs/ablations/resnet20_cifar10.yaml").read_bytes(),
            lambda place: find_ablation(str(place / "a.yaml"), ROOT / "configs"),
            YAML,
            WORDS,
        ),
    ]


def _of_records() -> list[Reader]:
    search = search_record().model_dump_json(indent=1).encode()
    ablation = (ROOT / "docs/results/ablation_resnet20_cifar10.json").read_bytes()

    def read_run(place: Path) -> Any:
        return parts_of(read_records([place / "a.json"]))

    def read_search(place: Path) -> SearchRecord:
        return read_json(SearchRecord, place / "a.json", ConfigError, "search again")

    return [
        Reader("records of runs", "a.json", run_records(), read_run, JSON, FIGURE, RUN_FIGURES),
        Reader("records of searches", "a.json", search, read_search, JSON, FIGURE, ("n", "accuracy", "bits")),
        Reader("records of ablations", "a.json", ablation, lambda place: read_ablation(place / "a.json"), JSON, FIGURE),
    ]


def _of_cards() -> Reader:
    card = ROOT / "golden/baselines/m5_spoken_words.json"
    return Reader(
        "cards of weights",
        "w.json",
        card.read_bytes(),
        lambda place: load_card(place / "w.safetensors", "train"),
        JSON,
        FIGURE,
        ("accuracy", "n_test", "weights_sha256"),
        {"w.safetensors": card.with_suffix(".safetensors").read_bytes()},
    )


def _of_goldens() -> list[Reader]:
    found = []
    for kind, name, watched in (
        ("results", "m5_spoken_words/ptq_static", ("n", "metrics.accuracy")),
        ("checkpoints", "m5_spoken_words/ptq_static", ()),
        ("searches", "vgg16_shapes/low_bit_4", ()),
    ):
        sample, read = golden(kind, name)
        found.append(Reader(f"goldens: {kind}", f"{kind}/{name}.json", sample, read, JSON, VERSIONED, watched))
    sample = (ROOT / "golden/gates.json").read_bytes()
    return [*found, Reader("goldens: gates", "gates.json", sample, accepted_gates, JSON, VERSIONED)]


def _of_kept(made: Path) -> list[Reader]:
    journal, state = search_journal(made), training_state(made)
    data = data_entry()
    row = cache_entry("ablations", {ROW: ablation_row()}, made)
    search = cache_entry("searches", {"record.json": search_record().model_dump_json().encode()}, made)

    def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
        return {other: content for other, content in files.items() if other != name}

    def read_search(place: Path) -> Any:
        entry = CacheEntry("searches", place.name, by_users_code=True)
        return (
            DROPPED if entry.read() is None else read_json(SearchRecord, entry.folder / "record.json", ConfigError, "")
        )

    labels = "train_labels.npy"
    return [
        Reader("kept: descriptions of data", META, data[META], read_data, JSON, beside=without(data, META)),
        Reader("kept: decoded data", labels, data[labels], read_data, BYTES, beside=without(data, labels)),
        Reader("kept: rows of ablations", ROW, row[ROW], read_row, JSON, beside=without(row, ROW)),
        Reader(
            "kept: searches",
            "record.json",
            search["record.json"],
            read_search,
            JSON,
            beside=without(search, "record.json"),
        ),
        Reader(
            "kept: journals of searches",
            "a.jsonl",
            journal,
            read_journal,
            (*BYTES, *[mutations.edit_lines] * 6),
            shorter="the steps before the damage, as they were written; the others are made again",
        ),
        Reader("kept: unfinished trainings", "w.pt", state, read_state, TORCH),
    ]


def _of_tensors() -> list[Reader]:
    plain = serialize({"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.arange(4.0)})
    card = ROOT / "golden/baselines/m5_spoken_words.json"
    weights = card.with_suffix(".safetensors").read_bytes()
    unsealed = "the format before torch 1.6 has no checksum; adopted weights are measured"
    return [
        Reader(
            "weights: quantized .pt",
            "w.pt",
            serialize(quantized_state()),
            lambda place: read_checkpoint(place / "w.pt"),
            TORCH,
            OTHER_FILE,
            by_program_only=True,
        ),
        Reader(
            "weights: .pt, inspected",
            "w.pt",
            plain,
            lambda place: describe_file(place / "w.pt"),
            TORCH,
            OTHER_FILE,
            by_program_only=True,
        ),
        Reader(
            "weights: .pt before 1.6",
            "w.pt",
            old_weights(),
            lambda place: read_checkpoint(place / "w.pt"),
            BYTES,
            unsealed,
        ),
        Reader(
            "weights: safetensors",
            "w.safetensors",
            safetensors(),
            lambda place: read_safetensors(place / "w.safetensors"),
            BYTES,
            "no checksum in the format; adopted weights are measured",
        ),
        Reader(
            "weights: with their card",
            "w.safetensors",
            weights,
            lambda place: load_weights(place / "w.safetensors", "train"),
            BYTES,
            beside={"w.json": card.read_bytes()},
        ),
    ]


def _of_data() -> list[Reader]:
    pictures = [
        Reader(f"images: {form}", "a.img", picture(form), read_picture, BYTES, DATA)
        for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
    ]
    sounds = [
        Reader(
            f"sounds: {form}",
            "a.wav",
            sound(form),
            lambda place: decode_clip(place / "a.wav", ClipFormat()),
            BYTES,
            DATA,
        )
        for form in ("WAV", "FLAC")
    ]
    return [*pictures, *sounds]


def _of_models(made: Path, is_lowering: bool) -> list[Reader]:
    """Files of the runtimes that are installed."""
    preload()
    samples: dict[str, tuple[str, int, dict[str, bytes]]] = {}
    if find_spec("onnxruntime"):
        samples["net.onnx"] = "onnxruntime", 8, {"net.onnx": onnx_file()}
    if find_spec("openvino"):
        xml, values = ir_files(made)
        samples["net.xml"] = samples["net.bin"] = "openvino", 4, {"net.xml": xml, "net.bin": values}
    if find_spec("ai_edge_litert"):
        samples["net.tflite"] = "litert", 4, {"net.tflite": tflite_file(made)}
    if is_lowering and find_spec("executorch"):
        samples["net.pte"] = "executorch", 8, {"net.pte": pte_file(made)}
    return [
        Reader(
            f"models: {Path(name).suffix}",
            name,
            files[name],
            reader_of(backend, next(iter(files)), size),
            BYTES,
            "no checksum in the format; a file is known by its hash, and what it gives is measured",
            beside={other: content for other, content in files.items() if other != name},
        )
        for name, (backend, size, files) in samples.items()
    ]
