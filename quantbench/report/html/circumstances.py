"""Machines, versions and commands of the records, and the words of the page explained."""

from __future__ import annotations

import json

from quantbench.report.html.content import Content
from quantbench.report.html.markup import Html, element, joined, section, table

WORDS = (
    ("PASS, FAIL, INCONCLUSIVE", "A gate holds where the whole interval is within its bound, fails where all of it is "
     "beyond, and is undecided where the bound lies inside: more samples, or a quieter machine, would decide."),
    ("interval", "The range that the measured samples leave open, mostly at 95 %; of speeds at 99 %."),
    ("lost, gained", "Samples that the reference answers rightly and the candidate wrongly, and the other way round."),
    ("pp", "Percentage points: 90 % to 89 % is one."),
    ("reference, candidate", "The model that everything is compared with, mostly in fp32, and the quantized one."),
    ("accepted", "The result that the project keeps under version control, and that later runs are held to."),
    ("A/A control", "The reference timed against itself in the same rounds; if that is not 1, no speed is believed."),
)  # fmt: skip


def circumstances_section(content: Content) -> Html:
    """Each distinct machine with its software, and the commands that measured on it."""
    found: dict[str, tuple[object, dict[str, None], dict[str, None]]] = {}
    for record in content.records:
        key = json.dumps(record.environment.model_dump(mode="json"), sort_keys=True)
        _, commands, workloads = found.setdefault(key, (record.environment, {}, {}))
        commands[record.command] = None
        workloads[record.experiment.partition("/")[0]] = None
    rows = []
    for key, (_, commands, workloads) in found.items():
        facts = json.loads(key)
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        machine = f"{facts['processor']}, {facts['cores']} cores ({', '.join(facts['isa'])}), {facts['architecture']}"
        accelerator = f", {facts['accelerator']}" if facts["accelerator"] else ""
        code = joined([element("p", element("code", command)) for command in commands])
        rows.append((f"{machine}{accelerator}", f"{facts['system']}, Python {facts['python']}, {versions}",
                     ", ".join(workloads), code))  # fmt: skip
    several = f"These records are of {len(rows)} machines or versions; speeds of one are not those of another."
    warning = element("p", several, class_="warning") if len(rows) > 1 else None
    files = element("p", f"Read from: {', '.join(content.files)}") if content.files else None
    notes = [element("p", note) for note in content.notes]
    made = table("Machines", ("machine", "software", "workloads", "commands"), rows, hidden=True)
    return section("circumstances", "Machine, versions, commands", warning, made, files, notes)


def words_section() -> Html:
    """The words of the page in a sentence each."""
    return section("words", "Words", element("dl", [joined(element("dt", w), element("dd", s)) for w, s in WORDS]))
