"""SCSI as the driver speaks it: pieces, unit attentions, and refusals as exceptions."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from firmware_model.wire.native import PROTOCOL
from firmware_model.wire.security import SupportedProtocols
from firmware_model.wire.sense import (
    ACCESS_NOT_AUTHORIZED,
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LOCKED,
    MEDIUM_CHANGED,
    SELF_TEST_FAILED,
    WRITE_PROTECTED,
    Sense,
)
from host_driver.attachment import Attachment
from host_driver.drive import Drive
from host_driver.errors import (
    CommandRefused,
    DriveError,
    Locked,
    NotSupported,
    ProtocolError,
    SelfTestFailed,
    ShortData,
)
from host_driver.known_drives import IdentityCheck, KnownDrives
from host_driver.scsi import MAX_ATTENTIONS, ScsiDisk
from host_driver.transport import DEFAULT_TIMEOUT_MS, Completion, ScsiStatus


@dataclass
class Scripted:
    """A transport that answers what it was told to, and remembers what it was asked."""

    answers: list[bytes | Sense]
    asked: list[tuple[bytes, bytes, int]] = field(default_factory=list)

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        self.asked.append((cdb, data_out, data_in_length))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Sense):
            return Completion(ScsiStatus.CHECK_CONDITION, answer, b"", data_in_length)
        return Completion(ScsiStatus.GOOD, None, answer[:data_in_length], 0)

    def close(self) -> None:
        """There is nothing to close."""


def disk(*answers: bytes | Sense) -> tuple[ScsiDisk, Scripted]:
    transport = Scripted(list(answers))
    return ScsiDisk(transport), transport


def test_long_transfers_go_in_pieces_of_128_kib() -> None:
    reader, asked = disk(bytes(128 << 10))
    assert len(reader.read(8, 512)) == 512 * 512
    assert [cdb.hex() for cdb, _, _ in asked.asked] == [
        "28000000000800010000",
        "28000000010800010000",
    ]

    writer, asked = disk(b"")
    writer.write(0, bytes(512 * 300))
    assert [len(data) for _, data, _ in asked.asked] == [512 * 256, 512 * 44]


def test_addresses_beyond_32_bits_take_the_long_command() -> None:
    reader, asked = disk(bytes(512))
    reader.read((1 << 32) - 1, 1)
    reader.read(1 << 32, 1)

    assert [cdb[0] for cdb, _, _ in asked.asked] == [0x28, 0x88]


def test_unit_attention_is_heard_and_the_command_repeated() -> None:
    reader, asked = disk(MEDIUM_CHANGED, bytes(512))

    assert reader.read(0, 1) == bytes(512)
    assert len(asked.asked) == 2


def test_drive_that_only_has_attentions_is_given_up() -> None:
    reader, asked = disk(MEDIUM_CHANGED)

    with pytest.raises(CommandRefused):
        reader.read(0, 1)
    assert len(asked.asked) == MAX_ATTENTIONS


@pytest.mark.parametrize(
    ("sense", "error", "said"),
    [
        (LOCKED, Locked, "the drive is locked"),
        (ACCESS_NOT_AUTHORIZED, Locked, "the drive is locked"),  # as WD My Passport says it
        (SELF_TEST_FAILED, SelfTestFailed, "self-test"),
        (WRITE_PROTECTED, CommandRefused, "read-only"),
        (INVALID_OPCODE, NotSupported, "does not know"),
        (INVALID_FIELD_IN_CDB, CommandRefused, "ILLEGAL_REQUEST 24h/00h"),
        (LBA_OUT_OF_RANGE, CommandRefused, "ILLEGAL_REQUEST 21h/00h"),
    ],
)
def test_refusal_is_the_exception_it_stands_for(
    sense: Sense, error: type[DriveError], said: str
) -> None:
    refused, _ = disk(sense)

    with pytest.raises(error, match=said) as raised:
        refused.read(0, 1)
    assert raised.type is error
    assert raised.value.exit_status == 1


def test_short_and_shapeless_answers_are_protocol_errors() -> None:
    with pytest.raises(ShortData):
        disk(bytes(100))[0].read(0, 1)
    with pytest.raises(ShortData):
        disk(bytes(5))[0].capacity()
    with pytest.raises(ShortData):
        disk(bytes(5))[0].inquiry()
    with pytest.raises(ProtocolError):
        disk(b"\0" * 7 + b"\xff")[0].security_protocols()


def test_part_of_a_block_is_not_written() -> None:
    writer, asked = disk(b"")

    with pytest.raises(ValueError, match="not whole blocks"):
        writer.write(0, bytes(100))
    assert asked.asked == []


def test_capacity_of_a_large_drive_is_asked_for_again() -> None:
    large = (1 << 33).to_bytes(8, "big") + (512).to_bytes(4, "big") + bytes(20)
    asker, asked = disk(b"\xff\xff\xff\xff\0\0\x02\0", large)

    assert asker.capacity() == ((1 << 33) + 1, 512)
    assert [cdb[0] for cdb, _, _ in asked.asked] == [0x25, 0x9E]


@pytest.mark.parametrize("status", [b"no status of ours", INVALID_FIELD_IN_CDB])
def test_drive_with_another_vendors_protocol_of_that_number_is_an_ordinary_one(
    status: bytes | Sense,
) -> None:
    listed = SupportedProtocols((0, PROTOCOL)).encode()
    attachment = Attachment(Scripted([listed, status]), None, True, "A1", False, lambda: None)
    check = IdentityCheck("A1", KnownDrives(Path("nowhere")), is_trusted=False)

    assert Drive(attachment, check, bytes).dialect == "none"
