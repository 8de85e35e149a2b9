"""An exported accuracy of samples in groups: its interval is that of the groups, which counts alone do not tell."""

from quantbench.records.export_card import ExportedAccuracy
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval


def exported(clusters, interval):
    own = wilson_interval(88, 100)
    return ExportedAccuracy(
        n=100, accuracy=0.88, accuracy_interval=(own.low, own.high), reference_accuracy=0.9, lost=3, gained=1,
        drop_pp=2.0, drop_interval_pp=interval, level=0.95, clusters=clusters,
    )  # fmt: skip


def test_the_interval_of_groups_is_taken_as_it_is_and_of_independent_samples_it_is_tangos():
    tango = tango_interval(PairedOutcomes(100, 3, 1))
    assert exported(None, (100 * tango.low, 100 * tango.high)).impossible() is None
    assert exported(12, (-9.0, 12.0)).impossible() is None
    assert "but lost 3 and gained 1 of n 100 has" in exported(None, (-9.0, 12.0)).impossible()


def test_an_interval_of_groups_holds_its_estimate():
    assert exported(12, (3.0, 12.0)).impossible() == "drop_pp 2.0 outside of its interval [3.0, 12.0]"


def test_a_card_of_independent_samples_says_nothing_of_groups():
    tango = tango_interval(PairedOutcomes(100, 3, 1))
    card = exported(None, (100 * tango.low, 100 * tango.high))
    assert "clusters" not in card.model_dump()
