"""The form of a model that a quantized one must beat."""

import pytest
import torch
from artifacts import named

from quantbench.arrays import INPUT
from quantbench.backends.fp32 import TorchBackend
from quantbench.backends.module import ChannelsLastPredictor, ModulePredictor
from quantbench.errors import ForeignError, FormLeftOutWarning
from quantbench.measure.fastest_form import fastest_form


def slow(x):
    for _ in range(40):
        x = x @ torch.ones(200, 200)
    return x


def test_a_form_that_is_slow_is_not_chosen():
    forms = {"slow": slow, "quick": lambda x: x, "slow too": slow}
    predictors = {name: ModulePredictor(form) for name, form in forms.items()}
    name, chosen = fastest_form(predictors, named(torch.zeros(200, 200)), threads=1)
    assert (name, chosen) == ("quick", predictors["quick"])


def test_each_form_is_given_the_batch_in_the_layout_that_it_prefers():
    seen = {}

    def noting(name):
        return lambda x: seen.setdefault(name, x) if x.is_contiguous(memory_format=torch.channels_last) else x

    forms = {"as written": ModulePredictor(noting("written")), "last": ChannelsLastPredictor(noting("last"))}
    batch = named(torch.randn(2, 3, 4, 5))
    fastest_form(forms, batch, threads=1)
    assert list(seen) == ["last"]
    assert torch.equal(seen["last"], torch.from_numpy(batch[INPUT]))


def test_every_form_of_a_reference_but_the_first_prefers_channels_last(tmp_path):
    from artifacts import saved
    from tiny_model import tiny_cnn

    artifact = saved(tmp_path / "a.pt", tiny_cnn().eval(), backend="torch")
    forms = TorchBackend().forms(artifact, threads=1)
    prepared = {
        name: torch.from_numpy(form.prepared(named(torch.randn(2, 3, 8, 8)))[INPUT]).is_contiguous()
        for name, form in forms.items()
    }
    assert prepared == {"as written": True, "fused": False, "fused, channels last": False}


def test_a_form_that_does_not_run_is_left_out_and_said():
    forms = {
        "as written": ModulePredictor(lambda x: x.reshape(len(x), -1)),
        "channels last": ChannelsLastPredictor(lambda x: x.view(len(x), -1)),
    }
    said = r"^the fp32 model's form 'channels last' is not timed: it does not run \(RuntimeError: view size is not"
    with pytest.warns(FormLeftOutWarning, match=said):
        assert fastest_form(forms, named(torch.randn(2, 3, 4, 5)), threads=1)[0] == "as written"


@pytest.mark.parametrize("other", [lambda x: x * 1.01, lambda x: x[:1], lambda x: x + torch.nan])
def test_a_form_that_computes_something_else_is_left_out_and_said(other):
    forms = {"as written": ModulePredictor(lambda x: x), "fused": ModulePredictor(other)}
    with pytest.warns(FormLeftOutWarning, match=r"^the fp32 model's form 'fused' is not timed: its output 'output' "):
        assert fastest_form(forms, named(torch.randn(2, 20)), threads=1)[0] == "as written"


def test_a_model_that_does_not_run_as_it_was_written_is_no_form_to_leave_out():
    forms = {"as written": ModulePredictor(lambda x: x.view(7)), "fused": ModulePredictor(slow)}
    with pytest.raises(ForeignError, match=r"^the forward raised RuntimeError: shape"):
        fastest_form(forms, named(torch.zeros(2, 200)), threads=1)
