"""A model of the user's own, given as a class in a file beside the configuration, is gated like any other."""

import sys

import pytest

from quantbench.errors import ConfigError
from quantbench.registry import MODELS

NET = """\
from tiny_model import TinyCNN

class Net(TinyCNN):
    def __init__(self, n_classes: int, channels: int = 8) -> None:
        super().__init__(n_classes, channels)
"""


@pytest.fixture
def own_class(project):
    (project.root / "own_net.py").write_text(NET)
    project.edit("tiny_model:tiny_cnn", "own_net:Net")
    yield project
    sys.modules.pop("own_net", None)


# Its class is found in the fresh processes too, which load and quantize it again.
@pytest.mark.usefixtures("own_class", "real_processes")
def test_a_class_beside_the_configuration_runs_from_the_shell(quantbench):
    status, out, err = quantbench("run", "tiny/ptq_static_int8_per_channel")
    assert "tiny/ptq_static_int8_per_channel" in out, err
    # Its gates hold; neither its checkpoint nor its result was ever accepted.
    assert status == 1
    assert err.count("FAIL") == 2
    assert "checkpoint: FAIL" in err
    assert "accuracy_vs_accepted: FAIL" in err


@pytest.mark.usefixtures("own_class")
def test_a_parameter_that_its_class_lacks_is_told_in_one_line():
    with pytest.raises(ConfigError, match=r"^a\.yaml: model 'own_net:Net': missing a required argument: 'n_classes'$"):
        MODELS.create("own_net:Net", "a.yaml", {"channels": 8})
