"""Test samples as they are stored, of the split that a record was made on and of no other."""

import numpy as np
import pytest

from quantbench.config.reading import load_workload
from quantbench.errors import DataError
from quantbench.experiment.stored_samples import stored_samples
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.gradual import random_order


@pytest.fixture
def workload(project, monkeypatch):
    project.keep_all_within(monkeypatch)
    return load_workload(project.config)[0].workload


def test_samples_are_those_that_were_asked_for(workload, project):
    test = OpenWorkload(workload, project.golden).splits.test
    found = stored_samples(workload, project.golden, [(False, 7), (False, 2)], test.sha256)
    assert found.sample_rate is None
    assert (found.inputs == np.concatenate([test.stored(7, 8), test.stored(2, 3)])).all()


def test_samples_of_other_data_are_refused(workload, project):
    with pytest.raises(DataError, match="not that of the record"):
        stored_samples(workload, project.golden, [(False, 0)], "0" * 64)


def test_samples_that_were_drawn_are_found_again(workload, project):
    test = OpenWorkload(workload, project.golden).splits.test
    found = stored_samples(workload, project.golden, [(True, 0), (False, 0)], test.sha256)
    first = int(random_order(test)[0])
    assert (found.inputs == np.concatenate([test.stored(first, first + 1), test.stored(0, 1)])).all()
