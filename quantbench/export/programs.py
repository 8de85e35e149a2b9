"""Programs of about ten lines that load an artifact with its runtime and numpy alone, and answer a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.records.export_card import ExportedTensor

FILE_NAME = "run.py"
# Samples of a random batch, where the file takes any number.
BATCH = 4
# Of what answers, `arrays` are given in the order of the inputs.
SKELETON = '''\
"""{title}: answers a batch. Usage: python run.py [batch.npz [answers.npz]]

A batch holds an array for each input, normalized as card.json says; without one, random numbers are, and zeros
where it takes integers.
"""
import sys
from pathlib import Path

import numpy as np
{imports}

HERE, INPUTS = Path(__file__).parent, {inputs}
{load}
made = {{n: (np.zeros(s) if "int" in t else np.random.randn(*s)).astype(t) for n, (s, t) in INPUTS.items()}}
batch = np.load(sys.argv[1]) if sys.argv[1:] else made
arrays = [np.ascontiguousarray(batch[name]) for name in INPUTS]
{run}
for name, array in answers.items():
    print(name, array.shape, array[:1])
if sys.argv[2:]:
    np.savez(sys.argv[2], **answers)
'''


@dataclass(frozen=True)
class Runtime:
    """The lines for one runtime.

    Attributes:
        requires: distributions that it takes, beside numpy.
        imports: lines.
        load: lines that load `{file}`.
        run: lines that make `answers` of `arrays`.
    """

    requires: tuple[str, ...]
    imports: str
    load: str
    run: str


TORCH_RUN = """\
with torch.no_grad():
    given = model(*map(torch.from_numpy, arrays))
given = {"output": given} if isinstance(given, torch.Tensor) else given
pairs = given.items() if isinstance(given, dict) else enumerate(given)
answers = {str(name): each.numpy() for name, each in pairs}"""
# Backend → the lines for its files; `traced` for state dicts of torch, beside which their program is written.
RUNTIMES = {
    "onnxruntime": Runtime(
        ("onnxruntime",),
        "import onnxruntime",
        'session = onnxruntime.InferenceSession(HERE / "{file}", providers=["CPUExecutionProvider"])',
        "names = [each.name for each in session.get_outputs()]\n"
        "answers = dict(zip(names, session.run(names, dict(zip(INPUTS, arrays)))))",
    ),
    "openvino": Runtime(
        ("openvino",),
        "import openvino",
        'model = openvino.compile_model(HERE / "{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})',
        "given = model(arrays)\nanswers = {f\"output{i or ''}\": given[port] for i, port in enumerate(model.outputs)}",
    ),
    "litert": Runtime(
        ("ai-edge-litert",),
        "from ai_edge_litert.interpreter import Interpreter",
        'model = Interpreter(str(HERE / "{file}"))',
        'places = [each["index"] for each in model.get_input_details()]\n'
        "for index, array in zip(places, arrays):\n"
        "    model.resize_tensor_input(index, array.shape)\n"
        "model.allocate_tensors()\n"
        "for index, array in zip(places, arrays):\n"
        "    model.set_tensor(index, array)\n"
        "model.invoke()\n"
        'answers = {each["name"]: model.get_tensor(each["index"]) for each in model.get_output_details()}',
    ),
    "executorch": Runtime(
        ("executorch", "torch"),
        "import torch\nfrom executorch.runtime import Runtime",
        'method = Runtime.get().load_program(HERE / "{file}").load_method("forward")',
        "given = method.execute([torch.from_numpy(each) for each in arrays])\n"
        "answers = {f\"output{i or ''}\": each.numpy() for i, each in enumerate(given)}",
    ),
    "pt2e": Runtime(
        ("torch", "torchao"),
        "import torch\nimport torchao.quantization.pt2e  # knows the operators of the program",
        "# torch.compile(model) with torch._inductor.config.freezing makes it fast.\n"
        'model = torch.export.load(HERE / "{file}").module()',
        TORCH_RUN,
    ),
    "torchscript": Runtime(("torch",), "import torch", 'model = torch.jit.load(HERE / "{file}").eval()', TORCH_RUN),
}
TRACED = "torchscript"


def program(backend: str, file: str, title: str, inputs: Sequence[ExportedTensor], engine: str = "none") -> str | None:
    """The text of `run.py`; None where no program is known for a backend.

    Args:
        backend: that loads the file.
        file: its name, beside the program.
        title: of the experiment.
        inputs: in order.
        engine: quantized engine of torch that the file was made for; `none` without one.

    Example:
        >>> print(program("onnxruntime", "a.onnx", "a/b", []).splitlines()[0])
        \"\"\"a/b: answers a batch. Usage: python run.py [batch.npz [answers.npz]]
        >>> program("mine", "a.bin", "a/b", []) is None
        True
    """
    if (runtime := RUNTIMES.get(backend)) is None:
        return None
    shapes = {each.name: ([size or BATCH for size in each.shape], each.dtype) for each in inputs}
    load = runtime.load.format(file=file)
    if backend == TRACED and engine != "none":
        load = f'torch.backends.quantized.engine = "{engine}"\n{load}'
    return SKELETON.format(title=title, imports=runtime.imports, inputs=shapes, load=load, run=runtime.run)
