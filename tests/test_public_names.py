"""Names that users import from the package itself."""

import subprocess
import sys

import pytest

import quantbench


@pytest.mark.parametrize("name", quantbench.__all__)
def test_a_public_name_is_found_and_described(name):
    assert getattr(quantbench, name).__doc__


def test_every_export_is_public_and_listed():
    assert set(quantbench._EXPORTS) == set(quantbench.__all__)
    assert set(quantbench.__all__) <= set(dir(quantbench))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'quantbench' has no attribute 'Quantizr'"):
        quantbench.Quantizr  # noqa: B018


def test_no_name_is_loaded_before_it_is_used():
    loaded = "import sys, quantbench; print([name for name in sys.modules if name.startswith('quantbench.')])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout.strip() == "[]"
