"""Verdicts as JUnit XML, which every CI service shows."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from quantbench.files import printable
from quantbench.records.run import RecordFile, VerdictRecord
from quantbench.stats.verdicts import Outcome


def junit(found: RecordFile) -> str:
    """One test case for each verdict: INCONCLUSIVE is skipped with its reason, and an error is one."""
    root = Element("testsuites", name="quantbench")
    for record in found.records:
        suite = SubElement(root, "testsuite", name=record.experiment)
        for verdict in record.verdicts:
            case = SubElement(suite, "testcase", classname=record.experiment, name=printable(verdict.quantity))
            words = _words(verdict)
            if verdict.outcome == Outcome.FAIL:
                SubElement(case, "failure", message=words)
            elif verdict.outcome == Outcome.INCONCLUSIVE:
                SubElement(case, "skipped", message=f"INCONCLUSIVE: {words}")
    for error in found.errors:
        suite = SubElement(root, "testsuite", name=printable(error.experiment))
        case = SubElement(suite, "testcase", classname=printable(error.experiment), name="measured")
        SubElement(case, "error", message=printable(error.reason))
    for i, line in enumerate(found.premises, 1):
        suite = SubElement(root, "testsuite", name="gates")
        case = SubElement(suite, "testcase", classname="gates", name=f"as accepted, {i}")
        SubElement(case, "failure", message=printable(line))
    for each in found.not_run:
        suite = SubElement(root, "testsuite", name=printable(each.experiment))
        case = SubElement(suite, "testcase", classname=printable(each.experiment), name="run")
        SubElement(case, "skipped", message=printable(each.reason))
    for suite in root:
        cases = list(suite)
        counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        suite.set("tests", str(len(cases)))
        for name, kind in counts.items():
            suite.set(name, str(sum(case.find(kind) is not None for case in cases)))
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _words(verdict: VerdictRecord) -> str:
    return printable(f"{verdict.measured}; required: {verdict.requirement}")
