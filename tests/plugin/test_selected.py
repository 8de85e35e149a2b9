"""Options that leave tests out are told from those that do not, however they are typed."""

from types import SimpleNamespace

import pytest

from quantbench.plugin.selected import selecting, untimed_by


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("bench", []),
        ("bench -q -n 2 --json out.json --strict-verdicts --experiment my/*", []),
        ("-k ptq", ["-k ptq"]),
        ("-kptq", ["-k ptq"]),
        ("-qk ptq", ["-k ptq"]),
        ("-vvxk ptq", ["-k ptq", "-x"]),
        ("-m latency -k qat", ["-k qat", "-m latency"]),
        ("--deselect=bench/a.py --deselect bench/b.py", ["--deselect bench/a.py", "--deselect bench/b.py"]),
        ("--lf --benchmark-only", ["--lf", "--benchmark-only"]),
        ("-p no:randomly --ignore bench/a.py", ["--ignore bench/a.py"]),
        ("--splits 4 --group 2", ["--group 2"]),
    ],
)
def test_selecting_options_are_found_with_their_values(typed, found):
    assert selecting(typed.split()) == found


def test_an_empty_expression_selects_nothing():
    assert selecting(["-k", "", "-m", ""]) == []


@pytest.fixture
def configured(monkeypatch):
    """`configured(typed, addopts, environment, **options)`: options by where they stand, and as they come out."""

    def make(typed="", addopts="", environment="", **options):
        monkeypatch.setenv("PYTEST_ADDOPTS", environment)
        return SimpleNamespace(
            invocation_params=SimpleNamespace(args=typed.split()),
            getini=lambda _: addopts.split(),
            getoption=lambda name, default: options.get(name, default),
        )

    return make


DISABLED, PARALLEL = {"benchmark_disable": True}, {"dist": "load"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ([], [])),
        ({"typed": "bench --benchmark-disable", **DISABLED}, (["--benchmark-disable"], [])),
        ({"addopts": "--benchmark-disable", **DISABLED}, ([], ["addopts: --benchmark-disable"])),
        ({"environment": "--benchmark-disable", **DISABLED}, ([], ["addopts: --benchmark-disable"])),
        ({**DISABLED}, ([], ["a conftest.py or plugin: --benchmark-disable"])),
        (
            {"addopts": "--benchmark-disable", "typed": "--benchmark-enable", **DISABLED, "benchmark_enable": True},
            ([], []),
        ),
        ({"typed": "-vn2", **PARALLEL}, (["-n 2"], [])),
        ({"addopts": "-q -n auto", **PARALLEL}, ([], ["addopts: -n auto"])),
        ({"addopts": "-n auto", "typed": "-n0"}, ([], [])),
        ({"addopts": "-n auto", "typed": "-n 2", **PARALLEL}, (["-n 2"], [])),
        (
            {"addopts": "--dist load --tx 2*popen", **PARALLEL},
            ([], ["addopts: --dist load", "addopts: --tx '2*popen'"]),
        ),
    ],
)
def test_options_by_which_nothing_is_timed_are_told_by_where_they_stand(configured, given, found):
    assert untimed_by(configured(**given)) == found
