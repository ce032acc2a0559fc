"""Reports as files: JSON for programs, JUnit's XML for build servers, HTML for people."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

from hil_tests.report.page import report_html
from hil_tests.report.values import Evaluation, Outcome, Verdict, folder_name

__all__ = [
    "Written",
    "folder_name",
    "junit_xml",
    "report_html",
    "report_json",
    "withdraw",
    "write_all",
]

JSON_VERSION = 1


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report is."""

    html: Path
    json: Path
    junit: Path

    @classmethod
    def inside(cls, folder: Path) -> Self:
        """Return where it is in a folder."""
        return cls(folder / "report.html", folder / "report.json", folder / "junit.xml")


def withdraw(folder: Path) -> None:
    """Remove the report of another run: where this one makes none, it would be taken for it."""
    written = Written.inside(folder)
    for path in (written.html, written.json, written.junit):
        path.unlink(missing_ok=True)


def write_all(evaluations: Sequence[Evaluation], folder: Path) -> Written:
    """Write all three files into a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    written = Written.inside(folder)
    for path, text in (
        (written.json, report_json(evaluations)),
        (written.junit, junit_xml(evaluations)),
        (written.html, report_html(evaluations)),
    ):
        # A target's name may hold bytes that are no text: they are shown as question marks.
        path.write_bytes(text.encode("utf-8", "replace"))
    return written


def report_json(evaluations: Sequence[Evaluation]) -> str:
    """Return the report for programs."""
    document = {"version": JSON_VERSION, "evaluations": [_as_json(each) for each in evaluations]}
    return json.dumps(document, indent=2) + "\n"


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    verdicts = [{**asdict(each), "outcome": each.outcome.value} for each in evaluation.verdicts]
    return {
        "target": evaluation.target,
        "title": evaluation.title,
        "date": evaluation.date,
        "passed": not evaluation.failed,
        "summary": evaluation.summary,
        "figures": dict(evaluation.figures),
        "verdicts": verdicts,
    }


def junit_xml(evaluations: Sequence[Evaluation]) -> str:
    """Return the report for build servers: a suite for each target, a case for each property."""
    root = ElementTree.Element("testsuites", name="sedlab")
    for evaluation in evaluations:
        outcomes = [each.outcome for each in evaluation.verdicts]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(evaluation.target),
            timestamp=_xml(f"{evaluation.date}T00:00:00"),  # the day; a report holds no time
            tests=str(len(outcomes)),
            failures=str(outcomes.count(Outcome.FAILED)),
            skipped=str(outcomes.count(Outcome.NOT_EXERCISED)),
            errors="0",
        )
        properties = ElementTree.SubElement(suite, "properties")
        for name, text in evaluation.figures.items():
            ElementTree.SubElement(properties, "property", name=_xml(name), value=_xml(text))
        for verdict in evaluation.verdicts:
            _junit_case(suite, evaluation.target, verdict)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _junit_case(suite: ElementTree.Element, target: str, verdict: Verdict) -> None:
    """Add a case. Build servers show one failure a case, so all findings stand in one."""
    # A class for each target: servers keep the history of a test by its class and name.
    class_name = f"sedlab.{target.replace('.', '_')}"
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(class_name), name=_xml(verdict.property_id)
    )
    if verdict.outcome is Outcome.NOT_EXERCISED:
        ElementTree.SubElement(case, "skipped", message=_xml(verdict.reason))
    if verdict.outcome is Outcome.FAILED:
        said = verdict.findings[0].said if verdict.findings else verdict.reason
        failure = ElementTree.SubElement(case, "failure", type="finding", message=_xml(said))
        told = ["\n".join((each.said, *each.lines, each.command)) for each in verdict.findings]
        failure.text = _xml("\n\n".join((verdict.sentence, *told)))


def _xml(text: str) -> str:
    """Return text without the characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
