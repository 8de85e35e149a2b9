"""A bound on the speed-up may be one for each instruction set: a machine is held to the highest of its own."""

import pytest
from made_timings import timings

from quantbench.config.reading import load_experiments
from quantbench.config.schema import Gates
from quantbench.config.selection import select
from quantbench.errors import ConfigError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.environment import environment
from quantbench.quantities.judging import judge
from quantbench.quantities.speed import questions_of
from quantbench.stats.verdicts import Outcome

STATIC = "tiny/ptq_static_int8_per_channel"
BY_ISA = {"default": 1.3, "avx512_vnni": 2.0, "avx_vnni": 1.9}


@pytest.mark.parametrize(
    ("isa", "bound"),
    [
        ((), 1.3),
        (("avx2", "avx512f"), 1.3),
        (("avx2", "avx_vnni"), 1.9),
        (("avx2", "avx512f", "avx512_vnni", "avx_vnni"), 2.0),
    ],
)
def test_a_machine_is_held_to_the_highest_bound_of_its_instruction_sets(isa, bound):
    assert Gates(speedup=BY_ISA).bound("speedup", isa) == bound


def test_an_instruction_set_may_lower_the_bound():
    assert Gates(speedup={"default": 2.0, "asimd": 1.1}).bound("speedup", ("asimd",)) == 1.1


def test_one_number_holds_on_every_machine():
    gates = Gates(speedup=1.5, size_ratio=3.0)
    assert [gates.bound("speedup", isa) for isa in ((), ("avx512_vnni",))] == [1.5, 1.5]
    assert Gates(speedup=None).bound("speedup", ()) is None
    assert (gates.bound("size_ratio", ()), gates.bound("memory_ratio", ())) == (3.0, None)


@pytest.mark.parametrize(
    ("speedup", "words"),
    [
        ("{avx512_vnni: 2.0}", "a bound for each instruction set needs one for all others: add 'default'"),
        (
            "{default: 1.3, avx512vnni: 2.0}",
            "unknown instruction set 'avx512vnni'. Did you mean 'avx512_vnni'? Known: default, avx2",
        ),
        ("{default: 0}", "speedup.default: Input should be greater than 0 (given: 0)"),
        ("fast", "speedup.default: Input should be a valid number, unable to parse string as a number (given: 'fast')"),
    ],
)
def test_a_mistake_in_bounds_by_instruction_set_is_named(project, speedup, words):
    project.edit("speedup: 0.01", f"speedup: {speedup}")
    with pytest.raises(ConfigError) as refused:
        load_experiments(project.configs)
    assert "configs/tiny.yaml: experiments.ptq_static_int8_per_channel.gates.speedup" in str(refused.value)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("own", "others", "outcome"), [(100.0, 0.01, Outcome.FAIL), (0.01, 100.0, Outcome.PASS)], ids=["FAIL", "PASS"]
)
def test_the_verdict_is_by_the_bound_of_this_machine(project, machine, own, others, outcome):
    project.edit("speedup: 0.01", f"speedup: {{default: {others}, {environment().isa[0]}: {own}}}")
    machine.here, machine.fresh = [timings(2.0)], timings(2.0)
    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    assert questions_of(run).bound == own
    run.time_forwards(questions_of(run))
    verdict = judge(run, "speedup")
    assert (verdict.outcome, verdict.bound) == (outcome, own)


def test_a_gate_that_is_not_set_cannot_be_judged(project):
    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    with pytest.raises(ConfigError, match=r"ptq_static_int8_per_channel\.gates: 'memory_ratio' is not set"):
        judge(run, "memory_ratio")
