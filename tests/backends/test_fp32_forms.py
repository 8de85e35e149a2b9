"""The forms of an fp32 model that int8 is timed against compute what the model computes."""

import pytest
import torch
from torch import nn

from quantbench.backends.fp32_forms import fp32_forms
from quantbench.backends.module import in_layout
from quantbench.errors import FormLeftOutWarning
from quantbench.models.cifar_cnn import CifarCNN
from quantbench.models.m5 import M5

SOUNDS, IMAGES = (3, 1, 8000), (3, 3, 32, 32)


class Odd(nn.Module):
    """1-D layers with every option that a form must keep; no batch norm, nothing to fuse."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv1d(2, 4, 5, stride=2, padding=3, dilation=2, groups=2, bias=False),
            nn.MaxPool1d(3, stride=2, padding=1, ceil_mode=True),
            nn.Conv1d(4, 6, 3, padding="same"),
        )
        self.circular = nn.Conv1d(6, 5, 3, padding=1, padding_mode="circular")
        self.pool = nn.MaxPool1d((2,))

    def forward(self, x):
        return self.pool(self.circular(self.inner(x))).mean(-1)


def settled(model):
    """With batch norms that are not the identity."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.mark.parametrize(
    ("model", "shape", "names"),
    [
        (M5(), SOUNDS, ["as written", "fused", "fused, as 2-D channels last"]),
        (CifarCNN(), IMAGES, ["as written", "fused", "fused, channels last"]),
        (Odd(), (3, 2, 100), ["as written", "fused", "fused, as 2-D channels last"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), (3, 3, 2, 2), ["as written", "fused"]),
    ],
    ids=["M5", "CifarCNN", "odd options", "no convolution"],
)  # fmt: skip
def test_every_form_computes_what_the_model_computes(model, shape, names):
    model, batch = settled(model), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    forms = fp32_forms(model)
    assert list(forms) == names
    with torch.inference_mode():
        expected = model(batch)
        for name, form in forms.items():
            torch.testing.assert_close(form(in_layout(batch)), expected, rtol=1e-4, atol=1e-5, msg=name)


def test_the_model_itself_is_left_as_it_was():
    model = settled(M5())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fp32_forms(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert type(model.conv1) is nn.Conv1d


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_a_model_that_cannot_be_copied_is_timed_as_it_was_written():
    model = nn.utils.weight_norm(nn.Linear(4, 3)).eval()
    with pytest.warns(FormLeftOutWarning, match=r"Linear in fp32 .* it cannot be fused \(RuntimeError: Only Tensors"):
        assert fp32_forms(model) == {"as written": model}


def test_a_fuse_model_that_fails_leaves_the_model_as_it_was_written():
    class Failing(CifarCNN):
        def fuse_model(self, is_qat=False):
            raise IndexError(is_qat)

    model = Failing().eval()
    with pytest.warns(FormLeftOutWarning, match="cannot be fused"):
        assert list(fp32_forms(model)) == ["as written"]
