"""Errors of code that is not ours, in one line, whatever they are and say."""

import pickle

import numpy as np
import pytest
import torch
from raising import CAUSES, ERRORS
from torch import nn

from quantbench.backends.module import ModulePredictor
from quantbench.errors import ConfigError, ForeignError
from quantbench.foreign import LONGEST, Guarded, about, calling, cause_of, traceback_of


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_becomes_one_line_with_its_cause(name):
    # Without the frames of the last time that a test raised it.
    BaseException.with_traceback(ERRORS[name], None)
    with pytest.raises(ForeignError) as raised, calling("own code"):
        raise ERRORS[name]
    text = str(raised.value)
    assert text.startswith(f"own code raised {CAUSES[name]}, at ")
    assert len(text.splitlines()) == 1
    assert raised.value.__cause__ is ERRORS[name]
    assert text in traceback_of(raised.value)
    assert CAUSES[name] in traceback_of(raised.value) or name == "ValueError"


def test_a_message_is_shortened_and_printable():
    assert cause_of(ValueError("a" * 10_000)) == f"ValueError: {'a' * LONGEST}…"
    assert cause_of(ValueError("a\x1b[31m\udcff")) == "ValueError: a\\x1b[31m\\udcff"
    assert cause_of(ValueError()) == "ValueError"
    assert cause_of(ValueError("no such\n  layer")) == "ValueError: no such layer"
    assert cause_of(ValueError("\n no such \n" + "x" * 10_000)) == "ValueError: no such"


@pytest.mark.parametrize("error", [ConfigError("a.yaml: wrong"), KeyboardInterrupt()])
def test_our_own_errors_and_what_stops_the_run_pass(error):
    with pytest.raises(type(error)) as raised, calling("own code"):
        raise error
    assert raised.value is error


def test_leaving_the_debugger_stops_the_run():
    with pytest.raises(pytest.exit.Exception), calling("own code"):
        pytest.exit("q")


def test_an_iterator_that_stops_is_an_error_too():
    with pytest.raises(ForeignError, match="own code raised StopIteration"), calling("own code"):
        raise StopIteration


def test_an_interrupt_of_ones_own_is_an_error():
    class Interrupt(KeyboardInterrupt):
        pass

    with pytest.raises(ForeignError, match=r"^own code raised Interrupt, at "), calling("own code"):
        raise Interrupt


def test_ctrl_c_while_a_message_is_made_stops_the_run():
    class SlowError(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), calling("own code"):
        raise SlowError


def test_a_subject_stands_in_front_of_foreign_errors_alone():
    with pytest.raises(ForeignError) as raised, about("the fp32 model"), calling("own code"):
        raise KeyError("x")
    assert str(raised.value).startswith("the fp32 model: own code raised KeyError: 'x', at ")
    with pytest.raises(ConfigError, match=r"^a\.yaml$"), about("the fp32 model"):
        raise ConfigError("a.yaml")


def test_it_survives_the_way_back_from_another_process():
    with pytest.raises(ForeignError) as raised, calling("own code"):
        raise KeyError("x")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301 — made above


class Pick(nn.Module):
    """A layer that cannot run."""

    def forward(self, x):
        return x.view(len(x), -1)


def test_the_innermost_layer_and_the_batch_are_named():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), Pick())).to(memory_format=torch.channels_last)
    batch = np.zeros((2, 3, 4, 4), np.float32)
    images = torch.from_numpy(batch).to(memory_format=torch.channels_last).numpy()
    with pytest.raises(ForeignError) as raised:
        ModulePredictor(model)({"input": images})
    text = str(raised.value)
    assert text.startswith("the forward raised RuntimeError: view size is not compatible with input tensor's size")
    assert " in layer '1.1' (Pick), batch [2, 3, 4, 4], at " in text
    with pytest.raises(ForeignError, match=r"in layer '0' \(Conv2d\), batch \[2, 4, 4\]"):
        ModulePredictor(model)({"input": batch[:, 0]})


def test_a_model_whose_attributes_raise_is_named_without_its_layer():
    class Odd(nn.Module):
        def named_modules(self, *args, **kwargs):
            raise RuntimeError("no names")

        def forward(self, x):
            raise KeyError("x")

    with pytest.raises(ForeignError, match=r"^the forward raised KeyError: 'x', at "):
        ModulePredictor(Odd())({"input": np.zeros(1, np.float32)})


def test_a_guarded_method_is_guarded_in_every_subclass_and_keeps_its_name():
    class Base(Guarded):
        guarded = frozenset({"work"})

        def work(self, n: int) -> int:
            """Works."""
            return n

    class First(Base):
        def work(self, n):
            """Fails."""
            raise KeyError(n)

    class Second(First):
        def work(self, n):
            return super().work(n + 1)

    with pytest.raises(ForeignError, match=r"^Second\.work raised KeyError: 2, at "):
        Second().work(1)
    assert (First.work.__name__, First.work.__doc__) == ("work", "Fails.")
    assert Base().work(3) == 3
