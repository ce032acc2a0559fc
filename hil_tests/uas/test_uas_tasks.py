"""Commands that wait, and task management, from the drive's side of UAS."""

import pytest

from firmware_model.wire.function import Handshake
from firmware_model.wire.reports import TASK_FUNCTIONS
from firmware_model.wire.sense import INVALID_MESSAGE, NEXUS_LOSS, UNIT_RESET
from firmware_model.wire.uas import (
    CommandIu,
    ResponseCode,
    ResponseIu,
    TaskAttribute,
    TaskFunction,
    TaskManagementIu,
)
from firmware_model.wire.usb import Speed
from hil_tests.ram_disk import TEST_UNIT_READY, read10, write10
from hil_tests.uas.bench import CHECK, COMPLETE, GOOD, SUCCEEDED, Bench, finish, held, order
from hil_tests.uas.host import COMMAND, STATUS, Ended


def test_queued_commands_are_answered_by_tag(on: Bench) -> None:
    for block in range(16):
        on.disk.blocks[block * 512] = block
    held(on)
    for tag in range(1, 11):
        on.host.queue(tag, read10(tag, 1), in_length=512)
    before = order(on)
    on.host.give_data(32)

    assert before == []
    assert [on.host.take(tag).data[0] for tag in range(1, 11)] == list(range(1, 11))
    assert on.host.take(32) == Ended(GOOD)
    assert order(on) == list(range(1, 11))


def test_command_for_the_head_of_the_queue_overtakes(waiting: Bench) -> None:
    ended = finish(waiting)

    assert order(waiting) == [3, 1, 2]
    assert [one.status for one in ended] == [GOOD] * 3


def test_attribute_of_a_condition_that_there_is_not_is_refused(on: Bench) -> None:
    on.host.queue(1, read10(0, 1), in_length=512, attribute=TaskAttribute.ACA)

    assert on.host.take(1) == Ended(CHECK, INVALID_MESSAGE)
    assert on.disk.executed == []


def test_aborted_command_is_not_obeyed_and_not_answered(waiting: Bench) -> None:
    code = waiting.host.manage(TaskFunction.ABORT_TASK, 1, tag=31)
    first, second, third = finish(waiting)

    assert code is COMPLETE
    assert (first, second.status, third.status) == (Ended(), GOOD, GOOD)
    assert order(waiting) == [3, 2]


def test_aborting_the_command_whose_data_is_awaited_lets_the_next_go_on(waiting: Bench) -> None:
    code = waiting.host.manage(TaskFunction.ABORT_TASK, 32, tag=31)

    assert code is COMPLETE
    assert [waiting.host.take(tag).status for tag in (32, 1, 2, 3)] == [None, GOOD, GOOD, GOOD]
    assert [cdb for cdb, _ in waiting.disk.executed if cdb[0] == 0x2A] == []


def test_nothing_is_heard_of_an_aborted_command_that_had_begun() -> None:
    drive = Bench(Speed.HIGH).drive
    drive.transfer_out(COMMAND, CommandIu(1, TEST_UNIT_READY).encode())
    drive.transfer_out(COMMAND, CommandIu(2, write10(0, 1)).encode())
    for tag in (1, 2):
        drive.transfer_out(COMMAND, TaskManagementIu(9, TaskFunction.ABORT_TASK, tag).encode())
    units = [drive.transfer_in(STATUS, 112) for _ in range(3)]

    assert units == [ResponseIu(9, COMPLETE).encode()] * 2 + [Handshake.NAK]


def test_aborting_what_there_is_not_is_no_error(on: Bench) -> None:
    assert on.host.manage(TaskFunction.ABORT_TASK, 9) is COMPLETE


ALL_ABORTED = {
    TaskFunction.ABORT_TASK_SET: [],
    TaskFunction.CLEAR_TASK_SET: [],
    TaskFunction.LOGICAL_UNIT_RESET: [UNIT_RESET],
    TaskFunction.I_T_NEXUS_RESET: [NEXUS_LOSS],
}


