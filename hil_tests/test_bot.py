"""The thirteen cases and every recovery: what is broken is seen, what is right is not blamed."""

import json
from collections.abc import Iterator

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.defects import DEFECTS
from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.usb.descriptors import ENDPOINT_IN
from firmware_model.wire.bot import Case
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import SetupPacket
from hil_tests.actions import BOT_ORDERS, BOT_TROUBLES
from hil_tests.bot import cases, recovery
from hil_tests.bot.cases import CASES, Observation
from hil_tests.bot.link import RawLink
from hil_tests.bot.medium import BLOCKS, LBA, Medium
from hil_tests.command_line import FAST, Run
from hil_tests.ram_disk import RamDrive
from hil_tests.runs import Target
from host_driver.backends.in_process import InProcess
from host_driver.errors import Disconnected, DriveError, NotFound

TRANSPORT_DEFECTS = [name for name, each in DEFECTS.items() if "transport" in each.parts]
PIN = "840295713602"


def linked(url: str) -> tuple[RawLink, Medium | None]:
    """Return the endpoints of a fresh drive, open where its driver can open it."""
    bench = Target(url).bench()
    try:
        bench.host().set_pin(PIN)
        bench.host().unlock(PIN)
    except DriveError:
        bench.reconnect()
    link = RawLink(bench.raw_device())
    return link, Medium.of(link)


def observed(url: str) -> Iterator[Observation]:
    link, medium = linked(url)
    for case in CASES:
        if cases.lacking(case, medium) is None:
            yield cases.run(link, case, medium)


# --- what is right ---------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["native", "keypad", "plain"])
def test_reference_drive_ends_every_case_to_the_letter(profile: str) -> None:
    seen = list(observed(f"model:{profile}"))

    assert [each.case for each in seen] == list(CASES)
    assert {each.case.number for each in seen} == set(range(1, 14))
    assert [(each.case.name, each.faults + each.tolerated) for each in seen] == [
        (case.name, []) for case in CASES
    ]


@pytest.mark.parametrize("trouble", BOT_TROUBLES)
def test_reference_drive_is_recovered_in_every_order(trouble: str) -> None:
    link, medium = linked("model:native")
    seen = [recovery.recover(link, trouble, order, medium) for order in BOT_ORDERS]

    assert [(each.order, each.faults, each.unreached) for each in seen] == [
        (order, [], None) for order in BOT_ORDERS
    ]


def test_cases_leave_the_medium_as_it_was() -> None:
    bench = Target("model:plain").bench()
    content = bytes(range(256)) * 2 * (BLOCKS + 2)
    bench.host().write(LBA - 1, content)
    link = RawLink(bench.raw_device())
    medium = Medium.of(link)
    for case in CASES:
        cases.run(link, case, medium)
    for trouble in BOT_TROUBLES:
        recovery.recover(link, trouble, "io", medium)

    assert bench.host().read(LBA - 1, BLOCKS + 2) == content


def test_locked_drive_is_asked_only_what_takes_no_medium() -> None:
    link = RawLink(Target("model:native").bench().raw_device())
    medium = Medium.of(link)
    asked = {case.number for case in CASES if cases.lacking(case, medium) is None}

    assert medium is None
    assert asked == {1, 2, 4, 5, 6, 7, 9, 10}
    assert recovery.recover(link, "amid_data_in", "r", medium).unreached is not None


def test_read_only_drive_is_not_written() -> None:
    bench = Target("model:native").bench()
    bench.host().set_pin(PIN)
    bench.host().unlock(PIN)
    bench.host().set_read_only(True)
    medium = Medium.of(RawLink(bench.raw_device()))

    assert medium is not None
    assert {case.number for case in CASES if cases.lacking(case, medium)} == {3, 8, 11, 12, 13}


# --- what is broken --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken() -> dict[str, set[int]]:
    """Which cases each defect of the transport breaks."""
    return {
        name: {
            each.case.number
            for each in observed(f"model:{DEFECTS[name].profile}+{name}")
            if each.faults
        }
        for name in TRANSPORT_DEFECTS
    }


