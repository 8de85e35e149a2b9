"""The form of a model that a quantized one must beat."""

import torch
from artifacts import named

from quantbench.arrays import INPUT
from quantbench.backends.fp32 import TorchBackend
from quantbench.backends.module import ChannelsLastPredictor, ModulePredictor
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
