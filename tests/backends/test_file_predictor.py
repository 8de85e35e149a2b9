"""Arrays of the data made to fit a file's inputs, and its outputs read, whatever runtime runs it."""

import numpy as np
import pytest

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Binding, FilePredictor, Runner, TensorSpec
from quantbench.errors import EvaluationError

PICTURE = TensorSpec("image", (None, 3, 8, 6), "float32")
LOGITS = TensorSpec("logits", (None, 2), "float32")


class Toy(Runner):
    """Keeps what it is given, and gives the sums of each sample, twice over."""

    def __init__(self, *inputs, outputs=(LOGITS,), give=None):
        self.inputs, self.outputs = inputs or (PICTURE,), outputs
        self.given, self.give = [], give or self.sums
        self.counted = []

    def run(self, arrays):
        self.given.append([array.copy() for array in arrays])
        for array, spec in zip(arrays, self.inputs, strict=True):
            assert array.dtype == spec.dtype
            assert array.flags.c_contiguous
        return self.give(arrays)

    def sums(self, arrays):
        each = sum(array.reshape(len(array), -1).astype(np.float64).sum(axis=1) for array in arrays if array.ndim > 1)
        return [np.stack([each, each], axis=1).astype(np.float32) for _ in self.outputs]

    def kernels(self, batches):
        self.counted.append([len(batch[0]) for batch in batches])
        return Coverage(sum(len(batch[0]) for batch in batches), 0, {})


def pictures(n=5, shape=(3, 8, 6), dtype=np.float32):
    return np.random.RandomState(0).randn(n, *shape).astype(dtype)


def predictor(runner, **binding):
    return FilePredictor(runner, "a.onnx", Binding(**binding))


def refused(runner, inputs, **binding):
    with pytest.raises(EvaluationError) as error:
        predictor(runner, **binding)(inputs)
    assert str(error.value).startswith("a.onnx: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_one_input_takes_the_data_under_any_name_as_it_is_and_tells_nothing():
    runner, x = Toy(), pictures()
    model = predictor(runner)
    (logits,) = model({"input": x}).values()
    np.testing.assert_array_equal(runner.given[0][0], x)
    np.testing.assert_allclose(logits[:, 0], x.reshape(5, -1).sum(axis=1), rtol=1e-4)
    assert model.notes == ()


def test_channels_are_moved_where_only_that_fits():
    runner, x = Toy(TensorSpec("image", (None, 8, 6, 3), "float32")), pictures()
    model = predictor(runner)
    model({"input": x})
    np.testing.assert_array_equal(runner.given[0][0], x.transpose(0, 2, 3, 1))
    assert model.notes == ("input 'image': channels moved last (NCHW → NHWC)",)


@pytest.mark.parametrize("how", ["file", "configuration"])
def test_channels_are_moved_where_the_file_or_the_configuration_says_so(how):
    told = {"layout": "nhwc"}
    runner = Toy(TensorSpec("image", (None, None, None, None), "float32", **(told if how == "file" else {})))
    x = pictures()
    predictor(runner, **({} if how == "file" else told))({"input": x})
    np.testing.assert_array_equal(runner.given[0][0], x.transpose(0, 2, 3, 1))


def test_a_layout_that_the_configuration_names_is_not_guessed_at():
    runner, x = Toy(TensorSpec("image", (None, None, None, None), "float32")), pictures()
    predictor(runner, layout="nchw")({"input": x})
    np.testing.assert_array_equal(runner.given[0][0], x)


@pytest.mark.parametrize("shape", [(None, None, None), (8, 8, 8)])
def test_a_layout_that_sizes_do_not_tell_is_asked_for(shape):
    runner, x = Toy(TensorSpec("image", (None, *shape), "float32")), pictures(shape=(8, 8, 8))
    assert "[5, 8, 8, 8] with channels first or last alike; name which: backend: {name: …, layout: nchw}" in refused(
        runner, {"input": x}
    )


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 7), (1, 3, 8, 6)])
def test_samples_of_another_size_are_refused_with_both_sizes(shape):
    told = refused(Toy(), {"input": pictures(shape=shape)})
    assert f"takes 'image' float32 [?, 3, 8, 6], and the data's 'input' is float32 {[5, *shape]}; give it" in told


