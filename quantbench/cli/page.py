"""Everything that the page of `quantbench report --html` shows beside records: samples and training curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.errors import QuantbenchError
from quantbench.foreign import calling

if TYPE_CHECKING:
    from quantbench.records.run import RecordFile, RunRecord
    from quantbench.report.curves import Curves
    from quantbench.report.html.content import Place
    from quantbench.report.html.media import Media

# Samples of a workload that are read; a page shows fewer of each experiment.
MOST_SAMPLES = 200


def page_of(
    found: RecordFile, files: Sequence[Path], configs: Path | None, golden: Path, blames: Sequence[Path] = ()
) -> str:
    """The page of records.

    Args:
        found: the records.
        files: that they were read from.
        configs: folder of workload files, where the data of samples is named; None leaves samples out.
        golden: folder of goldens, where cards of trainings are.
        blames: files of `quantbench blame --json`.
    """
    from quantbench.records.blame import read_blames
    from quantbench.report.html.content import Content
    from quantbench.report.html.page import page

    media: dict[Place, Media] = {}
    notes: list[str] = []
    if configs is None:
        notes.append("Samples are not shown, as --no-samples asks.")
    else:
        media, notes = _media(found.records, configs, golden)
    content = Content(
        records=found.records,
        errors=found.errors,
        not_run=found.not_run,
        premises=found.premises,
        files=[str(path) for path in files],
        curves=_curves(found.records, golden),
        media=media,
        notes=notes,
        blames=[blame for path in blames for blame in read_blames(path)],
        base=found.base,
    )
    return page(content)


def _media(records: Sequence[RunRecord], configs: Path, golden: Path) -> tuple[dict[Place, Media], list[str]]:
    """Pictures and sounds of the samples that flipped, and why there are none of a workload."""
    from quantbench.report.html.samples import wanted

    media, notes = dict["Place", "Media"](), list[str]()
    for workload, places in wanted(records).items():
        sha256 = next(each.test_sha256 for each in records if each.experiment.partition("/")[0] == workload)
        try:
            with calling(f"{workload}: its samples"):
                media |= _of_workload(workload, places[:MOST_SAMPLES], sha256, configs, golden)
        except QuantbenchError as error:
            reason = str(error).splitlines()[0]
            notes.append(f"{workload}: its flipped samples are told by number only: {reason}")
    return media, notes


def _of_workload(
    workload: str, places: Sequence[Place], sha256: str, configs: Path, golden: Path
) -> dict[Place, Media]:
    from quantbench.config.selection import find_workload
    from quantbench.experiment.stored_samples import stored_samples
    from quantbench.report.html.media import media_of

    numbers = [(is_drawn, number) for _, is_drawn, number in places]
    found = stored_samples(find_workload(workload, configs), golden, numbers, sha256)
    samples = zip(places, found.inputs, strict=True)
    made = {place: media_of(sample, found.sample_rate) for place, sample in samples}
    return {key: media for key, media in made.items() if media is not None}


def _curves(records: Sequence[RunRecord], golden: Path) -> list[Curves]:
    """Trainings of the weights that records are about, as far as their cards are here and tell them."""
    from quantbench.report.curves import read_curves

    names = dict.fromkeys(
        name
        for record in records
        for name in (record.experiment.partition("/")[0], record.experiment.replace("/", "."))
    )
    found = []
    for name in names:
        path = golden / "baselines" / f"{name}.json"
        if not path.exists():
            continue
        try:
            found.append(read_curves(path, name, "quantbench train"))
        except QuantbenchError:
            # Adopted weights have no history, and a damaged card is told by whatever uses it.
            continue
    return found
