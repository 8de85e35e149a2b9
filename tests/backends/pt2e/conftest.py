"""Programs that are compiled once for all tests: that takes seconds each, and none where they are cached."""

import pytest
from artifacts import saved
from exported_programs import PICTURES, SPEC, calibration, recipe
from foreign_residual import residual, settled, waves


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The residual network as somebody else wrote it."""
    path = tmp_path_factory.mktemp("pt2e") / "reference.pt"
    return saved(path, settled(residual(), (3, 8, 8)), backend="torch", model="foreign_residual:residual")


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """The 1-D network."""
    path = tmp_path_factory.mktemp("pt2e") / "reference.pt"
    return saved(path, settled(waves(), (1, 64)), backend="torch", model="foreign_residual:waves")


@pytest.fixture(scope="session")
def int8(reference, tmp_path_factory, kept_compilations):
    """The same in int8."""
    folder = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTBENCH_CACHE", str(kept_compilations))
        return SPEC.create().quantize(reference, recipe("static_int8_per_channel"), calibration(PICTURES), folder)


@pytest.fixture
def uncompiled(monkeypatch):
    """Lets programs be written that are not compiled, and gives them as graphs."""
    from quantbench.backends.pt2e import backend

    graphs = []

    def look(graph, *_, **__):
        graphs.append(graph)

    monkeypatch.setattr(backend.Pt2eBackend, "load", lambda *_: None)
    monkeypatch.setattr(backend, "check_same", look)
    return graphs