def test_a_named_layout_that_does_not_fit_is_refused():
    assert "[?, 3, 8, 6]" in refused(Toy(), {"input": pictures()}, layout="nhwc")


def test_real_values_become_codes_and_codes_real_values():
    runner = Toy(
        TensorSpec("image", (None, 3, 8, 6), "int8", scale=0.02, zero_point=-3),
        outputs=(TensorSpec("logits", (None, 2), "uint8", scale=0.5, zero_point=10),),
        give=lambda arrays: [np.full((len(arrays[0]), 2), 14, np.uint8)],
    )
    x, model = pictures() / 10, predictor(runner)
    (logits,) = model({"input": x.astype(np.float32)}).values()
    codes = runner.given[0][0]
    np.testing.assert_allclose((codes.astype(np.float32) + 3) * 0.02, x, atol=0.0101)
    assert (logits.dtype, logits.tolist()) == (np.float32, [[2.0, 2.0]] * 5)
    assert model.notes == (
        "output 'logits': dequantized from uint8 (scale 0.5, zero point 10)",
        "input 'image': quantized to int8 (scale 0.02, zero point -3)",
    )


def test_values_that_codes_cannot_hold_are_clipped_and_that_is_told():
    runner = Toy(TensorSpec("image", (None, 3, 8, 6), "uint8", scale=0.01))
    model = predictor(runner)
    model({"input": np.full((5, 3, 8, 6), 2.555, np.float32)})
    assert len(model.notes) == 1, "half a step beyond the end is rounding"
    model({"input": np.full((5, 3, 8, 6), 3.0, np.float32)})
    assert model.notes[1:] == ("input 'image': values beyond the range of its scale are clipped",)
    assert runner.given[1][0].max() == 255


def test_codes_of_the_data_are_given_as_they_are():
    runner = Toy(TensorSpec("image", (None, 3, 8, 6), "uint8", scale=0.01))
    x = np.arange(720).reshape(5, 3, 8, 6).astype(np.uint8)
    predictor(runner)({"input": x})
    np.testing.assert_array_equal(runner.given[0][0], x)


def test_integers_without_a_scale_are_asked_for():
    told = refused(Toy(TensorSpec("image", (None, 3, 8, 6), "uint8")), {"input": pictures()})
    assert "takes 'image' uint8 [?, 3, 8, 6], integers without a scale, and the data is float32; give it int" in told


@pytest.mark.parametrize(("ours", "theirs"), [("float64", "float32"), ("float32", "float16"), ("uint8", "float32")])
def test_numbers_are_cast_to_other_floating_point_and_that_is_told(ours, theirs):
    runner, x = Toy(TensorSpec("image", (None, 3, 8, 6), theirs)), np.abs(pictures()).astype(ours)
    model = predictor(runner)
    model({"input": x})
    np.testing.assert_array_equal(runner.given[0][0], x.astype(theirs))
    assert model.notes == (f"input 'image': {ours} is cast to {theirs}",)


@pytest.mark.parametrize(("ours", "theirs"), [("int64", "int32"), ("uint8", "int64"), ("int32", "uint8")])
def test_integers_are_cast_to_others_where_they_fit(ours, theirs):
    runner = Toy(TensorSpec("tokens", (None, 4), theirs))
    model = predictor(runner)
    model({"input": np.array([[0, 1, 2, 200]], ours)})
    assert runner.given[0][0].tolist() == [[0, 1, 2, 200]]
    assert model.notes == (f"input 'tokens': {ours} is cast to {theirs}",)


def test_integers_that_do_not_fit_are_refused_with_their_ends():
    told = refused(Toy(TensorSpec("tokens", (None, 2), "int8")), {"input": np.array([[-1, 200]], np.int64)})
    assert told == "a.onnx: takes 'tokens' int8 [?, 2], and the data has values from -1 to 200"


@pytest.mark.parametrize(("ours", "theirs"), [("float32", "bool"), ("bool", "float32"), ("complex64", "float32")])
def test_types_that_nothing_leads_between_are_refused(ours, theirs):
    told = refused(Toy(TensorSpec("mask", (None, 2), theirs)), {"input": np.ones((1, 2), ours)})
    assert told == f"a.onnx: takes 'mask' {theirs} [?, 2], and the data is {ours}; give it data of that type"


