"""What calls itself int8 really ran as int8."""

from quantbench.claims.test_coverage import *