@pytest.mark.parametrize("function", ALL_ABORTED)
def test_all_commands_end_unanswered_and_the_unit_is_reset_where_that_is_meant(
    waiting: Bench, function: TaskFunction
) -> None:
    code = waiting.host.manage(function, tag=31)
    after = waiting.host.execute(TEST_UNIT_READY)

    assert code is COMPLETE
    assert [waiting.host.take(tag) for tag in (1, 2, 3, 32)] == [Ended()] * 4
    assert (after, order(waiting)) == (Ended(GOOD), [])
    assert waiting.disk.resets == ALL_ABORTED[function]


def test_query_tells_whether_a_command_is_there(waiting: Bench) -> None:
    host = waiting.host
    during = [host.manage(TaskFunction.QUERY_TASK, tag, tag=31) for tag in (1, 9, 32)]
    during.append(host.manage(TaskFunction.QUERY_TASK_SET, tag=31))
    finish(waiting)
    after = [host.manage(TaskFunction.QUERY_TASK, 1), host.manage(TaskFunction.QUERY_TASK_SET)]

    assert during == [SUCCEEDED, COMPLETE, SUCCEEDED, SUCCEEDED]
    assert after == [COMPLETE, COMPLETE]


def test_command_is_there_until_its_status_was_fetched() -> None:
    bench = Bench(Speed.SUPER)
    bench.drive.transfer_out(COMMAND, CommandIu(7, TEST_UNIT_READY).encode())
    before = bench.host.manage(TaskFunction.QUERY_TASK, 7)
    bench.drive.transfer_in(STATUS, 16, 7)

    assert before is SUCCEEDED
    assert bench.host.manage(TaskFunction.QUERY_TASK, 7) is COMPLETE


@pytest.mark.parametrize(("waiting", "depth"), [(1, 0x1), (2, 0x2), (3, 0x2)])
def test_what_unit_attention_waits_is_told_and_still_waits(
    on: Bench, waiting: int, depth: int
) -> None:
    on.disk.attentions = waiting
    code = on.host.manage(TaskFunction.QUERY_ASYNCHRONOUS_EVENT)
    response = on.host.units[-1]

    assert code is ResponseCode.FUNCTION_SUCCEEDED
    assert isinstance(response, ResponseIu)
    assert response.information == depth << 20 | 0x06_29_00
    assert on.disk.attentions == waiting


def test_no_unit_attention_is_told_where_none_waits(on: Bench) -> None:
    code = on.host.manage(TaskFunction.QUERY_ASYNCHRONOUS_EVENT)

    assert code is ResponseCode.FUNCTION_COMPLETE
    assert on.host.units[-1] == ResponseIu(on.host.units[-1].tag, code)


@pytest.mark.parametrize("function", [0x00, TaskFunction.CLEAR_ACA, 0xFF])
def test_function_that_there_is_not_is_not_supported(on: Bench, function: int) -> None:
    assert on.host.manage(function) is ResponseCode.FUNCTION_NOT_SUPPORTED


REPORTED = {  # by byte and bit (SPC-4 table 208)
    (0, 7): TaskFunction.ABORT_TASK,
    (0, 6): TaskFunction.ABORT_TASK_SET,
    (0, 5): TaskFunction.CLEAR_ACA,
    (0, 4): TaskFunction.CLEAR_TASK_SET,
    (0, 3): TaskFunction.LOGICAL_UNIT_RESET,
    (0, 2): TaskFunction.QUERY_TASK,
    (1, 2): TaskFunction.QUERY_ASYNCHRONOUS_EVENT,
    (1, 1): TaskFunction.QUERY_TASK_SET,
    (1, 0): TaskFunction.I_T_NEXUS_RESET,
}


@pytest.mark.parametrize(("byte", "bit"), REPORTED)
def test_functions_that_the_unit_reports_are_those_that_are_there(
    on: Bench, byte: int, bit: int
) -> None:
    is_reported = bool(TASK_FUNCTIONS[byte] >> bit & 1)
    code = on.host.manage(REPORTED[byte, bit])

    assert is_reported is (code is not ResponseCode.FUNCTION_NOT_SUPPORTED)


def test_function_for_another_unit_is_refused(on: Bench) -> None:
    code = on.host.manage(TaskFunction.LOGICAL_UNIT_RESET, lun=1 << 48)

    assert code is ResponseCode.INCORRECT_LOGICAL_UNIT_NUMBER
    assert on.disk.resets == []
