"""Through another backend the experiment is as accurate as its twin, on the same samples."""

from quantbench.claims.test_parity import *
