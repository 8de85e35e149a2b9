"""The experiment is no worse than what was last accepted of it: `golden/results/<workload>/<experiment>.json`."""

from quantbench.claims.test_regression import *