# Several inputs.
TWO = TensorSpec("left", (None, 4), "float32"), TensorSpec("right", (None, 3), "float32")


def arrays(**sizes):
    return {name: np.full((2, size), size, np.float32) for name, size in sizes.items()}


def test_inputs_are_matched_by_name_in_any_order():
    runner = Toy(*TWO)
    model = predictor(runner)
    model(arrays(right=3, left=4))
    assert [array.shape for array in runner.given[0]] == [(2, 4), (2, 3)]
    assert model.notes == ()


def test_inputs_are_matched_by_shape_where_that_leaves_no_choice_and_that_is_told():
    runner = Toy(*TWO)
    model = predictor(runner)
    model(arrays(a=3, left=4))
    assert [array.shape for array in runner.given[0]] == [(2, 4), (2, 3)]
    assert model.notes == ("inputs by shape: right is a",)


def test_arrays_that_no_input_takes_are_told():
    model = predictor(Toy(*TWO))
    model(arrays(left=4, right=3, more=5))
    assert model.notes == ("arrays of the data that no input takes: 'more'",)


def test_inputs_of_one_shape_and_no_names_are_asked_for():
    same = TensorSpec("left", (None, 3), "float32"), TensorSpec("right", (None, 3), "float32")
    told = refused(Toy(*same), arrays(a=3, b=3))
    assert told == (
        "a.onnx: takes 2 inputs ('left' float32 [?, 3], 'right' float32 [?, 3]), and the data has 'a' float32 [2, 3], "
        "'b' float32 [2, 3]; which of them is 'left' float32 [?, 3] does not follow from names and shapes: name the "
        "data's arrays as the inputs, or give the input a constant (backend: {constants: {left: …}})"
    )


def test_one_array_for_two_inputs_is_refused():
    assert "takes 2 inputs" in refused(Toy(*TWO), arrays(a=3))
    same = TensorSpec("left", (None, 3), "float32"), TensorSpec("right", (None, 3), "float32")
    assert refused(Toy(*same), arrays(a=3)).startswith("a.onnx: 'a' of the data fits several of its inputs ('left'")


def test_an_input_of_any_shape_takes_what_there_is():
    runner = Toy(TensorSpec("x", None, "float32"))
    predictor(runner)(arrays(a=3))
    assert (runner.given[0][0].shape, str(runner.inputs[0])) == ((2, 3), "'x' float32 of any shape")


def test_one_input_and_several_arrays_are_matched_by_shape():
    runner = Toy(TWO[1])
    predictor(runner)(arrays(a=3, b=4))
    assert runner.given[0][0].shape == (2, 3)


def test_a_constant_fills_an_input_that_no_sample_brings():
    rate, state = TensorSpec("rate", (), "int64"), TensorSpec("state", (2, None, 5), "float32")
    runner = Toy(TWO[0], rate, state)
    model = predictor(runner, constants={"rate": 16000, "state": 0})
    model(arrays(a=4))
    _, given_rate, given_state = runner.given[0]
    assert (given_rate.dtype, given_rate.tolist()) == (np.int64, 16000)
    assert (given_state.shape, given_state.any()) == ((2, 2, 5), np.False_)
    assert model.notes == ("input 'rate': always 16000", "input 'state': always 0")


def test_a_constant_that_the_input_cannot_hold_is_refused():
    told = refused(Toy(TWO[0], TensorSpec("rate", (), "int8")), arrays(a=4), constants={"rate": 0.5})
    assert told == "a.onnx: takes 'rate' int8 [], which cannot hold the constant 0.5"


def test_a_constant_for_no_input_is_refused():
    with pytest.raises(EvaluationError, match=r"a\.onnx: has no input 'rat'; it has 'left' float32 \[\?, 4\], 'right'"):
        predictor(Toy(*TWO), constants={"rat": 1})


def test_arrays_of_different_numbers_of_samples_are_refused():
    told = refused(Toy(*TWO), {"left": np.zeros((2, 4), "f"), "right": np.zeros((3, 3), "f")})
    assert told == "a.onnx: the arrays of a batch need the same number of samples, and 'left' has 2, 'right' has 3"
    assert refused(Toy(), {}) == "a.onnx: the arrays of a batch need the same number of samples, and there is none"


