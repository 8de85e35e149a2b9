"""The verdict against what was accepted: improved, same, regressed or open, by predictions that really flipped."""

import re

import pytest
from accepting import accept, read_result, result_path
from flipped import flip, rewrite

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.data.image_folder import ImageFolderSource
from quantbench.errors import ConfigError, GoldenError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.accuracy_vs_accepted import change_of_behaviour
from quantbench.quantities.judging import explain, judge
from quantbench.stats.discordant import p_value_of_change
from quantbench.stats.multiplicity import Family
from quantbench.stats.paired import PairedOutcomes, samples_to_decide, tango_interval
from quantbench.stats.power import least_drop
from quantbench.stats.verdicts import Outcome, Verdict

ID = "tiny/ptq_static_int8_per_channel"
CLAIM = "accuracy_vs_accepted"
N = 150


@pytest.fixture
def run(project):
    """A run of the experiment in a session of its own, as a new process would have it."""

    def make(family=1):
        runs = Runs(Settings(project.golden, family=Family(family)))
        return runs.run(select(load_experiments(project.configs), ID)[0])

    return make


@pytest.fixture
def since(project, run):
    """The verdict of a run after predictions were accepted, with the margin in pp and so many of them flipped since."""

    def judged(margin, lost=0, gained=0, family=1):
        with_margin(project, margin)
        accept(run(), "first", predictions=True, speed=False)
        flip(project.golden, ID, lost, gained)
        return judge(run(family), CLAIM)

    return judged


def with_margin(project, margin):
    project.edit("rounds: 12}\n", f"rounds: 12}}\n  regression: {{accuracy_pp: {margin}}}\n")


def interval_pp(lost, gained, level=0.95):
    interval = tango_interval(PairedOutcomes(N, lost, gained), level)
    return 100 * interval.low, 100 * interval.high


@pytest.mark.parametrize(
    ("margin", "lost", "gained", "change", "outcome"),
    [
        (3.0, 0, 0, "SAME", "PASS"),
        (3.0, 27, 0, "REGRESSED", "FAIL"),
        (3.0, 27, 2, "REGRESSED", "FAIL"),
        (3.0, 0, 27, "IMPROVED", "PASS"),
        (3.0, 0, 2, "SAME", "PASS"),
        (3.0, 2, 0, "INCONCLUSIVE", "INCONCLUSIVE"),
        (30.0, 27, 0, "SAME", "PASS"),
        (0.5, 1, 1, "INCONCLUSIVE", "INCONCLUSIVE"),
    ],
)
def test_flipped_predictions_are_judged_by_their_interval_against_the_margin_of_the_configuration(
    since, margin, lost, gained, change, outcome
):
    verdict = since(margin, lost, gained)
    assert (verdict.change, verdict.outcome, verdict.bound, verdict.n) == (change, outcome, margin, N)
    low, high = interval_pp(lost, gained)
    assert verdict.estimate == pytest.approx(100 * (lost - gained) / N)
    assert (verdict.interval.low, verdict.interval.high) == pytest.approx((low, high))


def test_the_message_counts_flips_each_way_with_interval_and_exact_test_and_how_to_accept(since, run):
    title, measured, required, further, accept_line = explain(run().experiment, since(3.0, 27, 2)).splitlines()
    (low, high), p = interval_pp(27, 2), p_value_of_change(PairedOutcomes(N, 27, 2))
    assert title == f"{ID}: {CLAIM}: REGRESSED"
    assert measured.startswith(f"  measured:     16.67 pp lost [{low:.2f}, {high:.2f}] since 20")
    least = f"a drop of {100 * least_drop(PairedOutcomes(N, 27, 2), 0.95):.2f} pp would be detected (power 80 %)"
    assert measured.endswith(f" %, n=150: 27 lost, 2 gained, exact test p = {p:.2g}); {least}")
    assert required == "  required:     at most 3 pp below what was accepted"
    assert further == f"  look further: quantbench run {ID} --json record.json"
    assert accept_line == f'  accept:       pytest bench --experiment {ID} --update-golden --reason "…"'


