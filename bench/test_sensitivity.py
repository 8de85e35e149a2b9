"""Each layer, quantized alone, costs no more accuracy than it may; the end of the run ranks them."""

from quantbench.claims.test_sensitivity import *
