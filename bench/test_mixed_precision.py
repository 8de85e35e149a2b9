"""The search for mixed precision decides as it was accepted, and what it finds is still accurate enough."""

from quantbench.claims.test_mixed_precision import *
