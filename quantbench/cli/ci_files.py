"""Workflow files of CI services that run the gates of a workload."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from quantbench.errors import ConfigError

GITHUB = """\
# Runs the quantization gates of this project on every change.
name: quantbench
on: [push, pull_request]
permissions:
  contents: read
jobs:
  gates:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install {distribution}
      - run: {command}
      - if: ${{{{ always() && hashFiles('records.json') != '' }}}}
        run: |
          quantbench report records.json --html report.html --junit junit.xml
          quantbench comment records.json --annotations
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: quantbench
          path: |
            records.json
            report.html
            junit.xml
"""
GITLAB = """\
# Runs the quantization gates of this project on every change.
quantbench:
  image: python:3.12
  script:
    - pip install {distribution}
    - {command}
  after_script:
    - quantbench report records.json --html report.html --junit junit.xml
  artifacts:
    when: always
    paths: [records.json, report.html]
    reports: {{junit: junit.xml}}
"""
# Service → its file and the text of it.
SERVICES = {
    "github": (Path(".github/workflows/quantbench.yml"), GITHUB),
    "gitlab": (Path(".gitlab-ci.yml"), GITLAB),
}
# Backend → the extra that brings it; any other needs torch.
EXTRAS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "litert", "executorch": "executorch"}


def check_service(service: str) -> Path:
    """The file of a service, which is not there yet.

    Raises:
        ConfigError: if the service is unknown, or the file is there.
    """
    if service not in SERVICES:
        raise ConfigError(f"--ci {service}: unknown service; write one of {', '.join(SERVICES)}")
    path, _ = SERVICES[service]
    if path.exists():
        raise ConfigError(
            f"{path}: is there already and is not written over; move it away, or leave --ci out and add this step to "
            "it: quantbench run --json records.json"
        )
    return path


def workflow(service: str, workload: str, extras: Iterable[str]) -> str:
    """The text of a service's file.

    Args:
        service: of `SERVICES`.
        workload: whose experiments are run.
        extras: of the distribution, which bring what they need.
    """
    needed = ",".join(sorted(set(extras)))
    distribution = shlex.quote(f"quantbench-suite[{needed}]") if needed else "quantbench-suite"
    command = f"quantbench run {shlex.quote(f'{workload}/*')} --json records.json"
    return SERVICES[service][1].format(distribution=distribution, command=command)
