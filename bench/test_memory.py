"""The int8 model needs less memory while it runs."""

from quantbench.claims.test_memory import *
