"""`.pt2` files: read without running code, compiled once, and what the compiled code's evidence says."""

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from artifacts import named
from exported_programs import PICTURES, SPEC

from quantbench.backends.interface import Artifact
from quantbench.backends.pt2e import archive, compiling
from quantbench.backends.pt2e.evidence import Product, coverage_of, products_of
from quantbench.errors import CacheError, CheckpointError, MeasurementError
from quantbench.quantities.int8_share import INT8_SHARE
from quantbench.recipes.spec import Fp32
from quantbench.records.run import CoverageFacts

GRAPH, WEIGHTS = "model/models/model.json", "model/data/weights/model_weights_config.json"


@pytest.fixture
def changed(int8, tmp_path):
    """The artifact of a copy of the file in which members were changed."""

    def change(**members):
        path = tmp_path / "changed.pt2"
        with zipfile.ZipFile(int8.artifact.path) as given, zipfile.ZipFile(path, "w") as made:
            for name in given.namelist():
                content = given.read(name)
                for part, edit in members.items():
                    if name == {"graph": GRAPH, "weights": WEIGHTS}.get(part):
                        content = json.dumps(edit(json.loads(content))).encode()
                made.writestr(name, content)
            for name, content in members.get("more", {}).items():
                made.writestr(name, content)
        return Artifact.of_files(SPEC, [path], Fp32())

    return change


def with_target(target):
    def edit(graph):
        graph["graph_module"]["graph"]["nodes"][0]["target"] = target
        return graph

    return edit


def with_size(text):
    def edit(graph):
        graph["graph_module"]["graph"]["sym_int_values"] = {"a": {"as_expr": {"expr_str": text, "hint": None}}}
        return graph

    return edit


def pickled(config):
    next(iter(config["config"].values()))["use_pickle"] = True
    return config


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        ({"graph": with_target("torch.hub.load")}, "refused: calls 'torch.hub.load', which is no operator of torch"),
        ({"graph": with_target("torch.ops.mine.op.default")}, "calls the custom operator mine::op"),
        ({"graph": with_size("__import__('os').system('true')")}, "refused: a size is '__import__.*no formula"),
        ({"graph": with_size("open(s0)")}, r"refused: a size is 'open\(s0\)', which is no formula of sizes"),
        ({"graph": lambda _: {}}, "not a whole .pt2 file"),
        ({"graph": lambda _: []}, "not a whole .pt2 file"),
        ({"weights": pickled}, "is no plain tensor, and to open it could run code"),
        ({"more": {"model/models/other.json": b"{}"}}, "holds 2 exported programs"),
        ({"more": {"model/data/aotinductor/model/a.so": b""}}, r"holds compiled code \(of AOTInductor\)"),
    ],
)
def test_a_file_that_would_run_code_or_is_none_is_refused_in_one_line(edit, line, changed):
    artifact = changed(**edit)
    for step in (lambda: SPEC.create().describe(artifact), lambda: SPEC.create().load(artifact, 1)):
        with pytest.raises(CheckpointError, match=line) as error:
            step()
        assert "\n" not in str(error.value)
        assert "changed.pt2" in str(error.value)


