"""Guests of USB redirection that say anything, and what must hold meanwhile.

`python -m hil_tests.redirection.fuzz [PACKETS]` goes on until so many were answered or refused.
"""

from __future__ import annotations

import itertools
import struct
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, TypeVar

from firmware_model.hardware.entropy import SeededNoise
from firmware_model.serve.port import Port
from firmware_model.usb.descriptors import PIPES, STREAM_COUNT
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import UsbFunction
from firmware_model.wire.uas import CommandIu, PipeId, TaskFunction, TaskManagementIu
from firmware_model.wire.usb import Speed
from firmware_model.wire.usbredir import Body, Capability, PacketType, endpoint_index
from firmware_model.wire.usbredir_device import SetAltSetting
from firmware_model.wire.usbredir_packets import GUEST_PACKETS
from firmware_model.wire.usbredir_transfers import (
    AllocBulkStreams,
    BulkPacket,
    ControlPacket,
    InterruptPacket,
    IsoPacket,
    StartBulkReceiving,
    StopBulkReceiving,
    has_data,
)
from hil_tests.ram_disk import INQUIRY, RamDrive, read10, write10
from hil_tests.redirection.guest import (
    IN,
    OUT,
    PATIENCE_S,
    QEMU,
    Guest,
    Redirecting,
    is_free,
    redirecting,
    works,
)

PACKETS_A_SESSION: Final = 60
DATA_BYTES_MAX: Final = 70_000  # that a guest really sends in one packet
NUMBERS: Final = (0, 0, 1, 1, 2, 3, 13, 31, 36, IN, OUT, 255, 512, 8192, 65535, 1 << 20, 1 << 31)
CDBS: Final = (INQUIRY, read10(0, 16), write10(2, 4), bytes(6), b"\xff" * 10)
BODIES: Final = tuple(
    kind
    for kind in GUEST_PACKETS.values()
    if kind is not None and kind not in (StartBulkReceiving, StopBulkReceiving)
)
TAGS: Final = (0, 1, 2, 3, STREAM_COUNT, STREAM_COUNT + 1)
STREAMED: Final = sum(
    1 << endpoint_index(PIPES[each]) for each in PipeId if each is not PipeId.COMMAND
)
BARE: Final = (PacketType.RESET, PacketType.GET_CONFIGURATION, PacketType.DEVICE_DISCONNECT_ACK)
LAST: Final = 0xFFFF_FFFF  # id of the question whose answer ends a session
C = TypeVar("C")


def at_superspeed(function: UsbFunction) -> Port:
    """Plug it in where there are streams."""
    return Port(function, Speed.SUPER)


class Chance:
    """Decides, as a seed wants it."""

    def __init__(self, seed: int) -> None:
        self._noise = SeededNoise(b"redirection", seed << 32)

    def below(self, count: int) -> int:
        """Return a number from 0 on."""
        return int.from_bytes(self._noise.samples(4), "big") % count

    def one_of(self, choices: Sequence[C]) -> C:
        """Return one of them."""
        return choices[self.below(len(choices))]

    def data(self, count: int) -> bytes:
        """Return bytes."""
        return self._noise.samples(count)


@dataclass(slots=True)
class Heard:
    """What a host said to a guest, in a thread of its own."""

    guest: Guest
    answers: Counter[int] = field(default_factory=Counter)  # to data packets, by id
    count: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    is_sent_away: bool = False

    def listen(self) -> None:
        """Hear all there is, until the last answer or the end."""
        try:
            while True:
                told = self.guest.receive()
                self.count += 1
                if isinstance(told.body, BulkPacket | ControlPacket | InterruptPacket):
                    self.answers[told.id] += 1
                elif told.id == LAST:
                    break
        except OSError:
            self.is_sent_away = True
        self.is_over.set()


