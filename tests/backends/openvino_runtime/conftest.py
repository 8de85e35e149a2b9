"""OpenVINO as quantbench imports it, before tests import it themselves."""

import pytest

from quantbench.backends.openvino_runtime.library import openvino


@pytest.fixture(autouse=True, scope="session")
def without_telemetry() -> None:
    """Imports it once."""
    openvino()