class Odd(torch.nn.Module):
    """Takes and gives what is no array beside what is."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2).bfloat16()

    def forward(self, x, more=None):
        found = self.layer(x.bfloat16())
        return {"found": found, "more": more}


def exported(path, *inputs):
    torch.export.save(torch.export.export(Odd().eval(), inputs), path)
    return Artifact.of_files(SPEC, [path], Fp32())


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ((torch.zeros(2, 2),), r"odd\.pt2: output 'more' is None, no tensor; export a model that takes and gives"),
        ((torch.zeros(2, 2), 3), r"odd\.pt2: input '3' is 3, no tensor"),
        ((torch.zeros(2, 2).bfloat16(), torch.zeros(1)), r"odd\.pt2: input 'x' is of bfloat16, which numpy has not"),
    ],
)
def test_what_is_no_array_is_told_before_anything_is_compiled(inputs, line, tmp_path):
    artifact = exported(tmp_path / "odd.pt2", *inputs)
    for step in (lambda: SPEC.create().describe(artifact), lambda: SPEC.create().load(artifact, 1)):
        with pytest.raises(CheckpointError, match=line):
            step()


def test_weights_in_bfloat16_are_described_as_what_they_are(tmp_path):
    described = SPEC.create().describe(exported(tmp_path / "odd.pt2", torch.zeros(2, 2), torch.zeros(1)))
    assert described.keys["layer.weight"]["dtype"] == "bfloat16"
    assert described.payload_bytes == 2 * (4 + 2)


def test_guards_and_samples_of_a_file_are_not_read(changed, int8):
    def guarded(graph):
        return {**graph, "guards_code": ["1 / 0"]}

    artifact = changed(graph=guarded, more={"model/data/sample_inputs/other.pt": b"cos\nsystem\n"})
    described = SPEC.create().describe(artifact)
    assert described.keys == SPEC.create().describe(int8.artifact).keys


def test_a_file_of_another_torch_is_told(changed):
    def older(graph):
        return {**graph, "torch_version": "2.5.0", "schema_version": {"major": 1, "minor": 1}}

    with pytest.raises(CheckpointError, match=r"changed\.pt2: torch\.export cannot read it: it was written by torch 2"):
        SPEC.create().describe(changed(graph=older))


def test_a_file_that_is_missing_or_another_than_was_made_is_told(int8, tmp_path):
    gone = replace(int8.artifact, files=(tmp_path / "gone.pt2",))
    with pytest.raises(CheckpointError, match=r"gone\.pt2: no such file"):
        SPEC.create().load(gone, 1)
    other = replace(int8.artifact, sha256=("0" * 64,))
    with pytest.raises(CheckpointError, match=r"model\.pt2: is not the file that was measured before"):
        SPEC.create().describe(other)


def test_members_in_another_order_make_the_same_file(int8):
    content = int8.artifact.path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(buffer, "w") as made:
        for name in reversed(given.namelist()):
            made.writestr(name, given.read(name))
    assert buffer.getvalue() != content
    assert archive.normalized(buffer.getvalue()) == content


@pytest.fixture
def own_cache(int8, tmp_path, monkeypatch):
    """A cache of the test's own that holds the compiled program, and a compiler that must not be called."""
    made = compiling.compiled(int8.artifact.path, int8.artifact.sha256[0])
    folder = tmp_path / "own" / "compiled" / made.package.parent.name
    folder.mkdir(parents=True)
    for path in made.package.parent.iterdir():
        os.link(path, folder / path.name) if path.suffix == ".pt2" else (folder / path.name).write_bytes(
            path.read_bytes()
        )
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "own"))
    calls = []

    def compile_again(*_):
        calls.append(1)
        raise CheckpointError("compiled again")

    monkeypatch.setattr(compiling, "_compile", compile_again)
    return folder, calls


def test_a_program_is_compiled_once_and_never_again(int8, own_cache):
    predictor = SPEC.create().load(int8.artifact, 1)
    assert predictor(named(PICTURES))["output"].tobytes() == int8.converted(named(PICTURES))["output"].tobytes()
    assert own_cache[1] == []


def test_a_compiled_program_that_is_damaged_is_told_and_compiled_again(int8, own_cache, capsys):
    package = own_cache[0] / compiling.PACKAGE
    content = package.read_bytes()
    package.unlink()
    package.write_bytes(content[:-9])
    with pytest.raises(CheckpointError, match="compiled again"):
        SPEC.create().load(int8.artifact, 1)
    assert "compiled.pt2 is cut short or changed; compiling again" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_to_is_told(int8, tmp_path, monkeypatch):
    (tmp_path / "full").write_text("a file in the place of the folder")
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "full"))
    with pytest.raises(CacheError, match=r"cannot be written .*QUANTBENCH_CACHE"):
        SPEC.create().load(int8.artifact, 1)


def test_another_torchao_whose_passes_write_other_code_compiles_again(int8, monkeypatch):
    def anew(*_):
        raise CheckpointError("compiled anew")

    monkeypatch.setattr(compiling, "_compile", anew)
    assert SPEC.create().load(int8.artifact, 1) is not None
    own = compiling.version_of
    monkeypatch.setattr(compiling, "version_of", lambda name: "0.0" if name == "torchao" else own(name))
    with pytest.raises(CheckpointError, match="compiled anew"):
        SPEC.create().load(int8.artifact, 1)


