"""No class is lost, however rare it is."""

from quantbench.claims.test_classes import *
