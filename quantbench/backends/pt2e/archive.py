"""Files of `torch.export.save`: written with the same bytes each time, and checked before torch reads them.

Such a file is an archive: a graph as JSON, tensors as raw bytes, samples. Torch runs code of it when it reads pickled
members, symbolic sizes and guards, and looks operators up by any path within torch. A file is therefore read member by
member, and what torch is given is built anew from the members that are known.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from quantbench.backends.exported.graphs import NAMESPACES, custom_operator
from quantbench.errors import CheckpointError
from quantbench.files import printable

# Of the archive in files that are written here; torch names it after the file.
ROOT, MODEL = "model", "model"
DATE = (1980, 1, 1, 0, 0, 0)
GRAPH = f"models/{MODEL}.json"
SAMPLES = f"data/sample_inputs/{MODEL}.pt"
WEIGHTS = f"data/weights/{MODEL}_weights_config.json"
CONSTANTS = f"data/constants/{MODEL}_constants_config.json"
TENSOR = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
# Members that only say which version wrote the archive.
MARKS = ("archive_format", "archive_version", "byteorder", ".data/version")
COMPILED = "data/aotinductor/"
OPERATOR = re.compile(r"torch\.ops\.(\w+)\.\w+(\.\w+)*")
OTHER_TARGETS = re.compile(r"_operator\.\w+|math\.\w+|torch\.sym_\w+|torch\._sym_\w+")
# Symbols of sizes, and what formulas of sizes are made of.
SYMBOL = re.compile(r"[su]\d+")
FUNCTIONS = {
    "Symbol", "Integer", "Rational", "Add", "Mul", "Pow", "True", "False", "positive", "integer", "nonnegative",
    "CeilDiv", "CleanDiv", "Eq", "FloorDiv", "FloorToInt", "Ge", "Gt", "IntTrueDiv", "Le", "Lt", "Max", "Min", "Mod",
    "ModularIndexing", "Ne", "PowByNatural", "PythonMod", "TruncToInt", "Where", "And", "Or", "Not",
}  # fmt: skip
EXPRESSION = re.compile(r"[\w\s+\-*/(),.<>=']*")


def normalized(content: bytes) -> bytes:
    """The bytes of `torch.export.save` without what differs from run to run: samples, lines of code, identifiers."""
    return _written(_members(content, "the program"))


def checked(content: bytes, file: str) -> tuple[bytes, dict[str, Any]]:
    """A file's content as torch may read it, and its graph as JSON.

    Args:
        content: of any file.
        file: for messages.

    Raises:
        CheckpointError: in one line, if it is no whole file of an exported program, or would run code.
    """
    members = _members(content, file)
    graph = _json(members, GRAPH, file)
    _check_graph(graph, file)
    for name in (WEIGHTS, CONSTANTS):
        _check_tensors(_json(members, name, file), name, file)
    return _written(members), graph


def _members(content: bytes, file: str) -> dict[str, bytes]:
    """Name within the archive → bytes, of the members that are known; the rest says nothing about the model.

    Raises:
        CheckpointError: if the archive is not whole, or is one of compiled code.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if packed := next((each for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED), None):
                raise ValueError(f"'{printable(packed.filename)[:80]}' is compressed, which torch never does")
            # Read to its end, where the checksum is compared.
            found = {each.filename.partition("/")[2]: archive.read(each) for each in archive.infolist()}
    # Damaged bytes trip the reader anywhere.
    except Exception as error:
        raise CheckpointError(f"{file}: not a whole .pt2 file ({printable(error)[:200]}); export it again") from None
    if any(name.startswith(COMPILED) for name in found):
        raise CheckpointError(
            f"{file}: holds compiled code (of AOTInductor), which runs on one kind of machine and cannot be looked "
            "into; give what torch.export.save wrote"
        )
    models = [name for name in found if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        raise CheckpointError(f"{file}: holds {len(models)} exported programs; save one with torch.export.save")
    own = models[0].removeprefix("models/").removesuffix(".json")
    named = {_renamed(name, own): value for name, value in found.items()}
    known = {GRAPH, WEIGHTS, CONSTANTS, *MARKS}
    return {name: value for name, value in named.items() if name in known or TENSOR.fullmatch(name)}


def _renamed(name: str, model: str) -> str:
    """A member's name as it is where the model's name is ours."""
    for own in (GRAPH, WEIGHTS, CONSTANTS):
        if name == own.replace(f"/{MODEL}", f"/{model}"):
            return own
    return name


def _written(members: dict[str, bytes]) -> bytes:
    """An archive of members, in the order of their names."""
    buffer = io.BytesIO()
    graph = json.loads(members[GRAPH])
    _strip(graph)
    parts = {**members, GRAPH: _dumped(graph), SAMPLES: b""}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(parts):
            archive.writestr(zipfile.ZipInfo(f"{ROOT}/{name}", DATE), parts[name])
    return buffer.getvalue()


def _strip(graph: dict[str, Any]) -> None:
    """Leaves of what is noted about nodes the layer alone, and drops guards, which are code."""
    graph["guards_code"] = []
    for node in _nodes(graph):
        stack = node.get("metadata", {}).get("nn_module_stack", "")
        layer = layer_in(stack)
        node["metadata"] = {"nn_module_stack": f"{layer},{layer},"} if layer else {}


def layer_in(stack: str) -> str:
    """Name of the innermost layer in a serialized stack of modules: `key,name,class` of each, divided by `;`."""
    names = [each.split(",")[1] for each in stack.split(";") if each.count(",") >= 2]
    return next((name for name in reversed(names) if name and "<" not in name), "")


def _nodes(graph: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = graph["graph_module"]["graph"]["nodes"]
    return found


def _dumped(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _json(members: dict[str, bytes], name: str, file: str) -> dict[str, Any]:
    try:
        found = json.loads(members[name])
        if not isinstance(found, dict):
            raise TypeError("is no object")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file}: not a whole .pt2 file ({name}: {printable(error)[:100]})") from None
    return found


def _check_tensors(config: dict[str, Any], name: str, file: str) -> None:
    """Refuses members that torch would unpickle."""
    entries = config.get("config")
    for key, entry in entries.items() if isinstance(entries, dict) else [("", None)]:
        if not isinstance(entry, dict) or entry.get("use_pickle") or not entry.get("tensor_meta"):
            raise CheckpointError(
                f"{file}: refused: '{printable(key)[:80]}' in {name} is no plain tensor, and to open it could run "
                "code; export a model of plain tensors"
            )
        if not TENSOR.fullmatch(f"{name.rpartition('/')[0]}/{entry.get('path_name')}"):
            raise CheckpointError(f"{file}: not a whole .pt2 file: '{printable(key)[:80]}' has no member of its own")


def _check_graph(graph: dict[str, Any], file: str) -> None:
    """Refuses targets that are no operators of torch, and sizes that are no formulas."""
    try:
        nodes = _nodes(graph)
        targets = [str(node["target"]) for node in nodes]
        _ = [dict(node["metadata"]) for node in nodes]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{file}: not a whole .pt2 file ({GRAPH} holds no graph)") from None
    for target in targets:
        if found := OPERATOR.fullmatch(target):
            if found[1] not in NAMESPACES:
                raise CheckpointError(f"{file}: {custom_operator(target)}")
        elif not OTHER_TARGETS.fullmatch(target):
            raise CheckpointError(f"{file}: refused: calls '{printable(target)[:80]}', which is no operator of torch")
    for text in _expressions(graph):
        words = re.findall(r"[A-Za-z_]\w*", text)
        if not EXPRESSION.fullmatch(text) or not all(SYMBOL.fullmatch(word) or word in FUNCTIONS for word in words):
            raise CheckpointError(f"{file}: refused: a size is '{printable(text)[:80]}', which is no formula of sizes")


def _expressions(value: Any) -> list[str]:
    """Every formula of sizes, wherever it stands."""
    if isinstance(value, dict):
        own = [str(each) for key, each in value.items() if key == "expr_str"]
        return own + [text for each in value.values() for text in _expressions(each)]
    return [text for each in value for text in _expressions(each)] if isinstance(value, list) else []