def test_a_process_that_has_quantized_nothing_knows_the_passes_for_int8_kernels():
    code = (
        "from quantbench.backends.pt2e.library import torchao; torchao(); from torch._inductor import config; "
        "print(type(config.pre_grad_custom_pass).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == "QuantLiftUp", "without them its program is compiled in floating point"


def test_threads_are_those_asked_for_and_the_process_keeps_its_own(int8):
    import torch

    before = torch.get_num_threads()
    two = SPEC.create().load(int8.artifact, 2)
    np.testing.assert_allclose(two(named(PICTURES))["output"], int8.converted(named(PICTURES))["output"], atol=1e-5)
    assert torch.get_num_threads() == before


INT8, FLOAT = (Product("conv", "op", kind, per_sample=100) for kind in ("int8", "float"))
HEAD = Product("fc", "op", "int8", per_sample=10, fixed=5)


def test_work_is_counted_by_batch_and_by_precision():
    found = coverage_of([FLOAT, HEAD], [INT8, HEAD], [4, 1], "a.pt2")
    assert (found.float_layers, found.int8_layers) == ({"conv": 500}, {"fc": 60})


def test_a_quantized_program_that_runs_in_floating_point_fails_the_gate(int8):
    # As it is before inductor: every convolution stands between a dequantize and a quantize, and is one of floats.
    program = compiling.read_program(int8.artifact.path)
    products = products_of(program.graph)
    assert [each.layer for each in products] == ["stem", "block.conv1", "block.conv2", "fc"]
    found = coverage_of(products, products, [1], "a.pt2")
    facts = CoverageFacts(**asdict(found) | {"uncounted": []}, int8_share=found.int8_share)
    verdict = INT8_SHARE.judge(None, facts, 1.0)
    assert (verdict.outcome, found.int8_share, found.macs) == ("FAIL", 0.0, 69_168)
    assert "in floating point: block.conv2 (36,864)" in verdict.measured


def test_an_operator_that_may_multiply_is_named():
    found = coverage_of([HEAD, Product("attention", "aten::mystery", "unknown")], [HEAD], [1], "a.pt2")
    assert found.uncounted == ("attention (aten::mystery)",)


def test_work_that_no_kernel_names_is_told():
    found = coverage_of([HEAD], [INT8, HEAD], [1], "a.pt2")
    assert found.uncounted == ("100 of 115 multiply-accumulates, in no kernel that inductor names",)


def test_a_kernel_without_a_name_stands_for_the_layer_of_the_same_work():
    nameless = replace(INT8, layer="")
    assert coverage_of([nameless, HEAD], [INT8, HEAD], [1], "a.pt2").int8_layers == {"conv": 100, "fc": 15}


def test_a_program_that_multiplies_nothing_is_told():
    with pytest.raises(MeasurementError, match=r"a\.pt2: no convolution or matrix product was seen in its graph"):
        coverage_of([], [], [1], "a.pt2")


def test_a_program_is_compiled_once_for_its_content_and_its_surroundings(int8, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "empty"))
    compilations = []

    def count(program, path, folder):
        compilations.append(path)
        (folder / compiling.PACKAGE).write_bytes(b"code")
        return {"seconds": 7.5, "products": [], "expected": [], "inputs": [], "outputs": []}

    monkeypatch.setattr(compiling, "_compile", count)
    path, sha256 = int8.artifact.path, int8.artifact.sha256[0]
    for _ in range(3):
        made = compiling.compiled(path, sha256)
        assert (made.seconds, len(compilations)) == (7.5, 1)
    compiling.compiled(path, "0" * 64)
    assert len(compilations) == 2, "another file"
    surroundings = compiling._surroundings()
    monkeypatch.setattr(compiling, "_surroundings", lambda: {**surroundings, "processor": "another"})
    compiling.compiled(path, sha256)
    compiling.compiled(path, sha256)
    assert len(compilations) == 3, "another processor"


def test_the_seconds_of_compiling_are_told_apart_from_what_is_run(int8):
    predictor = SPEC.create().load(int8.artifact, 1)
    assert predictor.compile_s == compiling.compiled(int8.artifact.path, int8.artifact.sha256[0]).seconds > 0
