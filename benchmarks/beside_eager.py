"""Each recipe of backend `eager` beside the same through torch.export: accuracy, drop, size, from what was accepted.

`python benchmarks/beside_eager.py --into docs/runtimes.md` writes the sections `<!-- beside-eager: begin -->`
… `<!-- beside-eager: end -->` of a document anew. It measures nothing: the figures are those of `golden/results`,
and the drops are paired sample by sample with the accepted fp32 baseline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from quantbench.config.reading import load_experiments
from quantbench.config.schema import Experiment
from quantbench.errors import QuantbenchError
from quantbench.files import write_text
from quantbench.golden.accepted import AcceptedResult
from quantbench.golden.results import Results
from quantbench.recipes.spec import Fp32, LowBit, Recipe, StaticInt8, describe
from quantbench.records.base import unpack_bits
from quantbench.report.documents import with_sections
from quantbench.report.tables import NOTHING, markdown_rows
from quantbench.stats.paired import PairedOutcomes, tango_interval

SECTION, DEPRECATED, OTHER = "beside-eager", "eager", "pt2e"
LEVEL = 0.95
COLUMNS = ("recipe", "top-1, %", "drop, pp [95 %]", "kB", "through pt2e: top-1, %", "drop, pp [95 %]", "kB")
NOTE = (
    "Drops are from the fp32 model, on the same samples, with 95 % intervals (Tango). A `.pt2` file holds its graph\n"
    "beside its weights. Low-bit recipes are of quantbench's own backend, which needs no torch.ao; `qat_control`\n"
    "quantizes nothing. Written by `python benchmarks/beside_eager.py --into docs/runtimes.md` from\n"
    "`golden/results`."
)


def table_of(experiments: Sequence[Experiment], golden: Path) -> list[str]:
    """A Markdown table of one workload, and its number of samples; nothing where it has no recipe through pt2e."""
    accepted = {each.name: Results().read(golden, each.id) for each in experiments}
    fp32 = next((accepted[each.name] for each in experiments if isinstance(each.recipe, Fp32)), None)
    others = [each for each in experiments if each.backend.name == OTHER]
    if fp32 is None or "accuracy" not in fp32.metrics or not others:
        return []
    rows = []
    for each in experiments:
        if isinstance(each.recipe, Fp32) or not (each.backend.name == DEPRECATED or isinstance(each.recipe, LowBit)):
            continue
        twin = next((other for other in others if meaning(other.recipe) == meaning(each.recipe)), None)
        cells = [_cells(accepted[each.name], fp32), _cells(accepted[twin.name] if twin else None, fp32)]
        name = f"{each.name}, backend low_bit" if isinstance(each.recipe, LowBit) else each.name
        rows.append((name, *cells[0], *cells[1]))
    title = f"**{experiments[0].workload.name}**: fp32 {100 * fp32.metrics['accuracy']:.2f} %, n = {fp32.n:,}"
    return [title, "", *markdown_rows(COLUMNS, rows), ""]


def meaning(recipe: Recipe) -> object:
    """A recipe without the number of samples that calibrate it, and with the processor's default in words."""
    described = describe(recipe)
    if isinstance(recipe, StaticInt8):
        described.pop("calibration_n")
    return described


def _cells(result: AcceptedResult | None, fp32: AcceptedResult) -> tuple[str, str, str]:
    if result is None:
        return NOTHING, NOTHING, NOTHING
    before, after = (unpack_bits(str(each.correct), each.n) for each in (fp32, result))
    outcomes = PairedOutcomes.from_correct(before, after)
    interval = tango_interval(outcomes, LEVEL)
    drop = f"{100 * outcomes.drop:+z.2f} [{100 * interval.low:+z.2f}, {100 * interval.high:+z.2f}]"
    size = result.metrics.get("quantized_bytes")
    kilobytes = NOTHING if size is None else f"{size / 1000:,.0f}"
    return f"{100 * result.metrics['accuracy']:.2f}", drop, kilobytes


def section(configs: Path, golden: Path) -> str:
    """The tables of every workload that has recipes through pt2e."""
    experiments = load_experiments(configs)
    lines = []
    for workload in dict.fromkeys(each.workload.name for each in experiments):
        lines += table_of([each for each in experiments if each.workload.name == workload], golden)
    return "\n".join([NOTE, "", *lines])


def main() -> int:
    """Writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="the document")
    parser.add_argument("--configs", type=Path, default=Path("configs"))
    parser.add_argument("--golden", type=Path, default=Path("golden"))
    arguments = parser.parse_args()
    try:
        text = section(arguments.configs, arguments.golden)
        write_text(arguments.into, with_sections(arguments.into, (SECTION,), lambda *_: text, "tables"))
    except QuantbenchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
