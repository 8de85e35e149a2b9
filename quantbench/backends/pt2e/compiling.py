"""Programs compiled by inductor: once for each content, kept in quantbench's cache.

A program is compiled ahead of time, with its weights frozen into it, which is what torch's int8 kernels need
(pytorch/pytorch#144434): for batches of any size and any number of threads, so that what is evaluated is what is timed.
What `torch.compile` would make is the same code by the same passes; but with frozen weights torch keeps none of it from
process to process.
"""

from __future__ import annotations

import io
import os
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.backends.exported.graphs import input_names, output_names
from quantbench.backends.file_predictor import TensorSpec
from quantbench.backends.pt2e.archive import checked
from quantbench.backends.pt2e.evidence import UNKNOWN, Product, products_of
from quantbench.backends.pt2e.library import CXX, check_compiler, torchao
from quantbench.backends.pt2e.one_channel import int8_convolutions_in_channels_last
from quantbench.backends.quiet import quiet
from quantbench.cache import CacheEntry, Meta
from quantbench.errors import CheckpointError
from quantbench.extras import version_of
from quantbench.files import cache_dir, printable, read_bytes, sha256_of_json
from quantbench.foreign import message_of

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The kind of cache entry, and the file in it.
COMPILED, PACKAGE = "compiled", "compiled.pt2"
# Where inductor keeps what it compiled itself, the headers of torch among it, which take most of the first time.
INDUCTOR_CACHE = "TORCHINDUCTOR_CACHE_DIR"
# As the code that inductor writes calls oneDNN's int8 kernels.
INT8_CALL = re.compile(rb"aoti_torch_cpu__q(?:conv|linear)\w*\(")
# Of inputs, as torch names them; other libraries may have taught numpy some of them, which torch does not take.
NOT_NUMPYS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
# Samples of a batch of any size, while a program is compiled.
EXAMPLES = 8
# Raised with every change of how programs are compiled or what is noted about them.
FORM = 5


@dataclass(frozen=True)
class Compiled:
    """A compiled program on disk.

    Attributes:
        package: the file that is loaded.
        inputs: of the program.
        outputs: of the program.
        products: of the compiled program.
        expected: of the program as it was given.
        seconds: that it took to compile.
    """

    package: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    products: tuple[Product, ...]
    expected: tuple[Product, ...]
    seconds: float


def compiled(path: Path, sha256: str) -> Compiled:
    """A `.pt2` file's program, from the cache or compiled now.

    Args:
        path: of the file.
        sha256: as it was made.

    Raises:
        CheckpointError: if the file is missing, damaged, unsafe, or torch cannot read or compile it.
        ExtraMissingError: if there is no C++ compiler.
    """
    content = {"sha256": sha256, "form": FORM, **_surroundings()}
    entry = CacheEntry(COMPILED, f"{sha256[:16]}-{sha256_of_json(content)[:16]}", "compiling again")
    with entry.locked():
        meta = entry.read(_check_meta)
        if meta is None:
            check_compiler()
            program = read_program(path)
            meta = entry.write(lambda folder: _compile(program, path, folder))
    return _compiled(entry.folder, meta)


def read_program(path: Path) -> ExportedProgram:
    """The exported program in a file, read without running code of it.

    Raises:
        CheckpointError: in one line.
    """
    import torch

    torchao()
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    given, graph = checked(content, str(path))
    try:
        with quiet():
            program = torch.export.load(io.BytesIO(given))
    # Of torch's own classes, which have no common base.
    except Exception as error:
        wrote, here = printable(graph.get("torch_version", "an unknown version"))[:40], version_of("torch")
        reason = (
            f"it was written by torch {wrote}, and this is torch {here}; export it again with this one"
            if wrote.partition("+")[0] != here.partition("+")[0]
            else f"{printable(message_of(error))}; export it again"
        )
        raise CheckpointError(f"{path}: torch.export cannot read it: {reason}") from None
    _check_tensors(program, path)
    return program


def _check_tensors(program: ExportedProgram, path: Path) -> None:
    """Refuses numbers, texts and None, which a program may take and give as well, and inputs that are no arrays."""
    given, made = list(program.graph_signature.user_inputs), list(program.graph_signature.user_outputs)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names = [*given, *output_names(program.call_spec.out_spec, len(made))]
    for at, (name, each) in enumerate(zip(names, [*given, *made], strict=True)):
        dtype = getattr(values.get(str(each)), "dtype", None)
        what = f"{path}: {'input' if at < len(given) else 'output'} '{name}' is"
        if dtype is None:
            raise CheckpointError(
                f"{what} {printable(each)[:40]}, no tensor; export a model that takes and gives tensors alone"
            )
        kind = str(dtype).removeprefix("torch.")
        if at < len(given) and kind in NOT_NUMPYS:
            raise CheckpointError(f"{what} of {kind}, which numpy has not; export a model that casts it from float32")