class Fuzzed:
    """A guest that says anything; every data packet must be answered once."""

    def __init__(self, chance: Chance, guest: Guest) -> None:
        self.chance = chance
        self.guest = guest
        self.sent: list[int] = []  # ids of data packets

    def say_something(self) -> None:
        """Send one packet, or what is none."""
        choice = self.chance.below(200)
        if choice < 110:
            self._transfer()
        elif choice < 150:
            self._body()
        elif choice < 165:
            self.guest.signal(self.chance.one_of(BARE), self.chance.below(1 << 16))
        elif choice < 199:
            number = self.chance.one_of(self.sent) if self.sent else 1
            self.guest.signal(PacketType.CANCEL_DATA_PACKET, number)
        else:
            self.guest.stream.sendall(self.chance.data(1 + self.chance.below(64)))

    def _transfer(self) -> None:
        """Do what hosts of drives do, in any order."""
        chance = self.chance
        match chance.below(10):
            case 0:
                length = chance.one_of(NUMBERS)
                cbw = Cbw(1, length, bool(chance.below(2)), 0, chance.one_of(CDBS))
                self.sent.append(self.guest.write(cbw.encode()))
            case 1:
                self.sent.append(self.guest.write(chance.data(chance.one_of((0, 13, 512, 8192)))))
            case 2 | 3:
                self.sent.append(self.guest.read(self._length()))
            case 4:
                self._send(ControlPacket(0x80, 6, 0x80, 0, chance.one_of((0x100, 0x300)), 0, 255))
            case _:
                self._transfer_by_uas()

    def _transfer_by_uas(self) -> None:
        """Do what hosts do that use streams, in any order."""
        chance, guest = self.chance, self.guest
        tag = chance.one_of(TAGS)
        match chance.below(6):
            case 0:
                guest.send(SetAltSetting(0, chance.one_of((1, 1, 1, 0))))
            case 1:
                guest.send(AllocBulkStreams(STREAMED, STREAM_COUNT))
            case 2 | 3:
                function = chance.one_of((*TaskFunction, 0))
                unit = chance.one_of(
                    (
                        CommandIu(tag, chance.one_of(CDBS)).encode(),
                        TaskManagementIu(tag, function, chance.one_of(TAGS)).encode(),
                    )
                )
                self.sent.append(guest.write(unit, endpoint=PIPES[PipeId.COMMAND]))
            case 4:
                pipe = chance.one_of((PipeId.STATUS, PipeId.STATUS, PipeId.DATA_IN))
                self.sent.append(guest.read(self._length(), tag, PIPES[pipe]))
            case _:
                data = chance.data(chance.one_of((0, 512, 2048)))
                self.sent.append(guest.write(data, tag, PIPES[PipeId.DATA_OUT]))

    def _length(self) -> int:
        length = self.chance.one_of(NUMBERS)
        return length if self.guest.agreed.bulk_length_32bits else length & 0xFFFF

    def _body(self) -> None:
        """Send any packet there is, with any fields."""
        kind = self.chance.one_of(BODIES)
        values = [self.chance.one_of(NUMBERS) for _ in fields(kind)]
        for mask in (0xFFFF_FFFF, 0xFFFF, 0xFF):  # the widest that fits into every field
            body = kind(*(each & mask for each in values))
            with suppress(struct.error):
                body.encode(self.guest.agreed)
                self._send(body)
                return

    def _send(self, body: Body) -> None:
        if not isinstance(body, BulkPacket | ControlPacket | InterruptPacket | IsoPacket):
            self.guest.send(body)
            return
        data_bytes = body.length if has_data(body.endpoint, is_from_guest=True) else 0
        if data_bytes <= DATA_BYTES_MAX:
            number = self.guest.send(body, bytes(data_bytes))
            if not isinstance(body, IsoPacket):
                self.sent.append(number)

    def end(self) -> None:
        """Take back what waits, and ask the question that ends it."""
        for number in self.sent:
            self.guest.signal(PacketType.CANCEL_DATA_PACKET, number)
        self.guest.signal(PacketType.GET_CONFIGURATION, LAST)


def fuzz(served: Redirecting, seed: int, packets: int = PACKETS_A_SESSION) -> int:
    """Run one session; return how many packets were answered or refused.

    Raises AssertionError where one was answered twice, or not at all though the session went on.
    """
    chance = Chance(seed)
    capabilities = Capability(QEMU & ~chance.below(256)) if chance.below(2) else QEMU
    with served.guest(capabilities) as guest:
        guest.greet()
        heard = Heard(guest)
        listener = threading.Thread(target=heard.listen)
        listener.start()
        fuzzed = Fuzzed(chance, guest)
        with suppress(OSError):
            for _ in range(packets):
                fuzzed.say_something()
            fuzzed.end()
        heard.is_over.wait(PATIENCE_S)
        assert heard.is_over.is_set(), f"seed {seed}: neither answered nor sent away"
        listener.join()
    expected = Counter(fuzzed.sent)
    doubled = heard.answers - expected
    missing = expected - heard.answers
    assert not doubled, f"seed {seed}: answered twice: {doubled}"
    assert heard.is_sent_away or not missing, f"seed {seed}: not answered: {missing}"
    return heard.count + heard.is_sent_away


def serves_the_next(served: Redirecting) -> bool:
    """Whether a guest that comes now can use the drive."""
    if not is_free(served):
        return False
    with served.using() as guest:
        is_working = works(guest)
    return is_working and is_free(served)


def main() -> None:
    """Fuzz, and print how it went."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    count = sessions = refused = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        redirecting(RamDrive(), Path(folder, "socket"), at_superspeed) as served,
    ):
        for seed in itertools.count():
            count += fuzz(served, seed)
            sessions += 1
            if not serves_the_next(served):
                sys.exit(f"seed {seed}: the drive is gone")
            if count >= wanted:
                break
        refused = sum("no USB redirection" in line for line in served.told)
    print(f"{count} packets answered or refused in {sessions} sessions, {refused} ended by refusal")


if __name__ == "__main__":
    main()
