"""The kernels that ran: named by the runtime's trace, held against the file, and never called int8 without evidence."""

from dataclasses import asdict

import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES
from torch import nn

from quantbench.backends.executorch_runtime.kernels import coverage_of, products_of, ran_in
from quantbench.backends.executorch_runtime.pte_file import Call, Method, PteFile, Tensor
from quantbench.backends.interface import BackendSpec
from quantbench.errors import MeasurementError
from quantbench.quantities.int8_share import INT8_SHARE
from quantbench.records.run import CoverageFacts

SPEC = BackendSpec("executorch", {}, "here")


def test_a_program_that_runs_in_floating_point_fails_the_gate(small_fp32):
    found = small_fp32.converted.kernels(named(PICTURES))
    facts = CoverageFacts(**asdict(found) | {"uncounted": []}, int8_share=found.int8_share)
    verdict = INT8_SHARE.judge(None, facts, 1.0)
    # By hand: 3·9·8·64 and 8·3 for each of 8 samples.
    assert (verdict.outcome, found.int8_share, found.macs) == ("FAIL", 0.0, 8 * (13_824 + 24))
    assert "in floating point: conv (110,592)" in verdict.measured


QUANTIZED = {
    0: ["Convert (NC) #1", "Convolution (NHWC, QC8) IGEMM #1"],
    4: ["Convolution (NHWC, QC8) IGEMM #1", "Convolution (NHWC, QC8) IGEMM #2"],
    6: ["Fully Connected (NC, QS8, QC8W) GEMM #1"],
}


@pytest.fixture
def file(int8):
    return int8.converted._runner.file


def test_the_trace_and_the_file_agree(file):
    found = coverage_of(file, QUANTIZED, [8, 1], 256, "a.pte")
    assert (found.int8_share, found.int8_layers["fc"], found.uncounted) == (1.0, 9 * 48, ())


@pytest.mark.parametrize(
    ("call", "ran", "named_kernels"),
    [
        (4, ["Convolution (NHWC, F32) IGEMM #1", "Convolution (NHWC, F32) IGEMM #2"], r"Convolution \(NHWC, F32\)"),
        (4, ["Convolution (NHWC, QC8) IGEMM #1"], r"Convolution \(NHWC, QC8\) ×1"),
        (4, [], "none"),
        (4, ["Mystery (NC) #1"], "none"),
    ],
    ids=["other types", "fewer", "no trace", "no product"],
)
def test_kernels_that_the_trace_names_otherwise_are_not_called_int8(call, ran, named_kernels, file):
    found = coverage_of(file, {**QUANTIZED, call: ran}, [1], 256, "a.pte")
    assert set(found.int8_layers) == {"stem", "fc"}
    layers = [line.partition(" (")[0] for line in found.uncounted]
    assert layers == ["block.conv1", "block.conv2"]
    with pytest.raises(AssertionError, match=named_kernels):
        raise AssertionError(found.uncounted[0])


def test_what_is_no_trace_is_told():
    with pytest.raises(MeasurementError, match="ExecuTorch's trace of a forward cannot be read"):
        ran_in(b"none")


class Doubles(nn.Module):
    """A product in float64, which XNNPACK has not."""

    def __init__(self):
        super().__init__()
        self.conv, self.weight = nn.Conv2d(3, 2, 3), nn.Parameter(torch.randn(72, 3).double())

    def forward(self, x):
        """`[n, 3, 8, 8]` → logits `[n, 3]`."""
        return (self.conv(x).flatten(1).double() @ self.weight).float()


def test_a_product_that_xnnpack_does_not_take_is_counted_in_floating_point(tmp_path):
    torch.manual_seed(0)
    model = saved(tmp_path / "a.pt", Doubles().eval(), backend="torch", model=f"{__name__}:Doubles")
    made = SPEC.create().lowered(model, named(PICTURES[:2]), tmp_path)
    found = made.converted.kernels(named(PICTURES))
    assert (found.float_layers, found.uncounted) == ({"conv": 8 * 27 * 72, "mm_1": 8 * 72 * 3}, ())
    assert "aten::mm.out ×1" in made.converted.notes[-1]


def method(operator, *shapes, jumps=False):
    values = tuple(Tensor("float32", shape, True, tuple(range(len(shape)))) for shape in shapes)
    call = Call(0, operator, tuple(range(len(values))))
    return PteFile(0, Method(values, (0,), (len(values) - 1,), (call,), jumps))


@pytest.mark.parametrize(
    ("operator", "shapes", "told"),
    [
        ("aten::mystery.out", [(4, 3), (4, 3)], ["aten::mystery.out (outside of XNNPACK)"]),
        ("own::anything.out", [(4, 3), (4, 3)], ["own::anything.out (outside of XNNPACK)"]),
        ("aten::mul.out", [(4, 3, 1), (1, 3, 5), (4, 3, 5)], ["aten::mul.out (outside of XNNPACK)"]),
        ("aten::mul.out", [(4, 3), (1, 3), (4, 3)], []),
        ("aten::sigmoid.out", [(4, 3), (4, 3)], []),
        ("aten::mean.out", [(4, 3), (4,)], []),
        ("aten::view_copy.out", [(4, 3), (12,)], []),
    ],
)
def test_kernels_of_executorch_s_own_that_may_multiply_are_named(operator, shapes, told):
    assert products_of(method(operator, *shapes)) == ([], told)


def test_a_model_whose_kernels_depend_on_values_is_not_counted():
    found = products_of(method("aten::mean.out", (4, 3), (4,), jumps=True))[1]
    assert found == ["the model (what it runs depends on values)"]


def test_a_matrix_product_outside_is_counted_by_its_shapes():
    (product,) = products_of(method("aten::mm.out", (4, 3), (3, 5), (4, 5)))[0]
    assert (product.layer, product.computes, product.macs) == ("mm_0", "float", 60)


def test_a_program_that_multiplies_nothing_is_told():
    with pytest.raises(
        MeasurementError, match=r"a\.pte: no convolution or matrix product was seen among its operators"
    ):
        coverage_of(method("aten::mean.out", (4, 3), (4,)), {}, [1], 4, "a.pte")