def _surroundings() -> dict[str, Any]:
    """Versions and the processor, which decide the code that inductor writes; its int8 passes are torchao's."""
    import torch

    return {
        "torch": version_of("torch"),
        "torchao": version_of("torchao"),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "isa": {name: bool(getattr(torch.cpu, name)()) for name in ("_is_vnni_supported", "_is_amx_tile_supported")},
        "compiler": os.environ.get(CXX, ""),
    }


def _compile(program: ExportedProgram, path: Path, folder: Path) -> Meta:
    """Compiles a program into a folder of the cache."""
    import torch
    from torch._inductor import aoti_compile_and_package

    products: list[Product] = []

    def look(graph: Any) -> None:
        products[:] = products_of(graph, expected)

    expected = products_of(program.graph)
    inputs, outputs = specs_of(program)
    # The file holds no samples; code is written for any sizes that the program takes.
    program._example_inputs = (tuple(_example(name, program) for name in program.graph_signature.user_inputs), {})
    options = {
        "freezing": True,
        "post_grad_custom_post_pass": look,
        "cpp.dynamic_threads": True,
        # Processes that wait for more to compile would disturb what is timed next.
        "compile_threads": 1,
        "fx_graph_cache": False,
    }
    began = time.perf_counter()
    try:
        with quiet(), _own_cache(), int8_convolutions_in_channels_last(), torch.no_grad():
            aoti_compile_and_package(program, package_path=str(folder / PACKAGE), inductor_configs=options)
    except OSError:
        raise
    # Whatever one of torch's compilers raises, or g++ says.
    except Exception as error:
        raise CheckpointError(
            f"{path}: inductor cannot compile it: {printable(message_of(error))}; quantize with backend: onnxruntime"
        ) from error
    _check_code(products, folder / PACKAGE)
    return {
        "seconds": time.perf_counter() - began,
        "products": [asdict(each) for each in products],
        "expected": [asdict(each) for each in expected],
        "inputs": [asdict(each) for each in inputs],
        "outputs": [asdict(each) for each in outputs],
    }


def _check_code(products: list[Product], package: Path) -> None:
    """Holds the int8 kernels of the graph against the calls in the code that was written; what differs is unknown."""
    with zipfile.ZipFile(package) as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".cpp"))
    calls, named = len(INT8_CALL.findall(code)), sum(each.computes == "int8" for each in products)
    if calls != named:
        told = f"{calls} int8 kernels in the code, {named} in its graph"
        products[:] = [replace(each, computes=UNKNOWN, operator=told) for each in products]


@contextmanager
def _own_cache() -> Iterator[None]:
    """Lets inductor keep its own files beside ours."""
    before, own = os.environ.get(INDUCTOR_CACHE), cache_dir() / "inductor"
    own.mkdir(parents=True, exist_ok=True)
    os.environ[INDUCTOR_CACHE] = str(own)
    try:
        yield
    finally:
        if before is None:
            del os.environ[INDUCTOR_CACHE]
        else:
            os.environ[INDUCTOR_CACHE] = before


def specs_of(program: ExportedProgram) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a program, with their names."""
    signature = program.graph_signature
    by_name = {node.name: node for node in program.graph.nodes}
    given, made = list(signature.user_inputs), list(signature.user_outputs)
    names = output_names(program.call_spec.out_spec, len(made))
    inputs = [
        _spec(name, by_name[str(each)].meta["val"]) for name, each in zip(input_names(program), given, strict=True)
    ]
    return inputs, [_spec(name, by_name[str(each)].meta["val"]) for name, each in zip(names, made, strict=True)]


def _example(name: object, program: ExportedProgram) -> torch.Tensor:
    import torch

    value = next(node.meta["val"] for node in program.graph.nodes if node.name == str(name))
    sizes = [size if isinstance(size, int) else size.node.maybe_as_int() or EXAMPLES for size in value.shape]
    return torch.zeros(sizes, dtype=value.dtype)


def _spec(name: str, value: Any) -> TensorSpec:
    # A symbol that the code fixed stays one, with a number behind it.
    sizes = [size if isinstance(size, int) else size.node.maybe_as_int() for size in value.shape]
    return TensorSpec(name, tuple(sizes), str(value.dtype).removeprefix("torch."))


def _check_meta(meta: Meta) -> None:
    """Raises KeyError or TypeError unless all that is needed is noted."""
    _compiled(Path(), meta)


def _compiled(folder: Path, meta: Meta) -> Compiled:
    def specs(listed: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(**{**each, "shape": tuple(each["shape"])}) for each in listed)

    def products(listed: Sequence[dict[str, Any]]) -> tuple[Product, ...]:
        return tuple(Product(**each) for each in listed)

    return Compiled(
        folder / PACKAGE,
        specs(meta["inputs"]),
        specs(meta["outputs"]),
        products(meta["products"]),
        products(meta["expected"]),
        float(meta["seconds"]),
    )
