"""Building blocks of models where torch.ao is gone: what torch.ao's do in floating point."""

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized import FloatFunctional as TorchsFunctional

from quantbench.errors import QuantizationError
from quantbench.models import stand_ins

X, Y = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("add", (X, Y)), ("add_scalar", (X, 2.0)), ("mul", (X, Y)), ("mul_scalar", (X, 2.0)), ("add_relu", (X, Y)),
        ("matmul", (X, Y)), ("cat", ([X, Y], 1)),
    ],
)  # fmt: skip
def test_operations_are_those_of_torch_ao(method, given):
    expected = getattr(TorchsFunctional(), method)(*given)
    assert torch.equal(getattr(stand_ins.FloatFunctional(), method)(*given), expected)


def test_a_functional_is_called_by_its_methods():
    with pytest.raises(RuntimeError, match=r"called by its methods: self\.add\.add"):
        stand_ins.FloatFunctional()(X)


def test_stubs_change_nothing_and_bring_no_keys():
    stubs = nn.Sequential(stand_ins.QuantStub(), stand_ins.DeQuantStub(qconfig=None), stand_ins.FloatFunctional())
    assert torch.equal(stubs[:2](X), X)
    assert stubs.state_dict() == {}


def test_batch_norms_are_folded_for_inference_and_for_training_not_at_all():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2), nn.ReLU())
    batch = torch.randn(8, 3, 4, 4)
    model(batch)
    model.eval()
    groups = [["0", "1", "2"], ["4", "5"]]
    fused = stand_ins.fuse_modules(model, groups)
    assert [type(each).__name__ for each in fused] == ["Conv2d", "Identity", "ReLU", "Flatten", "Linear", "ReLU"]
    torch.testing.assert_close(fused(batch), model(batch))
    assert isinstance(model[1], nn.BatchNorm2d), "the model stays as it was"
    assert stand_ins.fuse_modules(model, groups, inplace=True) is model
    with pytest.raises(QuantizationError, match="which this torch has not; set backend: pt2e, which needs no fusing"):
        stand_ins.fuse_modules_qat(model, groups, inplace=True)
