"""The user's modules that are loaded, and the files that parameters name, are known by their content."""

import importlib.util
import os
import py_compile
import sys
import time
import types
import zipfile
from pathlib import Path

import pytest

from quantbench import provenance
from quantbench.provenance import changed_code, differing_code, loaded_code, loading, named_files
from quantbench.registry import DATA, MODELS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the path, whose modules are gone afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget(tmp_path)


def forget(folder):
    """The state of a new process: nothing below the folder is loaded."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
            provenance._brought.pop(name, None)
    importlib.invalidate_caches()


def load(name):
    with loading(name):
        return importlib.import_module(name)


def own(code, folder):
    return {name for name, (file, _) in code.items() if file.startswith(str(folder))}


def test_modules_that_a_factory_imports_by_way_of_others_are_known(folder):
    (folder / "net.py").write_text("import blocks\n")
    (folder / "blocks.py").write_text("import parts.inner\n")
    (folder / "parts").mkdir()
    (folder / "parts" / "inner.py").write_text("WIDTH = 8\n")
    load("net")
    code = loaded_code()
    assert own(code, folder) == {"net", "blocks", "parts.inner"}, "a namespace package has no code of its own"
    assert changed_code(code) == []
    (folder / "parts" / "inner.py").write_text("WIDTH = 9\n")
    assert changed_code(code) == [], "it is not what this process runs"
    forget(folder)
    assert changed_code(code) == ["parts/inner.py"], "not loaded yet, it is known by its file"
    load("net")
    assert changed_code(code) == ["parts/inner.py"]
    assert differing_code(code, loaded_code()) == ["parts/inner.py"]


def test_a_module_that_is_gone_or_comes_from_another_place_is_changed(folder, tmp_path):
    (folder / "net.py").write_text("import blocks\n")
    (folder / "blocks.py").write_text("")
    load("net")
    code = loaded_code()
    forget(folder)
    (folder / "blocks.py").unlink()
    assert changed_code(code) == ["blocks.py"]
    (folder / "blocks").mkdir()
    (folder / "blocks" / "__init__.py").write_text("WIDTH = 1\n")
    load("net")
    assert changed_code(code) == ["blocks.py"]


def test_a_module_that_a_factory_loads_now_and_did_not_load_then_counts(folder):
    (folder / "net.py").write_text(
        "import importlib, pathlib\n"
        "for file in pathlib.Path(__file__).parent.glob('layer_*.py'):\n    importlib.import_module(file.stem)\n"
    )
    (folder / "other.py").write_text("")
    load("net")
    code = loaded_code()
    load("other")
    assert changed_code(code) == [], "another factory's module has no part in it"
    forget(folder)
    (folder / "layer_1.py").write_text("")
    load("net")
    assert changed_code(code) == ["layer_1.py"]


def test_a_file_that_was_written_while_the_result_was_made_is_not_taken_for_what_ran(folder):
    (folder / "late.py").write_text("")
    began = time.time()
    os.utime(folder / "late.py", (began + 1, began + 1))
    importlib.import_module("late")
    code = loaded_code(began)
    assert code["late"][1] is None
    assert changed_code(code) == ["late.py"]


@pytest.mark.parametrize("kind", ["pyc", "zip", "extension"])
def test_a_module_without_a_source_is_known_by_the_file_it_is_in(folder, kind):
    source = folder / "source" / "blocks.py"
    source.parent.mkdir()

    def make(text):
        source.write_text(text)
        if kind == "pyc":
            py_compile.compile(str(source), str(folder / "blocks.pyc"))
        elif kind == "zip":
            with zipfile.ZipFile(folder / "libs.zip", "w") as archive:
                archive.write(source, "blocks.py")
        else:
            (folder / "blocks.so").write_text(text)

    make("WIDTH = 8\n")
    if kind == "zip":
        sys.path.insert(0, str(folder / "libs.zip"))
    if kind == "extension":
        sys.modules["blocks"] = types.ModuleType("blocks")
        sys.modules["blocks"].__file__ = str(folder / "blocks.so")
    try:
        load("blocks")
        code = loaded_code()
        assert code["blocks"][1]
        assert changed_code(code) == []
        forget(folder)
        make("WIDTH = 16\n")
        assert [Path(file).name for file in changed_code(code)] == [
            {"pyc": "blocks.pyc", "zip": "blocks.py", "extension": "blocks.so"}[kind]
        ]
    finally:
        if kind == "zip":
            sys.path.remove(str(folder / "libs.zip"))


def test_a_factory_in_a_module_without_a_file_is_never_known(monkeypatch):
    made = types.ModuleType("made_by_hand")
    made.net = lambda: 1
    monkeypatch.setitem(sys.modules, "made_by_hand", made)
    assert "made_by_hand" not in loaded_code()
    assert MODELS.factory("made_by_hand:net", "here")() == 1
    assert changed_code(loaded_code()) == ["made_by_hand (a module without a file)"]
    del provenance._brought["made_by_hand"]


def test_a_factory_of_the_interpreter_itself_is_no_code_of_the_user(monkeypatch):
    monkeypatch.setattr(provenance, "_brought", dict(provenance._brought))
    before = loaded_code()
    assert DATA.factory("builtins:print", "here") is print
    assert loaded_code() == before


def test_the_standard_library_this_package_and_the_started_program_are_left_out():
    code = loaded_code()
    assert not {"json", "quantbench", "quantbench.provenance", "__main__", "sys"} & code.keys()
    assert "torch" not in code
    assert not any("site-packages" in file for name, (file, _) in code.items() if name not in provenance._brought)


def test_an_installed_module_that_a_factory_loads_goes_by_size_and_time(folder, monkeypatch):
    installed = folder / "site-packages"
    installed.mkdir()
    monkeypatch.syspath_prepend(installed)
    (installed / "bricks.py").write_text("WIDTH = 8\n")
    os.utime(installed / "bricks.py", (1, 1))
    importlib.import_module("bricks")
    assert "bricks" not in loaded_code(), "no factory loaded it"
    forget(folder)
    (folder / "net.py").write_text("import bricks\n")
    load("net")
    code = loaded_code()
    assert code["bricks"][1] == "10:1000000000"
    os.utime(installed / "bricks.py", (2, 2))
    assert changed_code(code) == ["site-packages/bricks.py"], "installed again, under the same version"


def test_an_installed_module_that_was_of_no_part_is_one_once_a_factory_is_in_it(folder, monkeypatch):
    (folder / "site-packages").mkdir()
    monkeypatch.syspath_prepend(folder / "site-packages")
    (folder / "site-packages" / "mortar.py").write_text("")
    importlib.import_module("mortar")
    for _ in range(2):
        assert "mortar" not in loaded_code()
    load("mortar")
    assert "mortar" in loaded_code()


def test_a_module_in_the_place_of_another_of_its_name_is_looked_at_anew(folder):
    (folder / "site-packages").mkdir()
    (folder / "site-packages" / "plaster.py").write_text("")
    (folder / "plaster.py").write_text("")
    for place in (folder / "site-packages", folder):
        spec = importlib.util.spec_from_file_location("plaster", place / "plaster.py")
        # Where it stood, so that neither number nor order of the names changes.
        sys.modules["plaster"] = importlib.util.module_from_spec(spec)
        assert ("plaster" in loaded_code()) == (place == folder)


def test_a_distribution_installed_as_editable_is_the_users_own(folder, monkeypatch):
    # Its metadata lies among the installed ones, its code does not.
    (folder / "site-packages" / "mine-1.0.dist-info").mkdir(parents=True)
    (folder / "site-packages" / "mine-1.0.dist-info" / "METADATA").write_text("Name: mine\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(folder / "site-packages")
    (folder / "src").mkdir()
    (folder / "src" / "mine.py").write_text("")
    monkeypatch.syspath_prepend(folder / "src")
    importlib.import_module("mine")
    assert len(loaded_code()["mine"][1]) == 64


def test_what_pytest_collected_counts_only_where_a_module_names_it(folder):
    class AssertionRewritingHook:
        pass

    (folder / "settings_of_tests.py").write_text("")
    importlib.import_module("settings_of_tests").__spec__.loader = AssertionRewritingHook()
    (folder / "net.py").write_text("")
    load("net")
    assert "settings_of_tests" not in loaded_code()
    forget(folder)
    importlib.import_module("settings_of_tests").__spec__.loader = AssertionRewritingHook()
    (folder / "net.py").write_text("from settings_of_tests import *\n")
    load("net")
    assert "settings_of_tests" in loaded_code()
    assert __name__ not in loaded_code()


def test_files_that_parameters_name_are_known_by_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHERE", str(tmp_path / "configs"))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "words.txt").write_text("yes")
    (tmp_path / "scales.npy").write_bytes(b"1")
    params = {
        "a": ["words.txt", 3],
        "b": {"c": Path("scales.npy")},
        "d": "$WHERE/words.txt",
        "e": "relu",
        "f": "x" * 9999,
    }

    def known():
        return named_files(params, Path("configs"))

    first = known()
    assert sorted(Path(name).name for name in first) == ["scales.npy", "words.txt"]
    facts = (tmp_path / "scales.npy").stat()
    (tmp_path / "scales.npy").write_bytes(b"2")
    os.utime(tmp_path / "scales.npy", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert known() != first, "of the same name, size and time"
    (tmp_path / "scales.npy").write_bytes(b"1")
    assert known() == first


def test_a_folder_that_a_parameter_names_is_known_by_its_listing(tmp_path):
    (tmp_path / "parts" / ".git").mkdir(parents=True)
    (tmp_path / "parts" / "a.txt").write_text("1")

    def known():
        return named_files({"folder": "parts"}, tmp_path)

    first = known()
    (tmp_path / "parts" / ".git" / "index").write_text("1")
    assert known() == first
    (tmp_path / "parts" / "b.txt").write_text("1")
    assert known() != first
    assert named_files({"folder": "parts"}, tmp_path, folders=False) == {}
    assert named_files({"text": ["\0", "~nobody_at_all/a", "", 3, None]}, tmp_path) == {}
