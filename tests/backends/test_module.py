"""A torch module as a predictor: arrays are shared, strides survive, the process stays as it was."""

import numpy as np
import pytest
import torch

from quantbench.arrays import INPUT, OUTPUT
from quantbench.backends.module import ChannelsLastPredictor, ModulePredictor
from quantbench.errors import EvaluationError

BATCH = np.arange(48, dtype=np.float32).reshape(2, 2, 3, 4)


def test_inputs_and_outputs_are_shared_with_torch_and_not_copied():
    seen = []
    outputs = ModulePredictor(lambda x: seen.append(x) or x)({INPUT: BATCH})
    assert seen[0].data_ptr() == BATCH.ctypes.data
    assert outputs[OUTPUT].ctypes.data == BATCH.ctypes.data


def test_an_array_that_is_channels_last_in_memory_reaches_the_module_as_such():
    last = ChannelsLastPredictor(lambda x: x).prepared({INPUT: BATCH})
    assert last[INPUT].strides != BATCH.strides
    assert np.array_equal(last[INPUT], BATCH)
    seen = []
    ModulePredictor(lambda x: seen.append(x.is_contiguous(memory_format=torch.channels_last)) or x)(last)
    assert seen == [True]


def test_what_is_no_image_keeps_its_layout():
    sounds = np.zeros((2, 1, 80), np.float32)
    assert ChannelsLastPredictor(lambda x: x).prepared({INPUT: sounds})[INPUT].strides == sounds.strides


def test_several_inputs_are_given_in_order_and_outputs_by_name_keep_their_names():
    predictor = ModulePredictor(lambda a, b: {"sum": a + b, "first": a})
    outputs = predictor({"a": BATCH, "b": 2 * BATCH})
    assert list(outputs) == ["sum", "first"]
    assert np.array_equal(outputs["sum"], 3 * BATCH)


@pytest.mark.parametrize("given", [(1,), None, {"y": 3}], ids=str)
def test_an_output_that_is_no_tensor_is_refused(given):
    with pytest.raises(
        EvaluationError, match=rf"^the model gave a {type(given).__name__}; expected a tensor of logits"
    ):
        ModulePredictor(lambda _: given)({INPUT: BATCH})


def test_none_among_outputs_is_no_output():
    for given in ((None, torch.ones(2)), {"loss": None, "1": torch.ones(2)}):
        assert list(ModulePredictor(lambda _, given=given: given)({"x": np.ones(2)})) == ["1"]


def test_bfloat16_which_numpy_has_not_comes_out_as_float32_of_the_same_values():
    given = ModulePredictor(lambda x: (x.bfloat16(), x))({"x": np.array([[1.0, -0.3]], np.float32)})
    assert [array.dtype for array in given.values()] == [np.float32, np.float32]
    assert given["0"].tolist() == torch.tensor([[1.0, -0.3]]).bfloat16().tolist()


def test_it_runs_in_inference_mode_with_its_threads_and_restores_both():
    before, seen = torch.get_num_threads(), []
    predictor = ModulePredictor(
        lambda x: seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled())) or x, threads=before + 1
    )
    predictor({INPUT: BATCH})
    assert seen == [(before + 1, True)]
    assert (torch.get_num_threads(), torch.is_inference_mode_enabled()) == (before, False)


def test_the_threads_before_come_back_after_an_error_too():
    before = torch.get_num_threads()
    with pytest.raises(EvaluationError):
        ModulePredictor(lambda _: None, threads=before + 1)({INPUT: BATCH})
    assert torch.get_num_threads() == before
