"""Bytes that no driver sends, and what a drive must say of itself."""

from __future__ import annotations

from typing import Final

import usb.core

from firmware_model.wire.bot import Cbw
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.inquiry import StandardInquiry
from firmware_model.wire.native import PROTOCOL, SEALED_BYTES, Channel
from firmware_model.wire.scsi import Inquiry, SecurityProtocolOut
from hil_tests.actions import MALFORMED_KINDS
from hil_tests.bench.bench import Bench
from hil_tests.steps import Step
from host_driver.errors import DriveError

IN: Final = 0x81
OUT: Final = 0x02
TIMEOUT_MS: Final = 1000
GARBAGE: Final = bytes((i * 73 + 41) & 0xFF for i in range(1024))


def malformed(bench: Bench, step: Step, kind: int) -> None:
    """Send one kind of nonsense, recover the transport, and see that the drive goes on."""
    bench.host()
    _KINDS[kind](bench)
    try:
        bench.link().reset_recovery()
        bench.host().disk.inquiry()
        bench.host().disk.test_unit_ready()
    except (DriveError, usb.core.USBError) as fault:
        step.seen["harm"] = f"after it the drive answered {type(fault).__name__}: {fault}"
        bench.reconnect()


def _raw(bench: Bench, data: bytes) -> None:
    """Send bytes to the OUT endpoint, whatever becomes of them, and read what comes back."""
    device = bench.device()
    try:
        device.write(OUT, data, TIMEOUT_MS)
        device.read(IN, 512, TIMEOUT_MS)
    except usb.core.USBError:
        return


def _bad_signature(bench: Bench) -> None:
    _raw(bench, b"USBX" + Cbw(1, 0, False, 0, bytes(6)).encode()[4:])


def _short_wrapper(bench: Bench) -> None:
    for length in (0, 1, 13, 30, 32, 512):
        _raw(bench, GARBAGE[:length])
        bench.link().reset_recovery()


def _not_meaningful(bench: Bench) -> None:
    whole = bytearray(Cbw(2, 0, False, 0, bytes(6)).encode())
    for at, value in ((13, 0x0F), (14, 0), (14, 31), (12, 0x7F)):
        bad = bytearray(whole)
        bad[at] = value
        _raw(bench, bytes(bad))
        bench.link().reset_recovery()


def _unknown_commands(bench: Bench) -> None:
    for opcode in (0x02, 0x1F, 0x7F, 0xA1, 0xB0):
        cdb = bytes((opcode,)) + GARBAGE[:11]
        for data_out, in_length in ((b"", 0), (b"", 64), (GARBAGE[:64], 0)):
            try:
                bench.link().execute(cdb, data_out, in_length)
            except DriveError:
                continue


def _bad_frames(bench: Bench) -> None:
    """Frames of a session that there is not, and of lengths that no frame has."""
    for channel in Channel:
        for length in (0, 1, 31, 33, SEALED_BYTES, SEALED_BYTES + 1):
            cdb = SecurityProtocolOut(PROTOCOL, channel, length).encode()
            try:
                bench.link().execute(cdb, GARBAGE[:length])
            except DriveError:
                continue


def _forged_session(bench: Bench) -> None:
    """A greeting with a key of low order, then a frame that nobody sealed."""
    for hello in (bytes(32), b"\x01" + bytes(31), GARBAGE[:32]):
        for channel, data in ((Channel.SESSION, hello), (Channel.MESSAGE, GARBAGE[:SEALED_BYTES])):
            cdb = SecurityProtocolOut(PROTOCOL, channel, len(data)).encode()
            try:
                bench.link().execute(cdb, data)
            except DriveError:
                continue


def _parameter_lists(bench: Bench) -> None:
    for length in (0, 1, 4, 8, 12, 24, 255):
        for cdb in (
            bytes((0x15, 0x10, 0, 0, length, 0)),
            bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, length, 0)),
            bytes((0x42, 0, 0, 0, 0, 0, 0, 0, length, 0)),
        ):
            try:
                bench.link().execute(cdb, GARBAGE[:length])
            except DriveError:
                continue


def _control_requests(bench: Bench) -> None:
    device = bench.device()
    for request_type in (0x00, 0x01, 0x02, 0x21, 0x41, 0x80, 0x81, 0x82, 0xA1, 0xC0):
        for request in (0x02, 0x04, 0x06, 0x07, 0x08, 0x0C, 0x33, 0xFD):
            try:
                payload = 16 if request_type & 0x80 else b""
                device.ctrl_transfer(request_type, request, 0xBEEF, 0xDEAD, payload, TIMEOUT_MS)
            except usb.core.USBError:
                continue


_KINDS: Final = (
    _bad_signature,
    _short_wrapper,
    _not_meaningful,
    _unknown_commands,
    _bad_frames,
    _forged_session,
    _parameter_lists,
    _control_requests,
)
assert len(_KINDS) == MALFORMED_KINDS


def check_transport(bench: Bench, step: Step) -> None:
    """Hold enumeration and capacity to the standards, and to what the profile says."""
    faults = [*_enumeration(bench), *_capacity(bench)]
    if faults:
        step.seen["transport_faults"] = faults


def _enumeration(bench: Bench) -> list[str]:
    device = bench.device()
    faults = []
    interface = device.get_active_configuration()[(0, 0)]
    triple = (
        interface.bInterfaceClass,
        interface.bInterfaceSubClass,
        interface.bInterfaceProtocol,
    )
    if triple != (0x08, 0x06, 0x50):
        faults.append(f"interface {triple} is no Bulk-Only disk")
    if len(list(interface)) != 2:
        faults.append("a Bulk-Only interface has two bulk endpoints")
    if bench.link().get_max_lun() != 0:
        faults.append("it claims more than one logical unit")
    answer = bench.link().execute(Inquiry(36).encode(), data_in_length=36).data
    try:
        inquiry = StandardInquiry.decode(answer)
    except DecodeError as wrong:
        return [*faults, f"INQUIRY: {wrong}"]
    if not inquiry.vendor.strip():
        faults.append("INQUIRY names no vendor")
    return faults


def _capacity(bench: Bench) -> list[str]:
    if not bench.is_open:
        return []
    told = bench.host().block_count
    if told == bench.facts.block_count:
        return []
    return [f"READ CAPACITY says {told} blocks, the profile {bench.facts.block_count}"]
