"""A missing optional library is one line: who needs it, and what installs it; verdicts do not depend on a picture."""

import sys
import tomllib
from pathlib import Path

import pytest

from quantbench.data.audio_folder import audio_folder
from quantbench.data.cache import open_cached
from quantbench.data.speech_commands import speech_commands
from quantbench.errors import ConfigError, DataMissingError, ExtraMissingError, ForeignError
from quantbench.extras import EXTRAS, needing, require
from quantbench.foreign import calling
from quantbench.registry import BACKENDS, MODELS, Factories
from quantbench.report.figures import drawn

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def without(monkeypatch):
    """Blocks the import of a library."""
    return lambda library: monkeypatch.setitem(sys.modules, library, None)


def missing(needed_by, library):
    """What is told."""
    return (
        f"{needed_by}: needs {library}, which cannot be imported (import of {library} halted; None in sys.modules); "
        f"pip install 'quantbench-suite[{EXTRAS[library]}]'"
    )


def test_libraries_that_are_there_are_no_error():
    assert require("a test", *EXTRAS) is None


@pytest.mark.parametrize("library", EXTRAS)
def test_a_missing_library_is_one_line_with_the_extra_that_brings_it(without, library):
    without(library)
    with pytest.raises(ExtraMissingError) as error:
        require("a test", library)
    assert str(error.value) == missing("a test", library)


def test_a_library_whose_own_system_library_is_missing_is_told_with_the_cause(monkeypatch):
    def broken(_):
        raise OSError("sndfile library not found\nmore")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(
        ExtraMissingError, match=r"^a test: needs soundfile, .* \(sndfile library not found\); pip install"
    ):
        require("a test", "soundfile")


def test_a_module_of_ours_that_imports_a_missing_library_names_who_needs_it(without, monkeypatch):
    without("torch")
    monkeypatch.delitem(sys.modules, "quantbench.models.m5", raising=False)
    with pytest.raises(ExtraMissingError) as error:
        MODELS.factory("m5", "a.yaml: workload.model")
    assert str(error.value) == missing("a.yaml: workload.model: model 'm5'", "torch")


def test_a_module_of_the_user_s_that_imports_a_missing_library_does_too(without, tmp_path, monkeypatch):
    without("torchaudio")
    (tmp_path / "listening.py").write_text("import torchaudio\ndef net(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExtraMissingError) as error:
        MODELS.factory("listening:net", "a.yaml")
    assert str(error.value) == missing("a.yaml: 'listening:net'", "torchaudio")


def test_a_call_that_imports_a_missing_library_says_so_and_stays_an_error_of_that_call(without):
    without("torch")
    with pytest.raises(ForeignError) as error, calling("quantizing"):
        import torch  # noqa: F401
    assert str(error.value) == missing("quantizing", "torch")
    assert isinstance(error.value, ExtraMissingError)


@pytest.mark.parametrize("statement", ["import torch.no_such_part", "from torch import no_such_name", "import no_such"])
def test_what_no_extra_brings_is_no_missing_extra(statement):
    with pytest.raises(ImportError), needing("a test"):
        exec(statement)  # noqa: S102 — of this test's own
    with (
        pytest.raises(ForeignError, match=r"^own code raised (ModuleNotFound|Import)Error: ") as error,
        calling("own code"),
    ):
        exec(statement)  # noqa: S102 — of this test's own
    assert not isinstance(error.value, ExtraMissingError)


def test_a_module_of_ours_that_is_broken_otherwise_is_not_hidden():
    shelf = Factories("parser", "quantbench.parsers", {"broken": "quantbench.no_such_module:parser"})
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        shelf.factory("broken", "here")
    with pytest.raises(ConfigError, match="cannot import 'no_such_module:parser'"):
        BACKENDS.factory("no_such_module:parser", "here")


def test_every_library_stands_in_the_extra_that_is_named_and_in_no_dependency():
    optional = PROJECT["optional-dependencies"]
    for library, extra in EXTRAS.items():
        # A distribution has dashes where its module has underscores.
        assert library.replace("_", "-") in [requirement.partition(">")[0] for requirement in optional[extra]]
        assert library not in PROJECT["dependencies"]


def test_the_set_up_of_the_readme_installs_all_extras():
    optional = PROJECT["optional-dependencies"]
    assert optional["all"] == [
        "quantbench-suite[audio,dask,executorch,litert,onnxruntime,openvino,plots,speech,text,torch,torchao]"
    ]
    assert "quantbench-suite[all,docs]" in optional["dev"]
    assert "quantbench-suite[audio]" in optional["speech"]


@pytest.fixture
def sounds(tmp_path):
    """A folder that looks like one of sounds; nothing of it is read."""
    for place in ("train/low/a.wav", "train/high/b.wav", "test/low/c.wav", "test/high/d.wav"):
        path = tmp_path / "sounds" / place
        path.parent.mkdir(parents=True)
        path.touch()
    return tmp_path / "sounds"


def test_a_folder_of_sounds_names_what_decodes_it(without, sounds):
    without("soundfile")
    with pytest.raises(ExtraMissingError) as error:
        open_cached("audio_folder", audio_folder(str(sounds)))
    assert str(error.value) == missing("audio_folder", "soundfile")


def test_speech_commands_names_what_lists_it_once_the_data_is_there(without, tmp_path):
    without("torchaudio")
    with pytest.raises(DataMissingError, match="no such folder"):
        open_cached("speech_commands", speech_commands(("yes", "no")))
    (tmp_path / "data" / "SpeechCommands" / "speech_commands_v0.02").mkdir(parents=True)
    with pytest.raises(ExtraMissingError) as error:
        open_cached("speech_commands", speech_commands(("yes", "no")))
    assert str(error.value) == missing("speech_commands", "torchaudio")


COMMANDS = {
    "report": ["records.json"],
    "curves": ["tiny"],
    "ablate": ["three"],
    "search": ["chain/low_bit_4"],
    "sensitivity": ["chain/low_bit_4"],
}


@pytest.mark.parametrize(("command", "arguments"), COMMANDS.items())
def test_a_command_that_draws_says_so_before_it_does_anything(quantbench, without, tmp_path, command, arguments):
    without("matplotlib")
    status, out, err = quantbench(command, *arguments)
    assert (status, out) == (2, "")
    assert err == f"quantbench: {missing(f'quantbench {command}', 'matplotlib')}\n"
    assert not (tmp_path / "out").exists()


def test_a_plot_without_matplotlib_is_one_line(without, tmp_path):
    without("matplotlib")
    with pytest.raises(ExtraMissingError) as error, drawn([tmp_path / "a.png"], (1, 1)):
        pytest.fail("nothing can be drawn")
    assert str(error.value) == missing("plots", "matplotlib")
