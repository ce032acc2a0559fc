"""A USB/IP server under clients that say anything: `python -m hil_tests.fuzz_usbip [MESSAGES]`.

Sessions of good, bent and random messages go on until so many were answered, or refused by the end
of the session. All the while somebody else reads and writes the drive beside; both drives are
looked at between the sessions.
"""

from __future__ import annotations

import random
import resource
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from firmware_model.wire.bot import Cbw
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.stream import receive
from firmware_model.wire.usbip import OpCode, OpHeader, OpStatus
from firmware_model.wire.usbip_urb import (
    HEADER_BYTES,
    CmdSubmit,
    CmdUnlink,
    RetSubmit,
    RetUnlink,
    decode_command,
    decode_reply,
)
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, RamDrive, read10, write10
from hil_tests.served import RawClient, Serving, serving

MESSAGES: Final = 100_000
SESSION_MESSAGES: Final = 200  # at most
PING: Final = 0xFFFF_FFF0  # number of the CMD_UNLINK that shows how far the server has come
BUSIDS: Final = ("1-1", "1-1", "1-1", "1-9", "")
LENGTHS: Final = (0, 1, 13, 31, 36, 512, 513, 4096, 8192)
HUGE: Final = (17 << 20, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


class Fuzzer:
    """Sessions of one client, as a seed has it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.tally: Counter[str] = Counter()  # of messages, by what became of them; of sessions
        self._waiting: dict[int, int] = {}  # submitted and not answered: bytes that IN may bring

    @property
    def count(self) -> int:
        """How many messages were answered or refused."""
        return self.tally["answered"] + self.tally["refused"]

    def session(self, address: tuple[str, int]) -> None:
        """Connect, say things, and go or be sent away."""
        self.tally["sessions"] += 1
        self._waiting = {}
        with RawClient(address) as client:
            if not self._begin(client):
                return
            for _ in range(self.chance.randrange(1, SESSION_MESSAGES)):
                was_answered = False
                with suppress(ConnectionError):
                    was_answered = self._exchange(client)
                self.tally["answered" if was_answered else "refused"] += 1
                if not was_answered:
                    return

    def _begin(self, client: RawClient) -> bool:
        """Import the device, or say something else; return whether it was given."""
        kind = self.chance.randrange(8)
        if kind == 0:
            client.say(self.chance.randbytes(self.chance.randrange(1, 60)))
            self.tally["refused"] += 1
            return False
        if kind == 1:
            client.say(OpHeader(OpCode.REQ_DEVLIST).encode())
            while client.stream.recv(4096):
                pass
            self.tally["answered"] += 1
            return False
        status = client.ask_for(self.chance.choice(BUSIDS))
        self.tally["answered"] += 1
        if status != OpStatus.OK:
            return False
        if self.chance.random() < 0.9:
            client.configure()
        return True

    def _exchange(self, client: RawClient) -> bool:
        """Say one message and hear all answers that come; False where the session ended."""
        assert client.device is not None
        said = self._message(client.device.devid)
        is_last = not is_framed(said, client.device.devid)
        if self.chance.random() < 0.01:
            said, is_last = said[: self.chance.randrange(len(said))], True
        client.say(said)
        if is_last:  # where the next message would begin, the two sides may not agree
            with suppress(OSError):  # the server was quicker
                client.stream.shutdown(socket.SHUT_WR)
            while client.stream.recv(4096):
                pass
            return False
        self._remember(said)
        client.say(CmdUnlink(PING, client.device.devid, PING).encode())
        while True:
            reply = decode_reply(receive(client.stream, HEADER_BYTES))
            if isinstance(reply, RetUnlink) and reply.seqnum == PING:
                return True
            if isinstance(reply, RetSubmit) and self._waiting.pop(reply.seqnum, 0):
                receive(client.stream, reply.actual_length)

    def _remember(self, said: bytes) -> None:
        """Note what the server may answer, so that its answers can be read."""
        with suppress(DecodeError):
            command = decode_command(said[:HEADER_BYTES])
            if isinstance(command, CmdUnlink):
                return
            self._waiting.setdefault(command.seqnum, command.length if command.is_in else 0)

    def _message(self, devid: int) -> bytes:
        """Return a message: often a good one, else a bent or a random one."""
        chance = self.chance
        said = self._good(devid)
        kind = chance.random()
        if kind < 0.04:
            bent = bytearray(said)
            for _ in range(chance.randrange(1, 4)):
                bent[chance.randrange(min(len(bent), HEADER_BYTES))] ^= 1 << chance.randrange(8)
            return bytes(bent)
        if kind < 0.05:
            return chance.randbytes(HEADER_BYTES)
        if kind < 0.06:
            return CmdSubmit(1, devid, 0, 2, 0, chance.choice(HUGE)).encode()
        return said

    def _good(self, devid: int) -> bytes:
        chance = self.chance
        seqnum = chance.randrange(1, 1 << 31)
        kind = chance.random()
        if kind < 0.1 and self._waiting:
            return CmdUnlink(seqnum, devid, chance.choice(tuple(self._waiting))).encode()
        if kind < 0.3:
            setup = bytes(
                (
                    chance.choice((0, 1, 2, 0x21, 0x80, 0x81, 0x82, 0xA1, 0x23)),
                    chance.randrange(12),
                    chance.randrange(8),
                    chance.randrange(4),
                    chance.choice((0, 1, 2, 0x81)),
                    0,
                    chance.randrange(64),
                    0,
                )
            )
            is_in = setup[0] >> 7
            data = b"" if is_in else bytes(setup[6])
            length = setup[6]
            return CmdSubmit(seqnum, devid, is_in, 0, 0, length, setup=setup).encode() + data
        if kind < 0.65:
            length = chance.choice(LENGTHS)
            endpoint = chance.choice((1, 1, 1, 1, 2, 15))
            return CmdSubmit(seqnum, devid, 1, endpoint, chance.randrange(2), length).encode()
        data = self._out()
        packets = chance.choice((0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF, 2))
        descriptors = bytes(32) if packets == 2 else b""
        submit = CmdSubmit(seqnum, devid, 0, 2, 0, len(data), packet_count=packets)
        return submit.encode() + data + descriptors

    def _out(self) -> bytes:
        """Return what goes to the OUT endpoint: a command, or anything."""
        chance = self.chance
        cdb = chance.choice((INQUIRY, bytes(6), read10(0, 8), write10(0, 1), chance.randbytes(10)))
        if chance.random() < 0.7:
            return Cbw(1, chance.choice(LENGTHS), chance.random() < 0.5, 0, cdb).encode()
        return chance.randbytes(chance.choice(LENGTHS))


def is_framed(said: bytes, devid: int) -> bool:
    """Whether a message ends where its header says, so that another can follow it."""
    try:
        command = decode_command(said[:HEADER_BYTES])
    except DecodeError:
        return False
    wanted = HEADER_BYTES
    if isinstance(command, CmdSubmit):
        wanted += 0 if command.is_in else command.length
        wanted += 16 * command.packet_count if command.is_isochronous else 0
    return len(said) == wanted and command.devid == devid


class Neighbour:
    """Somebody with a drive of the same server, who wants to go on working."""

    def __init__(self, served: Serving) -> None:
        self._client = RawClient(served.address)
        assert self._client.ask_for("1-2") == OpStatus.OK
        self._client.configure()

    def works(self) -> None:
        """Run a command on the drive, and one on a drive that nobody has; raise AssertionError."""
        assert inquiry(self._client) == INQUIRY_DATA

    def close(self) -> None:
        self._client.stream.close()


def inquiry(client: RawClient) -> bytes:
    """Return the answer to INQUIRY."""
    client.submit(0x02, 31, Cbw(1, 36, True, 0, INQUIRY).encode())
    client.ended()
    client.submit(0x81, 36)
    _, data = client.ended(36)
    client.submit(0x81, 13)
    client.ended(13)
    return data


def check_freed(served: Serving) -> None:
    """Use the fuzzed drive, which its last host has left; raise AssertionError."""
    assert served.is_free()
    with RawClient(served.address) as client:
        assert client.ask_for("1-1") == OpStatus.OK
        client.configure()
        assert inquiry(client) == INQUIRY_DATA
    assert served.is_free()


def campaign(messages: int, seed: int = 0) -> Counter[str]:
    """Fuzz until so many messages were answered or refused; return what became of them."""
    fuzzer, drives = Fuzzer(seed), [RamDrive("A" * 12), RamDrive("B" * 12)]
    with serving(drives) as served:
        neighbour = Neighbour(served)
        while fuzzer.count < messages:
            fuzzer.session(served.address)
            neighbour.works()
            check_freed(served)
            for each in drives:
                each.heard.clear()
                each.disk.executed.clear()
            served.log.lines.clear()
        neighbour.close()
    return fuzzer.tally


def main(arguments: Sequence[str]) -> None:
    messages = int(arguments[0]) if arguments else MESSAGES
    campaign(messages // 20, seed=1)  # what is allocated once is there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally = campaign(messages)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{tally['sessions']} sessions: {tally['answered']} messages answered, ", end="")
    print(f"{tally['refused']} refused by the end of the session")
    print("after each, the drive beside it worked on, and the drive itself did for the next host")
    print(f"memory at most {before} KiB before, {after} KiB after: one transfer may be 16384")


if __name__ == "__main__":
    main(sys.argv[1:])
