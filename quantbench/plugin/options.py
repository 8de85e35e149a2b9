"""Options of the suite, and what is wrong with them before anything is collected."""

from __future__ import annotations

from pathlib import Path

import pytest


def add_options(parser: pytest.Parser) -> None:
    """Adds the suite's own options to pytest's."""
    group = parser.getgroup("quantbench", "quantization benchmarks")
    group.addoption("--configs", metavar="DIR", help="folder of workload files (default: configs/ in the root folder)")
    group.addoption(
        "--golden", metavar="DIR", help="folder of goldens and baselines (default: golden/ in the root folder)"
    )
    group.addoption(
        "--experiment", action="append", default=[], metavar="ID",
        help="run only this experiment: an exact id or a glob; may be given several times",
    )  # fmt: skip
    group.addoption(
        "--update-golden", action="store_true",
        help="accept what is found of the experiments named by --experiment; needs --reason; refused when CI is set",
    )  # fmt: skip
    group.addoption("--reason", metavar="TEXT", help="why a golden is updated, kept in its history")
    group.addoption("--strict-verdicts", action="store_true", help="INCONCLUSIVE fails")
    group.addoption(
        "--real-data", action="store_true", help="download missing data sets, and fail where data stays absent"
    )
    group.addoption("--retrain", action="store_true", help="train quantization-aware experiments for real")
    group.addoption("--amp", action="store_true", help="with --retrain: train in bf16 (torch.autocast)")
    group.addoption("--json", metavar="FILE", dest="quantbench_json", help="write the records of the run to FILE")
    group.addoption(
        "--plots", metavar="DIR", help="folder of the bar chart of layers (default: out/ in the root folder)"
    )
    group.addoption(
        "--allow-import", action="append", default=[], metavar="MODULE",
        help="let workload files name this module, or those of this folder, outside of the project",
    )  # fmt: skip
    group.addoption("--engine", metavar="NAME", help="quantized engine (default: x86 on x86-64, qnnpack on Arm)")


def add_markers(config: pytest.Config) -> None:
    """Says which markers a claim may carry."""
    for marker in (
        "gate(name): the claim is parametrized by the experiments that set this gate",
        "ungated(name): the test is parametrized by those that do not set this gate",
        "claim(name): the claim, of a quantity without a gate, is about these experiments",
        "searched: the test is parametrized by the experiments that ask for a search",
        "latency: measures time; never under parallel workers",
    ):
        config.addinivalue_line("markers", marker)


def check_options(config: pytest.Config) -> None:
    """Refuses options that contradict each other or name a place that cannot be written.

    Raises:
        pytest.UsageError: in one line.
    """
    if (path := config.getoption("quantbench_json")) and not hasattr(config, "workerinput"):
        from quantbench.errors import ConfigError
        from quantbench.report.documents import check_place

        try:
            check_place(Path(path))
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
    if (plots := config.getoption("plots")) and Path(plots).exists() and not Path(plots).is_dir():
        raise pytest.UsageError(f"--plots {plots}: is no folder; name one, which is made where there is none")
    if config.getoption("retrain") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--retrain: two workers would train the same weights; drop -n")
    if config.getoption("amp") and not config.getoption("retrain"):
        raise pytest.UsageError("--amp: is how --retrain trains; add --retrain, or drop --amp")


def is_update(config: pytest.Config) -> bool:
    """True if what is found becomes what is accepted, by our option or by syrupy's."""
    options = vars(config.option)
    # Not there where syrupy is switched off.
    return bool(options.get("update_snapshots") or options.get("update_new_snapshots_only"))