def test_the_same_predictions_from_the_same_inputs_are_the_same_however_few_the_samples(since):
    assert since(0.5, 0, 0).change == "SAME"
    assert interval_pp(0, 0)[1] > 0.5, "the interval alone leaves it open"


def test_the_same_predictions_by_other_versions_are_left_to_the_interval(since, project, run):
    since(0.5, 0, 0)
    rewrite(project.golden, ID, versions={"torch": "1.0"})
    assert judge(run(), CLAIM).change == "INCONCLUSIVE"


def test_an_open_verdict_says_how_many_samples_would_decide(since):
    needed = samples_to_decide(PairedOutcomes(N, 2, 0), 0.03, 0.95)
    assert needed > N
    assert since(3.0, 2, 0).measured.endswith(f"; about {needed:,} samples changing at these rates would decide")


def test_a_loss_equal_to_the_margin_is_told_to_stay_open(since):
    measured = since(2.0, 3, 0).measured
    assert measured.endswith("; no number of samples changing at these rates would decide")


def test_a_regression_that_only_one_gate_alone_would_see_is_open_among_many(since):
    lost, family = 12, 40
    level = Family(family).level(0.95)
    own, strict = interval_pp(lost, 0)[0], interval_pp(lost, 0, level)[0]
    margin = round((own + strict) / 2, 2)
    assert strict < margin < own
    verdict = since(margin, lost, 0, family)
    assert verdict.change == "INCONCLUSIVE"
    needed = samples_to_decide(PairedOutcomes(N, lost, 0), margin / 100, level)
    assert needed > N, "its own interval is decided already"
    assert verdict.measured.endswith(f"; about {needed:,} samples changing at these rates would decide")


def test_the_same_regression_fails_where_it_is_the_only_gate(since):
    margin = round((interval_pp(12, 0)[0] + interval_pp(12, 0, Family(40).level(0.95))[0]) / 2, 2)
    assert since(margin, 12, 0, family=1).change == "REGRESSED"


def test_no_accepted_result_fails_with_the_command_that_accepts_one(run):
    verdict = judge(run(), CLAIM)
    lines = explain(run().experiment, verdict).splitlines()
    assert lines[:2] == [f"{ID}: {CLAIM}: FAIL", "  measured:     no result of this experiment was ever accepted"]
    assert lines[-1] == f'  accept:       pytest bench --experiment {ID} --update-golden --reason "…"'
    assert verdict.change is None


def test_a_damaged_result_is_an_error_and_no_verdict(project, run):
    accept(run(), "first", predictions=True, speed=False)
    rewrite(project.golden, ID, n=N + 1)
    with pytest.raises(GoldenError, match=r"ptq_static_int8_per_channel\.json: answers: "):
        judge(run(), CLAIM)


@pytest.mark.parametrize("margin", ["-0.1", "101", "none", ".nan"])
def test_a_margin_that_is_none_is_refused_with_its_key(project, margin):
    with_margin(project, margin)
    with pytest.raises(ConfigError, match=r"tiny\.yaml: workload\.regression\.accuracy_pp: Input should be"):
        load_experiments(project.configs)


@pytest.fixture
def other_samples(project, run):
    """The accepted result is of another test split; gives the verdict."""

    def judged(**parts):
        with_margin(project, 100)
        accept(run(), "first", predictions=True, speed=False)
        rewrite(project.golden, ID, inputs={"test": "f" * 64}, **parts)
        verdict = judge(run(), CLAIM)
        assert change_of_behaviour(run()) is None, "nothing can be said of other samples"
        return verdict

    return judged


def test_a_result_of_another_test_split_fails_and_names_both(other_samples, run):
    verdict = other_samples()
    here = run().opened.splits.test.sha256[:12]
    assert verdict.outcome == "FAIL"
    assert verdict.measured == (
        f"the accepted result is of other test samples (n=150, sha256 ffffffffffff…) than this run's (n=150, sha256 "
        f"{here}…), so that nothing can be compared; get the data it was accepted with, or accept again"
    )


