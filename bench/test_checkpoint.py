"""The saved file is the one that was accepted, and loads elsewhere to the same bits."""

from quantbench.claims.test_checkpoint import *
