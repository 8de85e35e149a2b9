"""Each setting of the process that could change another experiment's results, or what is told of them, is put back."""

import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from quantbench.backends.process_settings import kept
from quantbench.backends.torch_settings import _flushes
from quantbench.jobs.surroundings import restored


def _mask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _open_files(n):
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


TORCH = {
    "device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "grad mode": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
    "matmul precision": (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
    "determinism": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")),
    "autocast dtype": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
        lambda: torch.get_autocast_dtype("cpu"),
    ),
    "oneDNN": (lambda: setattr(torch.backends.mkldnn, "enabled", False), lambda: torch.backends.mkldnn.enabled),
    "engine": (
        lambda: setattr(torch.backends.quantized, "engine", "qnnpack"),
        lambda: torch.backends.quantized.engine,
    ),
    "subnormal numbers": (lambda: torch.set_flush_denormal(True), _flushes),
    "hooks of all modules": (
        lambda: register_module_forward_hook(lambda _layer, _inputs, output: output + 1),
        lambda: torch.nn.Identity()(torch.zeros(())).item(),
    ),
}
OF_PROCESS = {
    "random numbers": (lambda: random.seed(1), random.getstate),
    "random numbers of torch": (lambda: torch.manual_seed(1), lambda: torch.get_rng_state().tolist()),
    "numpy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "folder": (lambda: os.chdir("/"), Path.cwd),
    "environment": (lambda: os.environ.update(CI="yes", HOME="x"), lambda: dict(os.environ)),
    "folder of new files": (lambda: setattr(tempfile, "tempdir", "/nowhere"), lambda: tempfile.tempdir),
    "mode of new files": (lambda: os.umask(0o777), _mask),
    "standard output": (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
    "standard error": (lambda: setattr(sys, "stderr", None), lambda: sys.stderr),
    "filters of warnings": (lambda: warnings.simplefilter("error"), lambda: list(warnings.filters)),
    "a context of warnings": (lambda: warnings.catch_warnings().__enter__(), lambda: id(warnings.filters)),
    "shown warnings": (lambda: setattr(warnings, "showwarning", print), lambda: warnings.showwarning),
    "interrupts": (
        lambda: signal.signal(signal.SIGINT, print),
        lambda: signal.getsignal(signal.SIGINT),
    ),
    "depth": (lambda: sys.setrecursionlimit(sys.getrecursionlimit() - 100), sys.getrecursionlimit),
    "open files": (lambda: _open_files(20), lambda: resource.getrlimit(resource.RLIMIT_NOFILE)),
}


@pytest.fixture(autouse=True)
def safe():
    """Puts back what a test that fails would leave."""
    with restored():
        yield


@pytest.mark.parametrize(("around", "name"), [(kept, name) for name in TORCH] + [(restored, name) for name in TORCH])
def test_a_setting_of_torch_is_put_back(around, name):
    change, read = TORCH[name]
    before = read()
    with around():
        change()
        assert read() != before
    assert read() == before


@pytest.mark.parametrize("name", OF_PROCESS)
def test_a_setting_of_the_process_is_put_back(name):
    change, read = OF_PROCESS[name]
    before = read()
    with restored():
        change()
        assert read() != before
    assert read() == before


def test_a_warning_is_raised_no_more_after_it_was_an_error():
    with restored():
        warnings.simplefilter("error")
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_a_limit_that_was_raised_stays():
    depth = sys.getrecursionlimit()
    try:
        with restored():
            sys.setrecursionlimit(depth + 100)
        assert sys.getrecursionlimit() == depth + 100
    finally:
        sys.setrecursionlimit(depth)


def test_nothing_is_written_where_nothing_changed(monkeypatch):
    written = []
    monkeypatch.setattr(torch, "set_default_device", written.append)
    monkeypatch.setattr(signal, "signal", lambda *given: written.append(given))
    monkeypatch.setattr(warnings, "resetwarnings", lambda: written.append("warnings"))
    with restored():
        pass
    assert written == []