@pytest.mark.parametrize("number", range(1, 14))
def test_every_case_has_been_seen_to_fail(broken: dict[str, set[int]], number: int) -> None:
    assert any(number in numbers for numbers in broken.values())


def test_defects_break_the_cases_they_are_about_and_no_others(
    broken: dict[str, set[int]],
) -> None:
    assert broken["residue-not-told"] == {4, 5, 9, 11, 12}  # 12: where the WRITE is refused
    assert broken["disagreement-not-told"] == {2, 3, 7, 8, 10, 13}
    assert broken["status-in-place-of-data"] == {4, 7, 8}
    assert broken["surplus-never-taken"] == {9, 10, 13}
    assert broken["refusal-as-phase-error"] == {1, 4, 9, 12}
    assert broken["reset-clears-halts"] == broken["clear-halt-forgives"] == set()


@pytest.mark.parametrize("trouble", BOT_TROUBLES)
def test_recovery_from_every_trouble_has_been_seen_to_fail(trouble: str) -> None:
    found = set()
    for name in ("clear-halt-forgives", "reset-for-show", "reset-clears-halts"):
        link, medium = linked(f"model:native+{name}")
        for order in BOT_ORDERS:
            if recovery.recover(link, trouble, order, medium).faults:
                found.add(name)

    assert found


def test_command_behind_a_bad_wrapper_is_found_out_without_a_reset() -> None:
    link, medium = linked("model:native+clear-halt-forgives")
    said = {
        order: recovery.recover(link, "bad_wrapper", order, medium).faults for order in BOT_ORDERS
    }

    assert [order for order in BOT_ORDERS if said[order]][:3] == ["i", "ir", "io"]
    assert "a command was answered before any reset" in said["io"]


class Rules(BulkOnlyRules):
    """Rules of a device that can't halt where a case is `never`."""

    def __init__(self, *never: Case) -> None:
        self._never = never

    def halts(self, case: Case) -> bool:
        return case not in self._never and super().halts(case)


def link_to(drive: RamDrive) -> RawLink:
    device = usb.core.find(backend=InProcess([drive]))
    assert device is not None
    device.set_configuration()
    return RawLink(device)


def test_short_data_without_a_halt_is_tolerated_and_told() -> None:
    drive = RamDrive(rules=Rules(Case.HI_GT_DI))
    seen = cases.run(link_to(drive), cases.BY_NAME["hi_gt_di_inquiry"], None)

    assert (seen.faults, seen.moved, seen.halt_text) == ([], 36, "none")
    assert seen.tolerated == ["the data ends short of what was announced, without a halt"]


class Padding(RamDrive):
    """A drive that fills data up to what was announced, and halts nothing."""

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        answer = super().transfer_in(endpoint, length, stream)
        if isinstance(answer, bytes) and 13 < len(answer) < length:
            self.bulk_only.set_halt(ENDPOINT_IN, False)
            return answer.ljust(length, b"\0")
        return answer


def test_padded_data_is_as_specified() -> None:
    seen = cases.run(link_to(Padding()), cases.BY_NAME["hi_gt_di_inquiry"], None)

    assert (seen.faults, seen.tolerated) == ([], [])
    assert (seen.moved, seen.halt_text) == (96, "none")


# --- anything at all -------------------------------------------------------------------------


ANSWERS = st.lists(
    st.binary(max_size=64) | st.sampled_from((Handshake.STALL, Handshake.NAK, b"USBS" + bytes(9))),
    max_size=12,
)


class Scripted(RamDrive):
    """A drive whose endpoints answer as they like for a while."""

    def __init__(self, answers: list[bytes | Handshake]) -> None:
        super().__init__()
        self.answers = answers

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        if not self.answers:
            return super().transfer_in(endpoint, length, stream)
        answer = self.answers.pop()
        return answer[:length] if isinstance(answer, bytes) else answer

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        if self.answers and isinstance(self.answers[-1], Handshake):
            answer = self.answers.pop()
            assert isinstance(answer, Handshake)
            return answer
        return super().transfer_out(endpoint, data, stream)


