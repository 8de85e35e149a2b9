"""`quantbench`: the verbs of the suite from the shell."""

from quantbench.cli.app import main as main
