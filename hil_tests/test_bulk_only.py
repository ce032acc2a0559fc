"""Bulk-Only Transport from both ends: the thirteen cases, and a host before a faulty drive."""

from collections.abc import Callable

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.usb.bulk_only import MAX_DATA_BYTES, BulkOnly
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.bot import Case, Cbw, Csw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.sense import INVALID_OPCODE, LBA_OUT_OF_RANGE, LOCKED
from firmware_model.wire.usb import SetupPacket
from hil_tests.ram_disk import (
    INQUIRY,
    TEST_UNIT_READY,
    UNKNOWN,
    VENDOR,
    RamDisk,
    RamDrive,
    read10,
    write10,
)
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.errors import BadCsw, Disconnected, DriveError, Stalled, Timeout, WrongTag
from host_driver.transport import ScsiStatus

BLOCK = bytes(range(256)) * 2
PASSED, FAILED, PHASE = CswStatus.PASSED, CswStatus.FAILED, CswStatus.PHASE_ERROR


# --- the drive's side ------------------------------------------------------------------------


def exchange(
    bulk: BulkOnly, cdb: bytes, host_in: int = 0, host_out: int = 0
) -> tuple[bytes | Handshake | None, int, CswStatus]:
    """Run one command as a host does; return its data phase, residue and status."""
    bulk.receive(Cbw(7, host_in or host_out, host_in > 0, 0, cdb).encode())
    moved: bytes | Handshake | None = None
    if host_in:
        moved = bulk.send(host_in)
        bulk.set_halt(ENDPOINT_IN, False)
    elif host_out:
        taken = bulk.receive((BLOCK * (host_out // 512 + 1))[:host_out])
        moved = taken if isinstance(taken, Handshake) else b""
        bulk.set_halt(ENDPOINT_OUT, False)
    status = bulk.send(13)
    assert isinstance(status, bytes)
    csw = Csw.decode(status)
    assert csw.tag == 7
    return moved, csw.residue, csw.status


STALL = Handshake.STALL
CASES = {
    "1 Hn=Dn": (TEST_UNIT_READY, 0, 0, None, 0, PASSED),
    "1 Hn=Dn refused": (UNKNOWN, 0, 0, None, 0, FAILED),
    "2 Hn<Di": (read10(0, 1), 0, 0, None, 0, PHASE),
    "3 Hn<Do": (write10(0, 1), 0, 0, None, 0, PHASE),
    "4 Hi>Dn": (TEST_UNIT_READY, 512, 0, STALL, 512, PASSED),
    "4 Hi>Dn refused": (read10(16, 1), 512, 0, STALL, 512, FAILED),
    "5 Hi>Di": (read10(0, 1), 1024, 0, bytes(512), 512, PASSED),
    "6 Hi=Di": (read10(0, 1), 512, 0, bytes(512), 0, PASSED),
    "7 Hi<Di": (read10(0, 2), 512, 0, STALL, 512, PHASE),
    "8 Hi<>Do": (write10(0, 1), 512, 0, STALL, 512, PHASE),
    "9 Ho>Dn": (TEST_UNIT_READY, 0, 512, STALL, 512, PASSED),
    "9 Ho>Dn refused": (UNKNOWN, 0, 512, STALL, 512, FAILED),
    "10 Ho<>Di": (read10(0, 1), 0, 512, STALL, 512, PHASE),
    "11 Ho>Do": (write10(0, 1), 0, 1024, b"", 512, PASSED),
    "12 Ho=Do": (write10(0, 1), 0, 512, b"", 0, PASSED),
    "12 Ho=Do refused": (write10(16, 1), 0, 512, b"", 512, FAILED),
    "13 Ho<Do": (write10(0, 2), 0, 512, STALL, 512, PHASE),
    "a vendor command takes what is announced": (VENDOR, 0, 64, b"", 0, PASSED),
}


@pytest.mark.parametrize("name", CASES)
def test_thirteen_cases(name: str) -> None:
    cdb, host_in, host_out, *expected = CASES[name]

    assert list(exchange(BulkOnly(RamDisk()), cdb, host_in, host_out)) == expected


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[-1] is PHASE])
def test_command_that_ends_in_a_phase_error_is_not_executed(name: str) -> None:
    disk = RamDisk()
    cdb, host_in, host_out, *_ = CASES[name]
    exchange(BulkOnly(disk), cdb, host_in, host_out)

    assert disk.executed == []


@pytest.mark.parametrize("name", CASES)
def test_next_command_works_after_each_case(name: str) -> None:
    bulk = BulkOnly(RamDisk())
    cdb, host_in, host_out, *_ = CASES[name]
    exchange(bulk, cdb, host_in, host_out)

    assert exchange(bulk, TEST_UNIT_READY) == (None, 0, PASSED)


@pytest.mark.parametrize("request_bytes", [512, 1024])
def test_data_in_short_of_what_was_announced_ends_in_a_halt(request_bytes: int) -> None:
    bulk = BulkOnly(RamDisk())
    bulk.receive(Cbw(1, 1024, True, 0, read10(0, 1)).encode())
    data, halted = bulk.send(request_bytes), bulk.send(13)
    bulk.set_halt(ENDPOINT_IN, False)

    assert (data, halted) == (bytes(512), STALL)
    assert bulk.send(13) == Csw(1, 512, PASSED).encode()


class NeverHalting(BulkOnlyRules):
    """Rules of a device that can't halt."""

    def halts(self, case: Case) -> bool:
        return False


def test_data_in_that_ends_short_without_a_halt_ends_in_an_empty_transfer() -> None:
    bulk = BulkOnly(RamDisk(), NeverHalting())
    bulk.receive(Cbw(1, 1024, True, 0, read10(0, 1)).encode())

    assert [bulk.send(512), bulk.send(512), bulk.send(13)] == [
        bytes(512),
        b"",
        Csw(1, 512, PASSED).encode(),
    ]


def test_data_out_may_come_in_several_transfers() -> None:
    disk = RamDisk()
    bulk = BulkOnly(disk)
    bulk.receive(Cbw(1, 1024, False, 0, write10(0, 2)).encode())
    bulk.receive(BLOCK)
    before = list(disk.executed)
    bulk.receive(BLOCK)

    assert before == []
    assert disk.executed == [(write10(0, 2), BLOCK * 2)]


def test_data_out_that_ends_early_is_a_phase_error_and_writes_nothing() -> None:
    disk = RamDisk()
    bulk = BulkOnly(disk)
    bulk.receive(Cbw(1, 1024, False, 0, write10(0, 2)).encode())
    bulk.receive(BLOCK[:100])

    assert bulk.send(13) == Csw(1, 1024, PHASE).encode()
    assert disk.executed == []


def test_surplus_of_any_length_is_told_as_residue_and_not_kept() -> None:
    length = MAX_DATA_BYTES + 1024
    disk = RamDisk()
    bulk = BulkOnly(disk)
    read = exchange(bulk, read10(0, 1), host_in=length)
    written = exchange(bulk, write10(0, 1), host_out=length)

    assert read == (bytes(512), length - 512, PASSED)
    assert written == (b"", length - 512, PASSED)
    assert disk.executed[-1] == (write10(0, 1), BLOCK)


def test_host_that_announces_more_than_any_drive_buffers_is_refused() -> None:
    bulk = BulkOnly(RamDisk())
    bulk.receive(Cbw(1, MAX_DATA_BYTES + 1, False, 0, VENDOR).encode())

    assert bulk.receive(BLOCK) is STALL


BAD_WRAPPERS = {
    "short": Cbw(1, 0, False, 0, TEST_UNIT_READY).encode()[:30],
    "of a wrong signature": b"USBS" + Cbw(1, 0, False, 0, TEST_UNIT_READY).encode()[4:],
    "for a LUN that is not there": Cbw(1, 0, False, 1, TEST_UNIT_READY).encode(),
}


@pytest.mark.parametrize("name", BAD_WRAPPERS)
def test_bad_wrapper_halts_both_ways_until_reset_recovery(name: str) -> None:
    bulk = BulkOnly(RamDisk())
    bulk.receive(BAD_WRAPPERS[name])
    for endpoint in bulk.endpoints:
        bulk.set_halt(endpoint, False)
    cleared_only = (bulk.send(13), bulk.receive(BLOCK))
    bulk.reset()
    reset_only = (bulk.send(13), bulk.receive(BLOCK))
    for endpoint in bulk.endpoints:
        bulk.set_halt(endpoint, False)

    assert cleared_only == reset_only == (STALL, STALL)
    assert exchange(bulk, TEST_UNIT_READY) == (None, 0, PASSED)


STEPS = st.one_of(
    st.tuples(st.just("out"), st.binary(max_size=40)),
    st.tuples(
        st.just("out"),
        st.builds(
            lambda length, is_in, lun, cdb: Cbw(9, length, is_in, lun, cdb).encode(),
            st.integers(0, 2048) | st.integers(0, 0xFFFF_FFFF),
            st.booleans(),
            st.sampled_from([0, 0, 0, 1]),
            st.sampled_from([read10(0, 1), write10(0, 2), TEST_UNIT_READY, INQUIRY, VENDOR])
            | st.binary(min_size=1, max_size=16),
        ),
    ),
    st.tuples(st.just("out"), st.just(BLOCK)),
    st.tuples(st.just("in"), st.integers(0, 2048)),
    st.tuples(st.just("clear"), st.sampled_from([ENDPOINT_IN, ENDPOINT_OUT])),
    st.tuples(st.just("reset"), st.just(0)),
)


@given(st.lists(STEPS, max_size=30))
def test_any_traffic_leaves_a_drive_that_reset_recovery_brings_back(
    steps: list[tuple[str, bytes | int]],
) -> None:
    drive = RamDrive()
    drive.bus(BusEvent.ATTACH)
    drive.control(SetupPacket(0x00, 9, 1, 0, 0))
    recovery = (
        SetupPacket(0x21, 0xFF, 0, 0, 0),
        SetupPacket(0x02, 1, 0, ENDPOINT_IN, 0),
        SetupPacket(0x02, 1, 0, ENDPOINT_OUT, 0),
    )
    for kind, value in steps:
        if isinstance(value, bytes):
            taken = drive.transfer_out(ENDPOINT_OUT, value)
            assert taken in (len(value), Handshake.NAK, STALL)
        elif kind == "in":
            given_back = drive.transfer_in(ENDPOINT_IN, value)
            assert isinstance(given_back, Handshake) or len(given_back) <= value
        elif kind == "clear":
            drive.control(SetupPacket(0x02, 1, 0, value, 0))
        else:
            drive.control(recovery[0])
    for setup in recovery:
        assert drive.control(setup) == 0
    assert exchange(drive.bulk_only, TEST_UNIT_READY) == (None, 0, PASSED)


# --- the host's side -------------------------------------------------------------------------


class FaultyDrive(RamDrive):
    """A drive on whose transfers a test may lay a hand."""

    def __init__(self) -> None:
        super().__init__()
        self.on_in: Callable[[bytes | Handshake], bytes | Handshake] = lambda answer: answer
        self.controls: list[SetupPacket] = []
        self.stalls_left = 0  # how many transfers from the drive will stall

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        if self.stalls_left:
            self.stalls_left -= 1
            return STALL
        return self.on_in(super().transfer_in(endpoint, length, stream))

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        self.controls.append(setup)
        return super().control(setup, data)

    def next_status(self, alter: Callable[[Csw], bytes | Handshake]) -> None:
        """Replace the next CSW."""

        def hand(answer: bytes | Handshake) -> bytes | Handshake:
            if isinstance(answer, bytes) and answer[:4] == b"USBS":
                self.on_in = lambda later: later
                return alter(Csw.decode(answer))
            return answer

        self.on_in = hand

    @property
    def resets(self) -> int:
        return sum(setup.request_type == 0x21 for setup in self.controls)


def opened(drive: RamDrive) -> BulkOnlyTransport:
    device = usb.core.find(backend=InProcess([drive]))
    assert device is not None
    return BulkOnlyTransport(device)


def test_what_was_written_is_read_back() -> None:
    transport = opened(RamDrive())
    written = transport.execute(write10(3, 2), data_out=BLOCK * 2)
    read = transport.execute(read10(3, 2), data_in_length=1024)

    assert written.status is read.status is ScsiStatus.GOOD
    assert (read.data, read.residue) == (BLOCK * 2, 0)


def test_refused_read_comes_with_its_sense() -> None:
    drive = RamDrive()
    drive.disk.is_locked = True
    completion = opened(drive).execute(read10(0, 1), data_in_length=512)

    assert completion.status is ScsiStatus.CHECK_CONDITION
    assert completion.sense == LOCKED
    assert (completion.data, completion.residue) == (b"", 512)


def test_refused_write_comes_with_its_sense() -> None:
    completion = opened(RamDrive()).execute(write10(16, 1), data_out=BLOCK)

    assert completion.sense == LBA_OUT_OF_RANGE


def test_refusal_without_data_comes_with_its_sense() -> None:
    transport = opened(RamDrive())

    assert transport.execute(UNKNOWN).sense == INVALID_OPCODE
    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


def test_write_whose_data_the_drive_stalls_still_gets_its_status() -> None:
    completion = opened(RamDrive()).execute(UNKNOWN, data_out=BLOCK)

    assert (completion.sense, completion.residue) == (INVALID_OPCODE, 512)


def test_residue_is_taken_off_padded_data() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.next_status(lambda csw: Csw(csw.tag, 10, PASSED).encode())
    completion = transport.execute(INQUIRY, data_in_length=36)

    assert completion.data == drive.disk.inquiry_data[:26]


def test_short_answer_is_given_as_short_as_it_came() -> None:
    drive = RamDrive()
    drive.disk.inquiry_data = drive.disk.inquiry_data[:5]
    completion = opened(drive).execute(INQUIRY, data_in_length=36)

    assert (len(completion.data), completion.residue) == (5, 31)


BAD_STATUS: dict[str, tuple[Callable[[Csw], bytes | Handshake], type[DriveError]]] = {
    "another tag": (lambda csw: Csw(csw.tag + 1, 0, PASSED).encode(), WrongTag),
    "a phase error": (lambda csw: Csw(csw.tag, 0, PHASE).encode(), BadCsw),
    "a short CSW": (lambda csw: csw.encode()[:12], BadCsw),
    "a wrong signature": (lambda csw: b"USBC" + csw.encode()[4:], BadCsw),
    "too large a residue": (lambda csw: Csw(csw.tag, 513, PASSED).encode(), BadCsw),
    "nothing": (lambda csw: Handshake.NAK, Timeout),
}


@pytest.mark.parametrize("name", BAD_STATUS)
def test_bad_status_is_an_error_after_reset_recovery(name: str) -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    alter, error = BAD_STATUS[name]
    drive.next_status(alter)
    with pytest.raises(error):
        transport.execute(read10(0, 1), data_in_length=512)

    assert drive.resets == 1
    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


def test_status_halted_twice_is_an_error_after_reset_recovery() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.stalls_left = 2
    with pytest.raises(Stalled, match="command 00h: the drive stalled"):
        transport.execute(TEST_UNIT_READY)

    assert drive.resets == 1


def test_status_halted_once_is_read_again() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.stalls_left = 1

    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


def test_unplugged_drive_is_gone() -> None:
    drive = RamDrive()
    transport = opened(drive)
    drive.bus(BusEvent.DETACH)

    with pytest.raises(Disconnected, match="the drive is gone"):
        transport.execute(TEST_UNIT_READY)


class SingleUnit(RamDrive):
    """A drive that has one logical unit and does not answer how many."""

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        return STALL if setup.request == 0xFE else super().control(setup, data)


@pytest.mark.parametrize("kind", [RamDrive, SingleUnit])
def test_drive_with_one_unit_may_stall_get_max_lun(kind: type[RamDrive]) -> None:
    assert opened(kind()).get_max_lun() == 0


def test_command_moves_data_one_way_only() -> None:
    with pytest.raises(ValueError, match="one way"):
        opened(RamDrive()).execute(INQUIRY, data_out=b"x", data_in_length=1)