def test_a_result_of_fewer_samples_fails_whatever_its_hash_says(project, run):
    with_margin(project, 100)
    accept(run(), "first", predictions=True, speed=False)
    result = read_result(project.golden, ID)
    rewrite(project.golden, ID, n=8, correct="/w==", answers=None, metrics={"accuracy": 1.0})
    assert result.n == N
    verdict = judge(run(), CLAIM)
    assert (verdict.outcome, verdict.n) == ("FAIL", 0)
    assert "of other test samples (n=8, " in verdict.measured


@pytest.mark.parametrize("platform", [{"machine": {"architecture": "sparc64"}}, {"versions": {"system": "Plan9"}}])
def test_data_that_another_platform_makes_differently_is_inconclusive(other_samples, monkeypatch, platform):
    monkeypatch.setattr(ImageFolderSource, "platform_dependent", True)
    verdict = other_samples(**platform)
    assert (verdict.outcome, verdict.change) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert "each platform makes this data a little differently, and it was accepted on " in verdict.measured
    assert re.search("sparc64$|Plan9 ", verdict.measured)


def test_generated_data_that_differs_on_the_same_platform_fails(other_samples, monkeypatch):
    monkeypatch.setattr(ImageFolderSource, "platform_dependent", True)
    assert other_samples().outcome == "FAIL"


def test_data_that_people_bring_fails_on_every_platform(other_samples):
    assert other_samples(machine={"architecture": "sparc64"}).outcome == "FAIL"


def test_any_flip_where_nothing_else_changed_is_a_change_of_behaviour_even_if_it_passes(project, since, run):
    verdict = since(5.0, 1, 1)
    assert verdict.change == "SAME"
    assert "also changed" not in verdict.measured
    date = read_result(project.golden, ID).history[-1].date
    assert change_of_behaviour(run()) == (
        f"{ID}: change of behaviour: 2 of 150 predictions flipped since {date}, on the same class of machine, with the "
        "same versions, weights, data and configuration: the code computes something else"
    )


def test_without_a_flip_there_is_no_change_of_behaviour(since, run):
    since(5.0)
    assert change_of_behaviour(run()) is None


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"machine": {"isa": ["avx2"]}}, r"machine \(\S+ avx2, engine x86, .* → .*thread\(s\)\)"),
        ({"machine": {"threads": 7}}, r"machine \(.*, 7 thread\(s\) → .*\)"),
        ({"machine": {"engine": "qnnpack"}}, r"machine \(.* engine qnnpack, .* → .*\)"),
        ({"versions": {"torch": "1.0"}}, r"torch \(1\.0 → \S+\)"),
        ({"versions": {"quantbench-suite": "0.0"}}, r"quantbench-suite \(0\.0 → \S+\)"),
        ({"inputs": {"weights": "0"}}, "weights"),
        ({"inputs": {"config": "0"}}, "config"),
        ({"inputs": {"calibration": "0", "baseline": "0"}}, "baseline, calibration"),
    ],
)
def test_flips_beside_something_that_changed_are_explained_by_it(project, since, run, parts, told):
    since(5.0, 1, 1)
    rewrite(project.golden, ID, **parts)
    assert change_of_behaviour(run()) is None
    measured = judge(run(), CLAIM).measured
    assert re.search(rf"\); also changed: {told}$", measured), measured


def test_a_model_that_changes_by_itself_is_not_told_to_have_changed(since, run):
    since(5.0, 1, 1)
    again = run()
    again.verdicts["determinism"] = Verdict("determinism", Outcome.FAIL, None, None, None, 1, "other bits", "the same")
    assert change_of_behaviour(again) is None
    again.verdicts["determinism"] = Verdict("determinism", Outcome.PASS, None, None, None, 1, "same", "the same")
    assert change_of_behaviour(again) is not None


def test_other_weights_really_change_what_is_told(project, since, run):
    project.edit("calibration_n: 32", "calibration_n: 31")
    since(3.0, 27, 0)
    project.edit("calibration_n: 31", "calibration_n: 16")
    assert judge(run(), CLAIM).measured.endswith("; also changed: config")
    assert result_path(project.golden, ID).is_file()
