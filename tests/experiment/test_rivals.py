"""The fastest fp32 form of a reference, of all runtimes that are installed."""

from dataclasses import dataclass, field

import pytest
from files_made_elsewhere import colours, saved

from quantbench.backends.interface import Artifact, Backend, Predictor, Quantized
from quantbench.config.reading import load_experiments
from quantbench.errors import QuantizationError
from quantbench.experiment import rivals
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.recipes.fp32 import fp32_baseline
from quantbench.registry import BACKENDS

STATIC = 2


@dataclass
class Rival:
    """In the place of a runtime: writes the reference as it is told to, and counts how often."""

    written: int = 0
    error: str = ""
    predictors: list = field(default_factory=list)


@pytest.fixture
def rival(project, monkeypatch):
    """A runtime that is installed, and that the workload may use."""
    told = Rival()

    class Shadow(Predictor):
        def __init__(self, inner):
            self.inner = inner

        def __call__(self, inputs):
            return self.inner(inputs)

    class ShadowBackend(Backend):
        name = "shadow"

        def load(self, artifact, threads):
            return Shadow(self._torch(artifact).backend.create().load(self._torch(artifact), threads))

        def describe(self, artifact):
            raise AssertionError("nobody asks")

        def lowered(self, reference, samples, folder):
            told.written += 1
            if told.error:
                raise QuantizationError(told.error)
            self.reference = reference
            path = folder / "model.shadow"
            path.write_bytes(reference.path.read_bytes())
            artifact = Artifact.of_files(self.spec, [path], fp32_baseline(), reference.model)
            return Quantized(artifact, self.load(artifact, 1))

        def _torch(self, artifact):
            from quantbench.backends.interface import BackendSpec

            spec = BackendSpec("torch", {}, "here")
            return Artifact(spec, artifact.files, artifact.sha256, artifact.recipe, artifact.model)

    monkeypatch.setitem(BACKENDS.table, "shadow", "rivals_of_tests:shadow")
    own = type(BACKENDS).factory
    monkeypatch.setattr(
        type(BACKENDS),
        "factory",
        lambda self, name, where: ShadowBackend if name == "shadow" else own(self, name, where),
    )
    monkeypatch.setitem(rivals.RUNTIMES, "shadow", ("numpy",))
    project.edit("runtimes: [], ", "runtimes: [shadow], ")
    return told


def baseline_of(project):
    experiments = load_experiments(project.configs)
    runs = Runs(Settings(project.golden))
    return runs.run(experiments[STATIC]).baseline


def chosen(monkeypatch, prefix):
    """The form whose name begins so is the fastest."""
    monkeypatch.setattr(
        rivals, "fastest_form", lambda forms, *_: next((n, f) for n, f in forms.items() if n.startswith(prefix))
    )


def test_a_runtime_s_fp32_is_timed_beside_the_model_s_own_forms(project, rival, monkeypatch):
    chosen(monkeypatch, "shadow")
    fastest = baseline_of(project).fastest
    assert (fastest.name, fastest.source.artifact.path.name, fastest.left_out) == ("shadow", "model.shadow", ())
    assert fastest.predictor(baseline_of(project).latency_inputs).keys() == {"output"}


def test_the_reference_is_written_for_a_runtime_once_and_then_read_from_the_cache(project, rival, monkeypatch):
    chosen(monkeypatch, "shadow")
    for _ in range(2):
        assert baseline_of(project).fastest.name == "shadow"
    assert rival.written == 1


def test_a_runtime_that_cannot_run_the_model_is_left_out_and_said(project, rival):
    rival.error = "operator 'fft' is not known"
    baseline = baseline_of(project)
    assert baseline.fastest.source is baseline
    (line,) = baseline.left_out
    assert line == "the fp32 model's form 'shadow' is not timed: operator 'fft' is not known"


def test_without_a_list_all_that_are_installed_are_timed(real_rivals, project, rival, monkeypatch):
    monkeypatch.setattr(rivals, "RUNTIMES", {"shadow": ("numpy",), "absent": ("no_such_library_at_all",)})
    project.edit("runtimes: [shadow], ", "")
    assert rivals._rivals(baseline_of(project)) == ["shadow"]


def test_a_runtime_that_is_not_known_is_refused(project):
    from quantbench.errors import ConfigError

    project.edit("runtimes: [], ", "runtimes: [onnxrt], ")
    with pytest.raises(
        ConfigError, match=r"latency\.runtimes: unknown runtime 'onnxrt'\. Did you mean 'onnxruntime'\?"
    ):
        load_experiments(project.configs)


def test_the_candidate_s_cost_is_held_to_the_reference_in_its_own_format(project, tmp_path):
    file = saved(colours(), project.root / "net.onnx")
    project.config.write_text(
        "workload:\n  reference: {path: ../net.onnx}\n"
        "  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}\n"
        "  latency: {runtimes: []}\n"
        "experiments:\n  e:\n    recipe: {name: ready_made, path: ../net.onnx}\n    gates: {accuracy_drop_pp: 10}\n"
    )
    (experiment,) = load_experiments(project.configs)
    run = Runs(Settings(project.golden)).run(experiment)
    assert run.counterpart is run.baseline, "both are of one runtime"
    assert run.size.fp32_bytes == run.size.quantized_bytes == file.stat().st_size
