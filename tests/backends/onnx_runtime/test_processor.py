"""Whether sums of two products saturate, from the processor's own words."""

import sys
from types import SimpleNamespace

import pytest

from quantbench.backends.onnx_runtime import processor


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of that kind, whose processor says so."""

    def make(kind, text=None, told=None):
        monkeypatch.setattr(processor.platform, "machine", lambda: kind)
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setitem(sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=lambda: told or {}))
        if text is not None:
            (tmp_path / "cpuinfo").write_text(text)
        return processor.saturates.__wrapped__()

    return make


@pytest.mark.parametrize(
    ("flags", "saturates"), [("avx2 avx512f", True), ("avx2 avx512_vnni", False), ("avx_vnni", False)]
)
def test_products_saturate_on_x86_without_vnni(machine, flags, saturates):
    assert machine("x86_64", f"processor : 0\nflags\t\t: fpu {flags}\n") is saturates


def test_products_never_saturate_on_arm(machine):
    assert machine("aarch64", "Features : fp asimd\n") is False


def test_a_system_without_that_file_is_asked_otherwise(machine):
    assert machine("AMD64", told={"flags": ["avx512vnni"]}) is False
    assert machine("AMD64", told={"flags": ["avx2"]}) is True


def test_a_processor_that_says_nothing_is_taken_for_one_that_saturates(machine):
    assert machine("AMD64") is True
