"""`quantbench doctor`: this machine, what is installed on it, and what could disturb timings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quantbench.measure.machine import Machine, Runtime

JSON_HELP = "As JSON."
KERNELS_HELP = "Import torch and ONNX Runtime and ask them for engines and providers; takes seconds."


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    engines: Annotated[bool, typer.Option("--engines", help=KERNELS_HELP)] = False,
) -> None:
    """Tell what is installed, which int8 kernels run on this processor, and what could disturb timings."""
    from quantbench.measure.machine import this_machine

    machine = this_machine()
    asked = _engines(machine) if engines else {}
    if as_json:
        print(json.dumps(machine.described() | ({"engines": asked} if engines else {}), indent=1))
        return
    usable, all_ = machine.cores
    lines = [
        f"processor   {machine.processor} ({machine.architecture}), {usable} of {all_} cores",
        f"int8 sets   {', '.join(machine.isa) or 'none that is known'}",
        f"python      {machine.python}",
        *(_line(each) for each in machine.runtimes),
        f"beside      {', '.join(f'{name} {found}' for name, found in machine.versions.items())}",
        *(f"engines     {name}: {', '.join(found)}" for name, found in asked.items()),
    ]
    lines += [f"timings     {line}" for line in machine.disturbs or ["nothing that is known disturbs them"]]
    print("\n".join(lines))


def _line(runtime: Runtime) -> str:
    if not runtime.is_installed:
        return f"{runtime.name:<11} not installed: {runtime.note}"
    versions = ", ".join(f"{name} {found}" for name, found in runtime.versions.items())
    kernels = f"int8 kernels for {runtime.kernels}" if runtime.kernels else "no int8 kernels are known"
    return f"{runtime.name:<11} {versions}; {kernels}{f'; {runtime.note}' if runtime.note else ''}"


def _engines(machine: Machine) -> dict[str, list[str]]:
    """Engines and providers, as the libraries tell them."""
    from quantbench.backends.engines import supported_engines
    from quantbench.backends.onnx_runtime.session import available_providers

    found = {}
    installed = {each.name for each in machine.runtimes if each.is_installed}
    if "torch" in installed:
        found["torch"] = [name for name in supported_engines() if name != "none"]
    if "onnxruntime" in installed:
        found["onnxruntime"] = available_providers()
    return found
