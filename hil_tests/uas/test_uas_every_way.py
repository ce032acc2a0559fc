"""By whichever transport and at whichever speed, a drive is the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.wire import scsi
from firmware_model.wire.cdb import decode_cdb
from firmware_model.wire.native import State
from firmware_model.wire.scsi import Direction, ScsiStatus
from firmware_model.wire.sense import LOCKED, Sense
from hil_tests.uas.ways import (
    BLOCK,
    BULK_ONLY,
    WAYS,
    Way,
    host_of,
    made,
)
from hil_tests.updated_drives import GOOD as IMAGE


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("profile", ["native", "keypad", "plain"])
def test_drive_is_opened_written_read_and_closed(profile: str, name: str) -> None:
    drive, host = made(WAYS[name], profile)
    host.write(5, b"new" + BLOCK[3:])
    host.trim(6, 1)

    assert host.read(4, 3) == BLOCK + b"new" + BLOCK[3:] + bytes(512)
    if profile != "plain":
        host.lock()
        assert drive.firmware is not None and drive.firmware.state is State.LOCKED
        assert host.disk.transport.execute(bytes(6)).sense == LOCKED


@pytest.mark.parametrize("name", WAYS)
def test_large_data_goes_both_ways(name: str) -> None:
    _, host = made(WAYS[name])
    data = bytes(i * 31 >> 3 & 0xFF for i in range(1 << 20))
    host.write(100, data)

    assert host.read(100, 2048) == data


@pytest.mark.parametrize("name", WAYS)
def test_update_is_told_its_end_before_the_drive_leaves(name: str) -> None:
    drive, host = made(WAYS[name])
    host.update(IMAGE)
    after = host_of(drive, BULK_ONLY(drive)).status()

    assert after is not None
    assert str(after.version) == "1.1.0"


def read(size: int) -> st.SearchStrategy[bytes]:
    lba, count = st.integers(0, 70), st.integers(0, 4)
    return st.builds(lambda at, n: scsi.Read(at, n, size).encode(), lba, count)


def write(size: int) -> st.SearchStrategy[bytes]:
    lba, count = st.integers(0, 70), st.integers(0, 4)
    return st.builds(lambda at, n: scsi.Write(at, n, size).encode(), lba, count)


CDBS = st.one_of(
    read(10),
    read(16),
    write(10),
    write(16),
    st.sampled_from(
        [
            bytes(6),  # TEST UNIT READY
            bytes.fromhex("030000001200"),  # REQUEST SENSE
            bytes.fromhex("030100001200"),
            bytes.fromhex("120000002400"),  # INQUIRY
            bytes.fromhex("120100006000"),
            bytes.fromhex("120183006000"),
            bytes.fromhex("1201b200ff00"),
            bytes.fromhex("1201ee006000"),
            bytes.fromhex("1a003f00c000"),  # MODE SENSE
            bytes.fromhex("5a003f000000000000ff00"),
            bytes.fromhex("25000000000000000000"),  # READ CAPACITY
            bytes.fromhex("9e10000000000000000000000020" + "0000"),
            bytes.fromhex("a00000000000000000400000"),  # REPORT LUNS
            bytes.fromhex("a20000000000000002000000"),  # SECURITY PROTOCOL IN
            bytes.fromhex("a2f00000000000000200" + "0000"),
            bytes.fromhex("b5f00001000000000020" + "0000"),  # and OUT
            bytes.fromhex("35000000000000000000"),  # SYNCHRONIZE CACHE
            bytes.fromhex("2f000000000000000400"),  # VERIFY
            bytes.fromhex("42000000000000001800"),  # UNMAP
            bytes.fromhex("1e0000000100"),  # PREVENT ALLOW
            bytes.fromhex("1b0000000200"),  # START STOP UNIT
            bytes.fromhex("1b0000000100"),
        ]
    ),
    # A shorter one that is cut off is another command by UAS, which fills up what it carries. And
    # by Bulk-Only there are no persistent reservations, nor are they among what is supported.
    st.binary(min_size=16, max_size=16).filter(
        lambda cdb: cdb[0] < 0xC0 and cdb[0] not in (0x5E, 0x5F, 0xA3)
    ),
)


def data_of(cdb: bytes, filling: int) -> tuple[bytes, int]:
    """Return data-out and room for data-in, as a host would announce for a command it knows."""
    command = decode_cdb(cdb)
    if isinstance(command, Sense):
        return b"", 0
    transfer = command.transfer
    length = min(transfer.length or 0, 1 << 20)
    if transfer.direction is Direction.OUT:
        return bytes((filling,)) * length, 0
    return b"", length if transfer.direction is Direction.IN else 0


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(st.tuples(CDBS, st.integers(0, 0xFF)), min_size=1, max_size=12))
def test_same_commands_get_the_same_answers_by_every_way(
    is_open: bool, commands: list[tuple[bytes, int]]
) -> None:
    def answers(way: Way) -> list[tuple[ScsiStatus, Sense | None, bytes]]:
        _, host = made(way, is_open=is_open)
        transport = host.disk.transport
        found = []
        for cdb, filling in commands:
            data_out, in_length = data_of(cdb, filling)
            ended = transport.execute(cdb, data_out, in_length)
            # A REQUEST SENSE that failed has none by Bulk-Only: nobody asks about it.
            sense = None if cdb[0] == scsi.Opcode.REQUEST_SENSE else ended.sense
            found.append((ended.status, sense, ended.data))
        return found

    expected = answers(BULK_ONLY)
    for name, way in WAYS.items():
        assert answers(way) == expected, name
