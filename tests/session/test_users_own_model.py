"""A model of the user's own, given as a class in a file beside the configuration, is gated like any other."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_a_class_beside_the_configuration_runs_from_the_shell(own_class):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    command = [Path(sys.executable).with_name("quantbench"), "run", "tiny/ptq_static_int8_per_channel"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "tiny/ptq_static_int8_per_channel" in done.stdout, done.stderr
    # Its gates hold; neither its checkpoint nor its result was ever accepted.
    assert done.returncode == 1
    assert done.stderr.count("FAIL") == 2
    assert "checkpoint: FAIL" in done.stderr
    assert "accuracy_vs_accepted: FAIL" in done.stderr


@pytest.mark.usefixtures("own_class")
def test_a_parameter_that_its_class_lacks_is_told_in_one_line():
    with pytest.raises(ConfigError, match=r"^a\.yaml: model 'own_net:Net': missing a required argument: 'n_classes'$"):
        MODELS.create("own_net:Net", "a.yaml", {"channels": 8})