def test_one_number_is_no_batch():
    told = refused(Toy(*TWO), {"left": np.zeros((2, 4), "f"), "right": np.float32(1) * np.ones(())})
    assert told == "a.onnx: the data's 'right' is one number; give an array [n, …], a row for each sample"


# A fixed batch.
FIXED = TensorSpec("image", (2, 3, 8, 6), "float32")


def test_a_fixed_batch_cuts_the_samples_and_fills_up_the_last_part():
    runner, x = Toy(FIXED), pictures()
    model = predictor(runner)
    (logits,) = model({"input": x}).values()
    assert [given[0].shape[0] for given in runner.given] == [2, 2, 2]
    np.testing.assert_array_equal(runner.given[2][0][0], runner.given[2][0][1])
    np.testing.assert_allclose(logits[:, 1], x.reshape(5, -1).sum(axis=1), rtol=1e-4)
    assert model.notes == ("the file takes batches of 2 only",)


def test_a_batch_of_the_fixed_size_is_given_whole():
    runner, x = Toy(FIXED), pictures(2)
    model = predictor(runner)
    model({"input": x})
    assert (len(runner.given), model.notes) == (1, ())


def test_constants_are_not_cut():
    runner = Toy(FIXED, TensorSpec("state", (2, None), "float32"))
    predictor(runner, constants={"state": 1})({"input": pictures()})
    assert [given[1].shape for given in runner.given] == [(2, 2)] * 3


def test_an_output_without_a_row_for_each_sample_cannot_be_put_together():
    runner = Toy(FIXED, give=lambda _: [np.zeros(())])
    told = refused(runner, {"input": pictures()})
    assert "takes batches of 2, and its output 'logits' has the shape [], not a row for each sample; name" in told


def test_an_output_that_nobody_asked_for_may_have_any_shape():
    outputs = (LOGITS, TensorSpec("loss", (), "float32"))
    runner = Toy(FIXED, outputs=outputs, give=lambda _: [np.zeros((2, 2)), np.zeros(())])
    assert {name: each.shape for name, each in predictor(runner, output="logits")({"input": pictures()}).items()} == {
        "logits": (5, 2)
    }


def test_inputs_of_different_fixed_batches_are_refused():
    told = refused(Toy(FIXED, TensorSpec("b", (3, 1), "float32")), {"image": pictures(), "b": np.zeros((5, 1), "f")})
    assert (
        "its inputs have different fixed batches ('image' float32 [2, 3, 8, 6], 'b' float32 [3, 1]); write it" in told
    )


# Outputs.
def test_the_named_output_is_the_only_one():
    runner = Toy(outputs=(LOGITS, TensorSpec("features", (None, 2), "float32")))
    assert list(predictor(runner)({"input": pictures()})) == ["logits", "features"]
    assert list(predictor(runner, output="features")({"input": pictures()})) == ["features"]


def test_an_output_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(EvaluationError, match=r"^a\.onnx: has no output 'logit'; it has 'logits' float32 \[\?, 2\]$"):
        predictor(Toy(), output="logit")


# What is timed.
def test_prepared_samples_are_given_to_the_runner_as_they_are_at_every_forward():
    runner, x = Toy(TensorSpec("image", (None, 8, 6, 3), "int8", scale=0.1)), pictures()
    model = predictor(runner)
    ready = model.prepared({"input": x})
    first, second, direct = model(ready), model(ready), model({"input": x})
    np.testing.assert_array_equal(runner.given[0][0], runner.given[2][0])
    assert first["logits"].tobytes() == second["logits"].tobytes() == direct["logits"].tobytes()
    np.testing.assert_array_equal(ready["input"], x)


def test_prepared_samples_of_a_fixed_batch_are_cut_all_the_same():
    runner, x = Toy(FIXED), pictures()
    model = predictor(runner)
    assert model(model.prepared({"input": x}))["logits"].tobytes() == model({"input": x})["logits"].tobytes()


def test_kernels_are_those_of_all_parts_and_none_where_the_runtime_does_not_tell():
    runner = Toy(FIXED)
    assert predictor(runner).kernels({"input": pictures()}) == Coverage(6, 0, {})
    assert runner.counted == [[2, 2, 2]]
    assert Runner.kernels(runner, []) is None
