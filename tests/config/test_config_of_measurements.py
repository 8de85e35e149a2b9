"""How forward time is measured and how much worse than accepted a result may be: defaults, ranges and names."""

from pathlib import Path

import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.schema import LatencyConfig, RegressionConfig
from quantbench.errors import ConfigError

FILE = """\
workload:
  model: {{name: cifar_cnn}}
  data: {{name: shapes}}
  baseline: a
  {part}: {{{values}}}
experiments:
  fp32_baseline:
    recipe: {{name: fp32_baseline}}
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """The workload of a file that sets one part of it."""
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()

    def load(part, values):
        Path("configs/a.yaml").write_text(FILE.format(part=part, values=values))
        return load_experiments(Path("configs"))[0].workload.config

    return load


def test_what_is_set_is_used_and_the_rest_has_its_defaults(loaded):
    assert loaded("latency", "looks: 2, budget_s: 1.5").latency == LatencyConfig(looks=2, budget_s=1.5)
    assert loaded("regression", "speedup: 0.2").regression == RegressionConfig(speedup=0.2)
    assert (RegressionConfig().accuracy_pp, RegressionConfig().speedup) == (0.5, 0.1)


VALUES = {
    "too few rounds": ("latency", "rounds: 11", "workload.latency.rounds", "greater than or equal to 12 (given: 11)"),
    "too many rounds": ("latency", "rounds: 10001", "workload.latency.rounds", "less than or equal to 10000"),
    "no look": ("latency", "looks: 0", "workload.latency.looks", "greater than or equal to 1 (given: 0)"),
    "too many looks": ("latency", "looks: 7", "workload.latency.looks", "less than or equal to 6 (given: 7)"),
    "half a look": ("latency", "looks: 1.5", "workload.latency.looks", "valid integer (given: 1.5)"),
    "no time": ("latency", "budget_s: 0", "workload.latency.budget_s", "greater than 0 (given: 0)"),
    "endless time": ("latency", "budget_s: .inf", "workload.latency.budget_s", "finite number (given: inf)"),
    "no thread": ("latency", "threads: 0", "workload.latency.threads", "greater than 0 (given: 0)"),
    "negative margin": ("regression", "speedup: -0.1", "workload.regression.speedup", "greater than or equal to 0"),
    "all may be lost": ("regression", "speedup: 1.0", "workload.regression.speedup", "less than 1 (given: 1.0)"),
    "margin in percent": ("regression", "speedup: 10", "workload.regression.speedup", "less than 1 (given: 10)"),
    "negative loss": ("regression", "accuracy_pp: -1", "workload.regression.accuracy_pp", "greater than or equal to 0"),
    "beyond all": ("regression", "accuracy_pp: 101", "workload.regression.accuracy_pp", "less than or equal to 100"),
    "no number": ("regression", "speedup: .nan", "workload.regression.speedup", "finite number (given: nan)"),
}


@pytest.mark.parametrize(("part", "values", "place", "reason"), VALUES.values(), ids=VALUES)
def test_a_wrong_value_is_shown_with_its_place_and_what_is_allowed(loaded, part, values, place, reason):
    with pytest.raises(ConfigError) as error:
        loaded(part, values)
    assert str(error.value).startswith(f"configs/a.yaml: {place}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (
            "latency",
            "look: 3",
            "'look'. Did you mean 'looks'? Known: batch_size, budget_s, looks, rounds, runtimes, threads, wait_s",
        ),
        ("regression", "speed_up: 0.1", "'speed_up'. Did you mean 'speedup'? Known: accuracy_pp, score, speedup"),
    ],
)
def test_an_unknown_key_is_shown_with_the_nearest_one(loaded, part, values, message):
    with pytest.raises(ConfigError) as error:
        loaded(part, values)
    assert str(error.value) == f"configs/a.yaml: workload.{part}: unknown key {message}"
