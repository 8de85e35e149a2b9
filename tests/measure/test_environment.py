"""The description of the machine: what decides a figure, and never whose machine it is."""

import getpass
import os
import platform
from importlib.metadata import version

import quantbench
from quantbench.config.instruction_sets import INSTRUCTION_SETS
from quantbench.measure import environment as module
from quantbench.measure.environment import environment
from quantbench.records.base import Environment


def test_the_versions_are_those_of_the_libraries_that_compute():
    versions = environment().versions
    assert versions["torch"] == version("torch")
    assert versions["numpy"] == version("numpy")
    assert environment().python == platform.python_version()


def test_quantbench_s_own_version_is_that_of_the_code_that_runs_and_not_of_its_installation():
    assert environment().versions["quantbench-suite"] == quantbench.__version__


def test_an_absent_library_is_said_to_be_absent(monkeypatch):
    monkeypatch.setattr(module, "COMPUTING_PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(module, "RUNTIMES", ("numpy", "no-such-runtime"))
    assert environment.__wrapped__().versions == {
        "torch": version("torch"), "no-such-package": "not installed", "numpy": version("numpy"),
    }, "a runtime is noted where it is installed"  # fmt: skip


def test_the_processor_and_the_instruction_sets_of_int8_kernels_are_named():
    described = environment()
    assert described.processor
    assert described.architecture == platform.machine()
    assert described.cores == os.cpu_count()
    assert set(described.isa) <= set(INSTRUCTION_SETS)


def test_both_spellings_of_an_instruction_set_give_one_name(monkeypatch):
    info = {"flags": ["avx2", "avx512vnni", "avx512f", "sse"], "brand_raw": "Some Processor"}
    monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: info)
    described = environment.__wrapped__()
    assert described.isa == ("avx2", "avx512f", "avx512_vnni")
    assert described.processor == "Some Processor"


def test_a_processor_that_tells_nothing_is_still_described(monkeypatch):
    monkeypatch.setattr("cpuinfo.get_cpu_info", dict)
    assert environment.__wrapped__().processor
    assert environment.__wrapped__().isa == ()


def test_neither_the_machine_s_name_nor_its_user_is_in_it():
    values = set(environment().model_dump_json().replace('"', " ").replace(",", " ").split())
    assert platform.node() not in values
    assert getpass.getuser() not in values


def test_it_is_found_once_per_process_and_survives_json():
    assert environment() is environment()
    assert Environment.model_validate_json(environment().model_dump_json()) == environment()


def test_without_torch_nothing_is_noted_of_it(monkeypatch):
    monkeypatch.setattr(module, "installed", lambda *_: False)
    described = environment.__wrapped__()
    assert not {"torch", "torchvision", "torchaudio"} & described.versions.keys()
    assert {"numpy", "quantbench-suite"} <= described.versions.keys()
    assert described.accelerator is None
