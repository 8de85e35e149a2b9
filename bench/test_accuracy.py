"""The quantized model is still accurate enough, and the baseline is what its card says."""

from quantbench.claims.test_accuracy import *
