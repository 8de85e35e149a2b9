"""The int8 model is really faster, beside its fp32 model in the same run."""

from quantbench.claims.test_latency import *
