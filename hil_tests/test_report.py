"""Reports: what programs, build servers and people read of an evaluation."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hil_tests.actions import PINS
from hil_tests.command_line import Run
from hil_tests.properties import PROPERTIES
from hil_tests.report import console
from hil_tests.report.page import headline, report_html
from hil_tests.report.requirements import requirements
from hil_tests.report.values import Evaluation, Finding, Outcome, Verdict, folder_name
from hil_tests.report.writers import JSON_VERSION, junit_xml, report_json, write_all

ODD = """model:native+./<b>&'"`$(x).py:My"""  # a user may name a part like this


def finding(property_id: str, target: str, number: int = 1) -> Finding:
    return Finding(
        property_id=property_id,
        said=f"it broke & <told> {number}",
        replay_id=f"{property_id}:{target}:set_pin-user-0,lock",
        lines=("  1  set_pin-user-0    ok, state locked", "  2  lock    ok, <state> open"),
        trace=f"{property_id}-{number}.pcap",
    )


def evaluation(target: str = "model:native", failed: int = 1, expected: bool = False) -> Evaluation:
    """Return one whose first property failed so often, and whose second was not exercised."""
    broken, lacking = PROPERTIES[0].id, PROPERTIES[1].id
    verdicts = []
    for each in PROPERTIES:
        outcome = Outcome.PASSED
        if each.id == broken and failed:
            outcome = Outcome.FAILED
        elif each.id == lacking:
            outcome = Outcome.NOT_EXERCISED
        verdicts.append(
            Verdict(
                property_id=each.id,
                sentence=each.sentence,
                block=each.block.value,
                requirements=each.requirements,
                outcome=outcome,
                reason="the drive offers no PIN" if each.id == lacking else "",
                is_expected=expected and each.id == broken,
                runs=12,
                findings=tuple(finding(broken, target, n + 1) for n in range(failed))
                if outcome is Outcome.FAILED
                else (),
            )
        )
    figures = {"Power cuts": "80, at every step", "Guesses before the limit": "30 (10 + 10 + 10)"}
    return Evaluation(target, "A drive <of> ours", "2022-06-23", figures, tuple(verdicts))


# --- requirements -------------------------------------------------------------------------------


def test_every_requirement_of_a_property_is_in_the_list_and_no_other() -> None:
    named = {row_id for each in PROPERTIES for row_id in each.requirements}

    assert named == set(requirements())


def test_every_property_bears_on_a_requirement() -> None:
    assert [each.id for each in PROPERTIES if not each.requirements] == []


def test_every_requirement_has_a_source_and_one_sentence() -> None:
    for row in requirements().values():
        assert row.title and row.source
        assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", row.statement), row.statement


# --- values -------------------------------------------------------------------------------------


def test_summary_counts_what_became_of_the_properties() -> None:
    count = len(PROPERTIES)

    assert evaluation().summary == f"{count - 2} passed, 1 failed, 1 not exercised"
    assert evaluation(failed=0).summary == f"{count - 1} passed, 1 not exercised"


def test_control_that_fails_as_its_profile_says_is_told_as_such() -> None:
    assert evaluation(expected=True).is_as_expected
    assert not evaluation(failed=0, expected=True).is_as_expected
    assert not evaluation().is_as_expected


def test_replay_command_survives_a_shell_whatever_the_target_is_called() -> None:
    told = finding("limit-holds", ODD)

    assert shlex.split(told.command) == ["sedlab", "replay", told.replay_id]


def test_replay_command_has_the_options_that_reached_the_target() -> None:
    options = ("--operator", "my drive.sed", "--destroys-data")
    told = replace(finding("limit-holds", ODD), options=options)

    assert shlex.split(told.command) == ["sedlab", "replay", told.replay_id, *options]


@given(st.text())
def test_folder_of_a_target_has_a_name_that_any_file_system_takes(target: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9.+_-]*", folder_name(target))


# --- for programs -------------------------------------------------------------------------------


