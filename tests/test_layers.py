"""Imports run in one direction only, and quantization libraries stay behind one folder."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import quantbench

PACKAGE = Path(quantbench.__file__).parent
# A folder may import those before it, never one after it; modules at the root stand for themselves. Rooms of one line
# do not know each other.
ROOMS = (
    ("errors",), ("exits",), ("stopping",), ("foreign",), ("extras",), ("temporary",), ("files",), ("streams",),
    ("strict_json",),
    ("provenance",), ("cache",), ("progress",), ("upstream",), ("arrays",), ("registry",),
    ("stats",), ("quant",), ("recipes",), ("config",), ("records",),
    ("data", "models", "tasks"), ("backends",), ("measure",), ("training",), ("golden",), ("experiment",),
    ("search", "inspect", "ablation"), ("quantities",), ("session",), ("report",), ("claims",),
    ("plugin", "cli"), ("__main__",),
)  # fmt: skip
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
REPORT_MAY_IMPORT = {"records", "stats", "errors", "foreign", "extras", "files", "registry", "config", "report"}
REPORT_IS_IMPORTED_BY = {"plugin", "cli", "report"}
WITHOUT_TORCH = {
    "errors",
    "exits",
    "stopping",
    "foreign",
    "extras",
    "files",
    "temporary",
    "streams",
    "strict_json",
    "provenance",
    "cache",
    "progress",
    "upstream",
    "registry",
    "stats",
    "recipes",
    "config",
    "records",
    "report",
}
LIBRARIES = ("torch.ao", "torchao", "onnx", "onnxruntime", "openvino", "nncf", "ai_edge_litert")
MAY_IMPORT_LIBRARIES = ("backends/", "models/quantizable.py")
# Its tables name what comes after it as text, and the types of that for the type checker; it imports none of it.
TABLES = "quantbench.registry"


def imports(source, module=""):
    """Every dotted name that a source text imports, in functions and for type checking too, but for the tables'."""
    found = set()
    for node in ast.walk(without_types(ast.parse(source)) if module == TABLES else ast.parse(source)):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = ".".join(module.split(".")[: -node.level]) if node.level else ""
                base = ".".join(part for part in (base, node.module) if part)
                found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="torch"), attr="ao"):
                found.add("torch.ao")
    return found


def without_types(tree):
    """A module without its `if TYPE_CHECKING`."""
    tree.body = [
        each for each in tree.body if not isinstance(each, ast.If) or ast.unparse(each.test) != "TYPE_CHECKING"
    ]
    return tree


def modules():
    """Dotted name → path below the package, for every module."""
    paths = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {".".join(("quantbench", *path.with_suffix("").parts)).removesuffix(".__init__"): path for path in paths}


MODULES = modules()
IMPORTS = {name: imports((PACKAGE / path).read_text(encoding="utf-8"), name) for name, path in MODULES.items()}
OWN = {name: {each for each in found if each in MODULES} - {"quantbench", name} for name, found in IMPORTS.items()}


def unit(name):
    """The first part below the package: a folder, or a module at the root."""
    return name.split(".")[1]


def is_below(name, prefixes):
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def test_every_module_is_in_a_room():
    homeless = [name for name in MODULES if name != "quantbench" and unit(name) not in FLOOR]
    assert homeless == [], "put them into a folder of ROOMS, which docs/development.md describes"


def test_nothing_imports_what_comes_after_it():
    climbing = [
        f"{name} imports {found}"
        for name, own in OWN.items()
        for found in own
        if name != "quantbench" and unit(found) != unit(name) and FLOOR[unit(found)] >= FLOOR[unit(name)]
    ]
    assert climbing == []


def test_modules_do_not_import_in_circles():
    try:
        list(TopologicalSorter(OWN).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_report_reads_records_and_nothing_that_computes_them():
    wrong = {f"{name} imports {found}" for name, own in OWN.items() if is_below(name, ["quantbench.report"])
             for found in own if unit(found) not in REPORT_MAY_IMPORT}  # fmt: skip
    assert wrong == set()


def test_instruments_know_no_backend_but_the_interface_of_all():
    wrong = {f"{name} imports {found}" for name, own in OWN.items() if is_below(name, ["quantbench.measure"])
             for found in own if unit(found) == "backends"} - {
        f"{name} imports quantbench.backends{part}" for name in OWN for part in ("", ".interface")
    }  # fmt: skip
    assert wrong == set()
    assert "quantbench.backends.interface" in OWN["quantbench.measure.evaluation"], "this test looks at nothing"


def test_only_the_plugin_and_the_command_line_show_reports():
    users = {unit(name) for name, own in OWN.items() for found in own if unit(found) == "report"}
    assert users <= REPORT_IS_IMPORTED_BY


def test_plain_modules_never_name_torch():
    wrong = [f"{name} imports {found}" for name in MODULES if name != "quantbench" and unit(name) in WITHOUT_TORCH
             for found in IMPORTS[name] if is_below(found, ["torch", "torchvision", "torchaudio"])]  # fmt: skip
    assert wrong == []


def test_quantization_libraries_are_imported_in_one_folder_only():
    wrong = [
        f"{MODULES[name]} imports {found}"
        for name, names in IMPORTS.items()
        for found in names
        if is_below(found, LIBRARIES) and not str(MODULES[name].as_posix()).startswith(MAY_IMPORT_LIBRARIES)
    ]
    assert wrong == []
    assert any(is_below(found, LIBRARIES) for found in IMPORTS["quantbench.backends.torch_ao.eager"]), (
        "this test looks at nothing"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch.ao.quantization as ao", "torch.ao.quantization"),
        ("from torch import ao", "torch.ao"),
        ("import torch\nx = torch.ao.quantization.QuantStub", "torch.ao"),
        ("def f():\n    from torchao.quantization import pt2e", "torchao.quantization"),
        ("import importlib\nimportlib.import_module('openvino')", "openvino"),
        ("if TYPE_CHECKING:\n    import onnxruntime", "onnxruntime"),
        ("from ..quantizable import fuse", "quantbench.quantizable.fuse"),
        ("from . import quantizable", "quantbench.models.quantizable"),
    ],
)  # fmt: skip
def test_every_way_to_import_is_seen(source, name):
    assert name in imports(source, "quantbench.models.cifar_cnn")


def test_types_that_are_imported_for_the_type_checker_alone_count_everywhere_but_in_the_tables():
    source = "if TYPE_CHECKING:\n    from torch import nn\nimport json"
    assert imports(source, TABLES) == {"json"}
    assert "torch.nn" in imports(source, "quantbench.recipes.spec")
