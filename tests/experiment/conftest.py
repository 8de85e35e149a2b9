"""Tests of how artifacts are made, kept and measured."""

import pytest


@pytest.fixture(autouse=True)
def _making(nothing_made):
    """They begin with a cache without artifacts."""