def test_json_holds_everything_and_its_version() -> None:
    document = json.loads(report_json([evaluation()]))
    judged = document["evaluations"][0]

    assert document["version"] == JSON_VERSION
    assert judged["target"] == "model:native"
    assert judged["passed"] is False
    assert judged["figures"]["Power cuts"] == "80, at every step"
    assert len(judged["verdicts"]) == len(PROPERTIES)
    assert judged["verdicts"][0]["outcome"] == "failed"
    assert judged["verdicts"][0]["findings"][0]["replay_id"].endswith("set_pin-user-0,lock")


# --- for build servers --------------------------------------------------------------------------


def test_junit_counts_agree_with_its_cases() -> None:
    suite = ElementTree.fromstring(junit_xml([evaluation()]))[0]

    assert suite.tag == "testsuite"
    assert suite.get("tests") == str(len(suite.findall("testcase"))) == str(len(PROPERTIES))
    assert suite.get("failures") == str(len(suite.findall("testcase/failure"))) == "1"
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped"))) == "1"


def test_junit_case_has_one_failure_with_every_replay_command() -> None:
    root = ElementTree.fromstring(junit_xml([evaluation(failed=3)]))
    failures = root.findall("testsuite/testcase/failure")

    assert len(failures) == 1
    assert (failures[0].text or "").count("sedlab replay '") == 3
    assert failures[0].get("message") == "it broke & <told> 1"


def test_junit_says_why_a_property_was_not_exercised() -> None:
    root = ElementTree.fromstring(junit_xml([evaluation()]))

    skipped = root.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert skipped.get("message") == "the drive offers no PIN"


def test_junit_cases_of_two_targets_are_different_tests() -> None:
    root = ElementTree.fromstring(junit_xml([evaluation(), evaluation("model:keypad")]))
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]

    assert len(set(names)) == len(names) == 2 * len(PROPERTIES)


@given(st.text())
def test_junit_is_xml_whatever_was_said(said: str) -> None:
    odd = replace(finding("limit-holds", said), said=said, lines=(said,))
    verdict = replace(evaluation().verdicts[0], findings=(odd,), reason=said)
    judged = replace(evaluation(said), verdicts=(verdict,), title=said, figures={said: said})

    root = ElementTree.fromstring(junit_xml([judged]).encode("utf-8", "replace"))

    assert root.find("testsuite/testcase/failure") is not None


