"""Imports what quantizing with NNCF imports at its first call, so that many processes begin with it."""

import warnings
from contextlib import suppress
from importlib import import_module

from quantbench.backends.openvino_runtime.library import nncf

# A library that is missing is told by whoever needs it.
with suppress(Exception), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nncf()
    import_module("torch._dynamo")
