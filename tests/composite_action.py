"""A dry run of a composite action: its steps in order, with programs that only write down how they were called."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class DryRun:
    """One run of an action.

    Attributes:
        folder: the job's.
        inputs: given ones; others have their defaults.
        event: `github.event`.
        status: of `quantbench run`; None where it writes no records.
        calls: command lines of the programs that were called, in order.
        used: steps that another action makes, with what they were given.
        failed: a step ended with an error.
        outputs: of steps, by id.
    """

    folder: Path
    inputs: Mapping[str, str]
    event: Mapping[str, Any]
    status: int = 0
    writes: bool = True
    calls: list[str] = field(default_factory=list)
    used: dict[str, Mapping[str, str]] = field(default_factory=dict)
    failed: bool = False
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, action: Path) -> int:
        """Makes every step; gives the status of the last one that ran."""
        described = yaml.safe_load(action.read_text(encoding="utf-8"))
        self.inputs = {name: str(each.get("default", "")) for name, each in described["inputs"].items()} | self.inputs
        self._write_programs()
        status = 0
        for step in described["runs"]["steps"]:
            if not self._runs(step.get("if")):
                continue
            given = {
                key: self._filled(str(value)) for key, value in (step.get("env") or step.get("with") or {}).items()
            }
            if "uses" in step:
                self.used[step["uses"]] = given
                self.outputs[step.get("id", "")] = {"artifact-url": "https://github.com/a/1"}
                continue
            status = self._shell(step, given)
            self.failed = self.failed or status != 0
        return status

    def _write_programs(self) -> None:
        programs = self.folder / "programs"
        programs.mkdir()
        writing = (
            'for each in "$@"; do case $each in *records.json) echo \'{}\' > "$each";; esac; done'
            if self.writes
            else ""
        )
        texts = {
            "quantbench": f'if [ "$1" = run ]; then {writing or ":"}; exit {self.status}; fi',
            "python": "",
        }
        for name, text in texts.items():
            (programs / name).write_text(f'#!/bin/bash\necho "{name} $*" >> "{self.folder}/calls.txt"\n{text}\n')
            (programs / name).chmod(0o755)

    def _shell(self, step: Mapping[str, Any], given: Mapping[str, str]) -> int:
        output = self.folder / "output.txt"
        output.write_text("")
        environment = {"PATH": f"{self.folder / 'programs'}:/usr/bin:/bin", "GITHUB_OUTPUT": str(output), **given}
        # As GitHub sets it for pull requests alone.
        environment["GITHUB_BASE_REF"] = self.event.get("pull_request", {}).get("base", {}).get("ref", "")
        where = self.folder / self._filled(step.get("working-directory", "."))
        # As GitHub runs `shell: bash`; nothing is put into the text, which would run what an input says.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        ended = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
        called = self.folder / "calls.txt"
        self.calls = called.read_text().splitlines() if called.exists() else []
        self.outputs[step.get("id", "")] = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return ended.returncode

    def _runs(self, condition: str | None) -> bool:
        if condition is None:
            return not self.failed
        words = EXPRESSION.fullmatch(condition)[1].replace("&&", " and ")  # type: ignore[index]
        if self.failed and "always()" not in words:
            return False
        names = re.sub(r"(?<!')\b(inputs|github|steps)\.[\w.-]+", lambda name: repr(self._value(name[0])), words)
        return bool(eval(names.replace("always()", "True"), {"__builtins__": {}}))  # noqa: S307 — our own file

    def _filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda found: self._value(found[1]), text)

    def _value(self, name: str) -> str:
        match name.split("."):
            case ["inputs", key]:
                return self.inputs[key]
            case ["github", "event", "number"]:
                return str(self.event.get("number", ""))
            case ["github", "token"]:
                return "the job's own"
            case ["steps", step, "outputs", key]:
                return self.outputs.get(step, {}).get(key, "")
        raise ValueError(f"an expression that this dry run does not know: {name}")