@given(ANSWERS, st.sampled_from([case for case in CASES if case.needs is cases.Needs.NOTHING]))
def test_any_answers_are_an_observation(
    answers: list[bytes | Handshake], case: cases.BotCase
) -> None:
    seen = cases.run(link_to(Scripted(answers)), case, None)

    assert seen.moved <= case.host[1]


@given(ANSWERS, st.sampled_from(BOT_TROUBLES), st.sampled_from(BOT_ORDERS))
def test_any_answers_end_in_a_recovery(
    answers: list[bytes | Handshake], trouble: str, order: str
) -> None:
    seen = recovery.recover(link_to(Scripted(answers)), trouble, order, None)

    assert isinstance(seen.faults, list)


@given(ANSWERS)
def test_any_answers_are_a_medium_or_none(answers: list[bytes | Handshake]) -> None:
    medium = Medium.of(link_to(Scripted(answers)))

    assert medium is None or len(medium.before) == BLOCKS * 512


def test_drive_that_is_unplugged_is_gone() -> None:
    drive = RamDrive()
    link = link_to(drive)
    drive.bus(BusEvent.DETACH)

    with pytest.raises(Disconnected):
        cases.run(link, CASES[0], None)


class NoStorage(RamDrive):
    """A device whose interface is none of mass storage."""

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        answer = super().control(setup, data)
        is_configuration = (setup.request, setup.value >> 8) == (0x06, 0x02)
        if is_configuration and isinstance(answer, bytes):
            return answer[:14] + b"\x03" + answer[15:]
        return answer


def test_device_without_bulk_only_is_not_found() -> None:
    with pytest.raises(NotFound, match="no Bulk-Only"):
        link_to(NoStorage())


# --- the command -----------------------------------------------------------------------------


def test_table_has_a_row_for_each_case_and_a_line_for_each_trouble(run: Run) -> None:
    shown = run("bot-cases", "model:native")
    lines = shown.out.splitlines()

    assert shown.status == 0
    assert "   3  Hn 0     Do 512   WRITE                  0       0     02  none" in shown.out
    assert sum("as specified" in line for line in lines) == len(CASES) + len(BOT_TROUBLES)
    assert "bad_wrapper     16 orders of recovery: 16 as specified" in lines


def test_broken_case_is_said_and_ends_in_1(run: Run) -> None:
    shown = run("bot-cases", "model:native+residue-not-told", "--json")
    rows = json.loads(shown.out)["cases"]

    assert shown.status == 1
    assert {row["case"] for row in rows if row["verdict"] == "broken"} == {4, 5, 9, 11, 12}
    assert next(row for row in rows if row["name"] == "hi_gt_di") == {
        "case": 5,
        "name": "hi_gt_di",
        "command": "READ",
        "host": "Hi 1024",
        "device": "Di 512",
        "data_bytes": 512,
        "residue": 0,
        "status": 0,
        "halt": "data",
        "verdict": "broken",
        "said": ["residue 0, not 512"],
    }


def test_recovery_that_leads_elsewhere_is_shown_by_its_order(run: Run) -> None:
    shown = run("bot-cases", "model:native+reset-clears-halts")

    assert shown.status == 1
    assert "halted_in       16 orders of recovery: 13 as specified, 3 broken" in shown.out
    assert "    or    IN is not halted\n" in shown.out


def test_drive_that_stays_locked_is_not_exercised_where_it_takes_a_medium(run: Run) -> None:
    run("new", "a.sed", *FAST)
    run("set-pin", "a.sed", NEW_PIN=PIN)
    locked = run("bot-cases", "a.sed")
    opened = run("bot-cases", "a.sed", PIN_USER=PIN)

    assert (locked.status, opened.status) == (0, 0)
    assert "the drive is locked: give SEDLAB_PIN_USER: no case that takes" in locked.err
    assert "not exercised: it takes a medium that can be written" in locked.out
    assert "not exercised" not in opened.out
