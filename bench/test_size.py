"""The saved file is small enough."""

from quantbench.claims.test_size import *
