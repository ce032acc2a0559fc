"""Bulk-Only as the drive speaks it: BOT 1.0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.usb.bulk_only import MAX_DATA_BYTES, BulkOnly
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.bot import Case, Cbw, Csw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
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

BLOCK = bytes(range(256)) * 2
PASSED, FAILED, PHASE = CswStatus.PASSED, CswStatus.FAILED, CswStatus.PHASE_ERROR


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
