"""Values that come into a forward from outside torch's view are named; constants may come from anywhere."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from quantbench.backends.kernels import measure_coverage

WIDTH = 8
SAMPLE = torch.linspace(-1, 1, 4 * WIDTH).reshape(4, WIDTH)
MATRIX = torch.eye(WIDTH) + 0.5
SOURCE = "from outside torch's view (NumPy, another thread, a library)"


class Outside(nn.Module):
    """Some computation on `[4, 8]`, without weights that a module has."""

    def __init__(self, compute):
        super().__init__()
        self.compute = compute

    def forward(self, x):
        return self.compute(self, x)


class Net(nn.Module):
    """A computation between two linear layers."""

    def __init__(self, compute):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(WIDTH, WIDTH), Outside(compute), nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.last(self.inner(self.first(x)))


def uncounted(compute, sample=SAMPLE):
    return measure_coverage(Net(compute).eval(), sample).uncounted


def in_a_thread(compute):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(compute).result()


def into_memory_that_torch_made(_, x):
    result = torch.empty(4, WIDTH)
    np.matmul(x.numpy(), MATRIX.numpy(), out=result.numpy())
    return result


def into_memory_by_a_thread(_, x):
    result = torch.zeros(4, WIDTH)
    in_a_thread(lambda: torch.matmul(x, MATRIX, out=result))
    return result


def into_its_own_operand(_, x):
    x.numpy()[:] = x.numpy() @ MATRIX.numpy()
    return x


def in_inference_mode(x):
    with torch.inference_mode():
        return x @ MATRIX


def in_python(_, x):
    return torch.tensor(
        [[sum(a * b for a, b in zip(row, w, strict=True)) for w in MATRIX.tolist()] for row in x.tolist()]
    )


def as_codes(_, x):
    codes = (x.numpy() * 100).astype(np.int8)
    return torch.from_numpy((codes.astype(np.int32) @ np.ones((WIDTH, WIDTH), np.int32)).astype(np.int32)).float()


COMPUTED = {
    "NumPy": lambda _, x: torch.from_numpy(x.numpy() @ MATRIX.numpy()),
    "numbers of Python": in_python,
    "a copy of an array": lambda _, x: torch.tensor(x.numpy() @ MATRIX.numpy()),
    "another thread": lambda _, x: in_a_thread(lambda: x.detach() @ MATRIX),
    "another thread in inference mode": lambda _, x: in_a_thread(lambda: in_inference_mode(x)),
    "an array of torch's that NumPy fills": into_memory_that_torch_made,
    "an array of torch's that a thread fills": into_memory_by_a_thread,
    "an operand that NumPy changes": into_its_own_operand,
    "codes": as_codes,
}


@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
def test_values_that_were_computed_out_of_sight_are_named_by_the_layer_that_takes_them(compute):
    [named] = uncounted(compute)
    assert named in (f"values in {layer} {SOURCE}" for layer in ("inner", "last"))


def test_an_output_that_no_operator_takes_is_named():
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Outside(COMPUTED["another thread"]))
    assert measure_coverage(model.eval(), SAMPLE).uncounted == (f"values in the model's output {SOURCE}",)


def cached(m, x):
    if not hasattr(m, "positions"):
        m.positions = torch.from_numpy(np.arange(WIDTH, dtype=np.float64)).float()
    return x + m.positions


def kept(m, x):
    m.before = x + getattr(m, "before", 0)
    return m.before * 0.5


def indexed(_, x):
    lengths = torch.tensor([len([value for value in row if value > 0]) + 1 for row in x.tolist()])
    return x * (torch.arange(WIDTH) < lengths[:, None])


CONSTANT = {
    "a tensor that nobody registered": lambda _, x: x + MATRIX[0],
    "an array": lambda _, x: x + torch.from_numpy(np.ones(WIDTH, np.float32)),
    "a tensor made anew each time": lambda _, x: (x - torch.tensor([0.1] * WIDTH)) / torch.tensor([0.2] * WIDTH),
    "an array that is kept from the first forward": cached,
    "a state": kept,
    "a number computed from the sample": lambda _, x: x / torch.tensor(float(x.numpy().max())),
    "lengths": indexed,
    "a copy there and back": lambda _, x: torch.from_numpy(x.numpy().copy()),
    "random numbers": lambda _, x: x + torch.rand(WIDTH),
    "an array filled by torch": lambda _, x: torch.empty(4, WIDTH).copy_(x).mul_(2),
    "a result written to a given tensor": lambda _, x: torch.add(x, 1, out=torch.empty(4, WIDTH)),
    "a batch norm that learns": lambda _, x: nn.functional.batch_norm(x, MEAN, VARIANCE, training=True),
}
MEAN, VARIANCE = torch.zeros(WIDTH), torch.ones(WIDTH)


@pytest.mark.parametrize("compute", CONSTANT.values(), ids=CONSTANT)
def test_constants_states_and_single_numbers_are_not(compute):
    assert uncounted(compute) == ()


@pytest.mark.parametrize(
    "sample", [SAMPLE[:1], torch.zeros(4, WIDTH), torch.ones(1, WIDTH)], ids=["one", "zeros", "ones"]
)
def test_a_sample_like_any_other_is_told_from_itself(sample):
    assert uncounted(COMPUTED["NumPy"], sample) == (f"values in inner {SOURCE}",)
    assert uncounted(CONSTANT["an array"], sample) == ()


def test_the_memory_of_values_that_are_gone_is_not_mistaken_for_theirs():
    def many(_, x):
        for _ in range(50):
            y = x + 1
            del y
            x = torch.from_numpy(x.numpy() * 1.01)
        return x

    assert any(SOURCE in each for each in uncounted(many))