# --- for people ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would make of a page."""

    VOID = frozenset(("meta", "br", "wbr", "path"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name in ("src", "srcset", "action", "data", "poster"):
                self.outside.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open):
            self.words += data


def test_page_asks_for_nothing_outside_itself() -> None:
    text = report_html([evaluation(failed=2), evaluation("model:plain", expected=True)])
    page = Page(text)

    assert page.outside == []
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "http://" not in text and "https://" not in text
    assert not re.search(r"url\(|@import", text)


def test_every_link_leads_somewhere() -> None:
    page = Page(report_html([evaluation(failed=2), evaluation("model:plain")]))
    inside = {link[1:] for link in page.links if link.startswith("#")}
    outside = {link for link in page.links if not link.startswith("#")}

    assert len(set(page.ids)) == len(page.ids)
    assert inside <= set(page.ids)
    assert outside == {
        f"traces/model_{name}/{PROPERTIES[0].id}-{number}.pcap"
        for name, number in (("native", 1), ("native", 2), ("plain", 1))
    }


def test_page_shows_every_property_finding_figure_and_requirement() -> None:
    page = Page(report_html([evaluation(failed=2)]))
    told = evaluation(failed=2).failed[0].findings

    for each in PROPERTIES:
        assert each.sentence in page.words
    for shown in ("80, at every step", "30 (10 + 10 + 10)", "A drive <of> ours", "2022-06-23"):
        assert shown in page.words
    for each_finding in told:
        assert each_finding.said in page.words
        assert each_finding.command in page.words
    for row in requirements().values():
        assert row.statement in page.words


def test_names_and_messages_cannot_become_markup() -> None:
    text = report_html([evaluation(ODD)])

    assert "<b>" not in text.split("<body>")[1].replace('<p class="eyebrow"><b>sedlab</b>', "")
    assert "<told>" not in text
    assert "it broke & <told> 1" in Page(text).words
    assert ODD in Page(text).words


@given(st.text(), st.text())
def test_page_is_whole_whatever_was_said(target: str, said: str) -> None:
    odd = replace(finding("limit-holds", target), said=said, lines=(said,), trace=said)
    verdict = replace(evaluation().verdicts[0], findings=(odd,), reason=said)
    judged = replace(evaluation(target), verdicts=(verdict,), title=said, figures={said: said})

    assert Page(report_html([judged])).outside == []  # and every tag was closed in its turn


@pytest.mark.parametrize(
    ("evaluations", "said"),
    [
        ([], "No drive was judged"),
        ([evaluation()], f"It broke 1 of {len(PROPERTIES) - 1} properties"),
        (
            [evaluation(failed=0)],
            f"It held in all {len(PROPERTIES) - 1} properties that could be judged",
        ),
        ([evaluation(failed=0), evaluation("model:plain")], "1 of 2 drives held"),
        ([evaluation(), evaluation("model:plain")], "None of 2 drives held"),
    ],
)
def test_headline_is_the_verdict(evaluations: list[Evaluation], said: str) -> None:
    assert headline(evaluations) == said


def test_requirement_shows_the_worst_of_its_properties_and_never_passes_unexercised() -> None:
    nothing = replace(
        evaluation(),
        verdicts=tuple(
            replace(each, outcome=Outcome.NOT_EXERCISED, findings=())
            for each in evaluation().verdicts
        ),
    )
    table = report_html([nothing]).split('id="requirements"')[1].split("</table>")[0]

    assert table.count('class="mark not-exercised"') == len(requirements())
    assert 'class="mark passed"' not in table


# --- on a terminal ------------------------------------------------------------------------------


def test_scorecard_tells_what_failed_and_why_something_was_not_exercised() -> None:
    printed = StringIO()

    Console(width=120, file=printed).print(console.scorecard(evaluation(ODD)))

    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert f"  FAIL {PROPERTIES[0].id}" in lines
    assert "       it broke & <told> 1" in lines
    assert f"  --   {PROPERTIES[1].id}: the drive offers no PIN" in lines
    assert f"{ODD}  A drive <of> ours" in lines
    assert lines[-1] == evaluation().summary


def test_terminal_gives_a_command_for_each_failed_property() -> None:
    judged = evaluation(failed=3)

    assert console.replays(judged) == [judged.failed[0].findings[0].command]


# --- files --------------------------------------------------------------------------------------


def test_same_evaluation_gives_the_same_files(tmp_path: Path) -> None:
    first = write_all([evaluation()], tmp_path / "one")
    second = write_all([evaluation()], tmp_path / "two")

    for one, two in zip(
        (first.html, first.json, first.junit), (second.html, second.json, second.junit), strict=True
    ):
        assert one.read_bytes() == two.read_bytes()


def test_target_that_is_no_text_is_still_reported(tmp_path: Path) -> None:
    written = write_all([evaluation("model:native+./\udcff.py:My")], tmp_path)

    assert "./?.py:My" in written.html.read_text("utf-8")
    ElementTree.parse(written.junit)
    assert json.loads(written.json.read_text("utf-8"))["version"] == JSON_VERSION


def test_evaluation_without_a_report_leaves_none_of_another_run(run: Run, tmp_path: Path) -> None:
    content, out = tmp_path / "content", tmp_path / "out"
    content.write_text(f"it holds {PINS[0]}, a PIN of the test")
    written = write_all([evaluation()], out)
    judged = run("evaluate", "model:plain", "--content", str(content), "--out", str(out))

    assert judged.status == 2
    assert not any(each.exists() for each in (written.html, written.json, written.junit))
