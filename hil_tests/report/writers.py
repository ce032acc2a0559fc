"""Reports as files: JSON for programs, JUnit's XML for build servers, HTML for people."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hil_tests.report.requirements import requirements
from hil_tests.report.values import Evaluation, Outcome, Verdict

JSON_VERSION = 1


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report is."""

    html: Path
    json: Path
    junit: Path


def write_all(evaluations: Sequence[Evaluation], folder: Path) -> Written:
    """Write all three files into a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(folder / "report.html", folder / "report.json", folder / "junit.xml")
    written.json.write_text(report_json(evaluations), "utf-8")
    written.junit.write_text(junit_xml(evaluations), "utf-8")
    written.html.write_text(report_html(evaluations), "utf-8")
    return written


def folder_name(target: str) -> str:
    """Return a name for a target's folder that any file system takes."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", target)


def report_json(evaluations: Sequence[Evaluation]) -> str:
    """Return the report for programs."""
    document = {"version": JSON_VERSION, "evaluations": [_as_json(each) for each in evaluations]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


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
        verdicts = evaluation.verdicts
        skipped = sum(each.outcome is Outcome.NOT_EXERCISED for each in verdicts)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(evaluation.target),
            tests=str(len(verdicts)),
            failures=str(len(evaluation.failed)),
            skipped=str(skipped),
            errors="0",
        )
        for verdict in verdicts:
            _junit_case(suite, verdict)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _junit_case(suite: ElementTree.Element, verdict: Verdict) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(verdict.block), name=verdict.property_id
    )
    if verdict.outcome is Outcome.NOT_EXERCISED:
        ElementTree.SubElement(case, "skipped", message=_xml(verdict.reason))
    for finding in verdict.findings:
        failure = ElementTree.SubElement(case, "failure", message=_xml(finding.said))
        replay = f"sedlab replay '{finding.replay_id}'"
        failure.text = _xml("\n".join((*finding.lines, "", replay)))


def _xml(text: str) -> str:
    """Return text without the characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def report_html(evaluations: Sequence[Evaluation]) -> str:
    """Return the report for people: one file, which asks for nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hil_tests", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("report.html.j2")
    text = template.render(
        evaluations=evaluations,
        requirements=requirements(),
        bearing=_bearing(evaluations),
        folder_name=folder_name,
        outcomes=Outcome,
    )
    return f"{text}\n"


def _bearing(evaluations: Sequence[Evaluation]) -> dict[str, list[str]]:
    """Return the properties that bear on each requirement."""
    bearing: dict[str, list[str]] = {}
    for verdict in evaluations[0].verdicts if evaluations else ():
        for requirement in verdict.requirements:
            bearing.setdefault(requirement, []).append(verdict.property_id)
    return bearing
