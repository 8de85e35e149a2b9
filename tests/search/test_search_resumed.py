"""A search that goes on after a kill: the same result, and nothing that was written down is computed again."""

import json
from functools import partial

import pytest
from naive_search import naive_search
from tiny_switchable import Residual, built, labelled_split

from quantbench.progress import Progress
from quantbench.search.search import Problem, search, sensitivities


class KilledError(Exception):
    """Stands for a kill between two entries."""


class Lines:
    """A journal of lines of JSON that refuses to go on after a number of them."""

    def __init__(self, lines=(), most=10**9):
        self.lines, self.most = list(lines), most

    def entries(self):
        return [json.loads(line) for line in self.lines]

    def append(self, entry):
        if len(self.lines) == self.most:
            raise KilledError
        self.lines.append(json.dumps(entry, allow_nan=False))


@pytest.fixture(scope="module")
def problem():
    model = built(Residual)
    return Problem(model, labelled_split(model, 800), 3, 8)


def result(found):
    return found.bits, found.correct, found.sensitivities, found.decisions


@pytest.mark.parametrize("mode", ["exact", "adaptive"])
def test_killed_after_any_entry_it_ends_as_if_it_had_not_been(problem, mode):
    journal = Lines()
    whole = search(problem, 6.0, mode, journal=journal)
    total = len(journal.lines)
    assert total >= 11
    for most in range(0, total, 3):
        cut = Lines(most=most)
        with pytest.raises(KilledError):
            search(problem, 6.0, mode, journal=cut)
        cut.most = total
        again = search(problem, 6.0, mode, journal=cut)
        assert result(again) == result(whole)
        assert cut.lines[:most] == Lines(cut.lines).lines[:most]
        assert len(cut.lines) == total


@pytest.mark.parametrize("mode", ["exact", "adaptive"])
def test_a_finished_search_costs_nothing_to_ask_for_again(problem, mode):
    journal = Lines()
    whole = search(problem, 6.0, mode, journal=journal)
    again = search(problem, 6.0, mode, journal=Lines(journal.lines))
    assert result(again) == result(whole)
    # All runs together: the adaptive search repeats its pass with all layers high.
    assert again.macs_spent == whole.macs_spent
    assert again.seconds == pytest.approx(whole.seconds)


def test_work_of_all_sittings_is_counted(problem):
    journal = Lines()
    whole = search(problem, 6.0, journal=journal)
    cut = Lines(journal.lines[:-2])
    again = search(problem, 6.0, journal=cut)
    # What was kept in memory is computed again.
    assert again.macs_spent > whole.macs_spent
    assert sum(entry["macs"] for entry in cut.entries()) == again.macs_spent


def test_sensitivities_go_on_from_the_part_they_were_killed_in(problem):
    whole, cut = sensitivities(problem), Lines(most=4)
    with pytest.raises(KilledError):
        sensitivities(problem, cut)
    cut.most = 100
    assert sensitivities(problem, cut) == whole


class Shown(Progress):
    def __init__(self):
        super().__init__("")
        self.updates = []

    def update(self, done, total, note=""):
        self.updates.append((done, total, note))


@pytest.mark.parametrize("search", [naive_search, search, partial(search, mode="adaptive")])
def test_progress_counts_passes_of_the_published_way_and_those_saved(problem, search):
    show = Shown()
    found = search(problem, 6.0, show=show)
    done = [each[0] for each in show.updates]
    assert done == sorted(done)
    assert show.updates[-1][:2] == (11, 11)
    saved = 11 - found.macs_spent / (found.macs_naive / 11)
    assert show.updates[-1][2] == f"{saved:.1f} passes saved"
    assert (saved == 0) == (search is naive_search)


def test_progress_says_why_values_cannot_be_reused():
    class Deciding(Residual):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    model, show = built(Deciding), Shown()
    search(Problem(model, labelled_split(model, 400), 3, 8), 6.0, show=show)
    assert " passes saved, few since its forward cannot be traced (TraceError: " in show.updates[0][2]
