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
    ("errors",), ("exits",), ("stopping",), ("extras",), ("foreign",), ("temporary",), ("files",), ("streams",),
    ("strict_json",), ("mistakes",),
    ("provenance",), ("cache",), ("progress",), ("upstream",), ("arrays",), ("torch_process",), ("registry",),
    ("stats",), ("quant",), ("recipes",), ("config",), ("records",),
    ("data", "models", "tasks"), ("backends",), ("measure",), ("training",), ("golden",), ("experiment",), ("jobs",),
    ("search", "inspect", "ablation", "blame"), ("parity", "export"), ("quantities",), ("against",), ("session",),
    ("report",), ("claims",), ("plugin", "cli"), ("__main__",),
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
TORCH = ("torch", "torchvision", "torchaudio", "torchao", "safetensors")
# Rooms that are about torch models: importing a module of theirs may import torch.
ROOMS_OF_TORCH = {"quant", "models", "backends", "training", "search", "inspect", "ablation"}
# Within these, what files of other runtimes need.
OF_FILES = (
    "quantbench.backends.interface", "quantbench.backends.model_source",
    "quantbench.backends.file_predictor", "quantbench.backends.process_settings",
    "quantbench.backends.onnx_runtime", "quantbench.backends.openvino_runtime", "quantbench.backends.litert_runtime",
    "quantbench.inspect.onnx_inspection", "quantbench.inspect.runtime_files",
)  # fmt: skip
# Modules of other rooms that import it in a function, which only torch models reach, or which asks whether it is there.
IN_FUNCTIONS = {
    "quantbench.torch_process", "quantbench.data.cifar10", "quantbench.data.source", "quantbench.data.speech_commands",
    "quantbench.data.framing", "quantbench.data.presets",
    "quantbench.measure.environment", "quantbench.golden.baselines", "quantbench.experiment.adoption",
    "quantbench.experiment.own_quantizer", "quantbench.experiment.workload",
}  # fmt: skip
LIBRARIES = ("torch.ao", "torchao", "onnx", "onnxruntime", "openvino", "nncf", "ai_edge_litert", "executorch")
MAY_IMPORT_LIBRARIES = ("backends/", "models/quantizable.py")
# Announced for deletion (pytorch/ao#2259).
TORCH_AO, MAY_IMPORT_TORCH_AO = ("torch.ao", "torch.quantization"), ("backends/torch_ao/", "models/quantizable.py")
# Its tables name what comes after it as text, and the types of that for the type checker; it imports none of it.
TABLES = "quantbench.registry"


def imports(source, module="", at_once=False):
    """Every dotted name that a source text imports, in functions and for type checking too, but for the tables'.

    Args:
        source: the text.
        module: its name, for relative imports.
        at_once: only what is imported when the module is.
    """
    found, tree = set(), ast.parse(source)
    nodes = outside_functions(tree) if at_once else ast.walk(without_types(tree) if module == TABLES else tree)
    for node in nodes:
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


def outside_functions(tree):
    """Every node of a module that runs when it is imported."""
    waiting = [without_types(tree)]
    while waiting:
        yield (node := waiting.pop())
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def modules():
    """Dotted name → path below the package, for every module."""
    paths = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {".".join(("quantbench", *path.with_suffix("").parts)).removesuffix(".__init__"): path for path in paths}


MODULES = modules()
IMPORTS = {name: imports((PACKAGE / path).read_text(encoding="utf-8"), name) for name, path in MODULES.items()}
AT_ONCE = {
    name: imports((PACKAGE / path).read_text(encoding="utf-8"), name, at_once=True) for name, path in MODULES.items()
}
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


def imported_with(name):
    """Every module of ours that is imported when one is, with it and the packages that they are in."""
    found, waiting = set(), [name]
    while waiting:
        parts = (module := waiting.pop()).split(".")
        if module not in found:
            found.add(module)
            waiting += [each for each in AT_ONCE[module] if each in MODULES]
            waiting += [".".join(parts[:end]) for end in range(1, len(parts))]
    return found


def torch_of(name):
    """Modules by which the import of one imports torch; none if it does not."""
    return sorted(each for each in imported_with(name) if any(is_below(found, TORCH) for found in AT_ONCE[each]))


def test_the_import_of_a_module_imports_torch_in_rooms_of_torch_models_alone():
    wrong = {name: torch_of(name) for name in MODULES if name.split(".")[1:2] and unit(name) not in ROOMS_OF_TORCH}
    assert {name: by for name, by in wrong.items() if by} == {}
    assert torch_of("quantbench.training.schedule") == ["quantbench.training.schedule"], "this test looks at nothing"


def test_what_loads_and_describes_files_of_other_runtimes_imports_no_torch():
    of_files = [name for name in MODULES if is_below(name, OF_FILES)]
    assert {name: torch_of(name) for name in of_files if torch_of(name)} == {}
    assert set(OF_FILES) <= set(of_files)


def test_other_rooms_name_torch_in_few_functions():
    naming = {name for name in MODULES if name.split(".")[1:2] and unit(name) not in ROOMS_OF_TORCH
              for found in inside_functions(name) if is_below(found, TORCH)}  # fmt: skip
    assert naming == IN_FUNCTIONS


def inside_functions(name):
    """Names that a module imports in its functions."""
    tree = without_types(ast.parse((PACKAGE / MODULES[name]).read_text(encoding="utf-8")))
    return imports(ast.unparse(tree), name) - AT_ONCE[name]


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


def test_only_the_eager_backend_needs_torch_ao():
    wrong = {
        str(MODULES[name].as_posix())
        for name, names in IMPORTS.items()
        for found in names
        if is_below(found, TORCH_AO) and not str(MODULES[name].as_posix()).startswith(MAY_IMPORT_TORCH_AO)
    }
    eager = {name for name in MODULES if name.startswith("quantbench.backends.torch_ao.")}
    asked = {name for name, names in OWN.items() for found in names if found in eager and name not in eager}
    assert (wrong, asked) == (set(), set())


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


def test_what_a_function_imports_is_not_imported_with_its_module():
    source = (
        "import json\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import torch\nclass A:\n    import numpy\n"
    )
    assert imports(source, at_once=True) == {"json", "numpy"}
