"""A gadget on a device port in memory: what a host may do with it."""

from contextlib import ExitStack

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.serve.function_files import PIECE_BYTES
from firmware_model.serve.host_lengths import HostLengths
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.bot import Case, Cbw, Csw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.setup import SetupPacket, Speed
from hil_tests.actions import BOT_ORDERS, BOT_TROUBLES
from hil_tests.bot import cases, recovery
from hil_tests.bot.cases import CASES
from hil_tests.bot.link import RawLink
from hil_tests.bot.medium import Medium
from hil_tests.emulated_port import EmulatedPort
from hil_tests.plugged_gadget import BLOCKS, CLEAR_IN, CLEAR_OUT, CONFIGURE, RESET, Plugged
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, read10, write10
from hil_tests.targets import ModelName, powered
from host_driver.backends.in_process import InProcess

SPEEDS = (Speed.FULL, Speed.HIGH, Speed.SUPER)
NO_CBW = b"no CBW"


def link_of(target: str, stack: ExitStack, speed: Speed) -> RawLink:
    drive = powered(ModelName.parse(target), stack)
    host = EmulatedPort(drive, speed)
    device = usb.core.find(backend=InProcess([host], speed=speed))
    device.set_configuration()
    return RawLink(device)


# --- Bulk-Only ---------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", SPEEDS)
def test_every_case_ends_to_the_letter(speed: Speed) -> None:
    with ExitStack() as stack:
        link = link_of("plain", stack, speed)
        medium = Medium.of(link)
        seen = [cases.run(link, case, medium) for case in CASES]

    assert medium is not None
    assert [(each.case.name, each.faults) for each in seen] == [(case.name, []) for case in CASES]


@pytest.mark.parametrize("trouble", BOT_TROUBLES)
def test_host_recovers_in_every_order(trouble: str) -> None:
    with ExitStack() as stack:
        link = link_of("plain", stack, Speed.HIGH)
        medium = Medium.of(link)
        seen = [recovery.recover(link, trouble, order, medium) for order in BOT_ORDERS]

    assert [(each.order, each.faults, each.unreached) for each in seen] == [
        (order, [], None) for order in BOT_ORDERS
    ]


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("count", [1, 2, 127, 128, 2049])
def test_blocks_are_read_as_written(speed: Speed, count: int) -> None:
    plugged = Plugged(speed=speed)
    data = bytes(range(256)) * 2 * count
    plugged.command(write10(5, count), data)

    assert plugged.command(read10(5, count), length=len(data)) == data


class NeverHalts(BulkOnlyRules):
    """A drive that ends its data early without a halt, as Bulk-Only allows."""

    def halts(self, case: Case) -> bool:
        return False


def test_data_that_ends_early_with_a_whole_packet_ends_with_an_empty_one() -> None:
    """Or the host would take the status for more of it."""
    plugged = Plugged(RamDrive(block_count=BLOCKS, rules=NeverHalts()))
    cbw = Cbw(7, 1024, True, 0, read10(0, 1)).encode()
    plugged.host.transfer_out(ENDPOINT_OUT, cbw)
    data = plugged.host.transfer_in(ENDPOINT_IN, 1024)
    status = plugged.host.transfer_in(ENDPOINT_IN, 13)

    assert data == bytes(512)
    assert isinstance(status, bytes) and Csw.decode(status).residue == 512


@pytest.mark.parametrize("order", [(RESET,), (RESET, CLEAR_IN, CLEAR_OUT)])
def test_reset_takes_back_the_status_that_waits(order: tuple[SetupPacket, ...]) -> None:
    plugged = Plugged()
    plugged.host.transfer_out(ENDPOINT_OUT, Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    for setup in order:
        plugged.host.control(setup)

    assert plugged.command(INQUIRY, length=36) == INQUIRY_DATA


def test_status_behind_a_halt_is_whole_though_less_data_was_wanted() -> None:
    plugged = Plugged()
    plugged.host.transfer_out(ENDPOINT_OUT, Cbw(7, 5, True, 0, TEST_UNIT_READY).encode())
    data = plugged.host.transfer_in(ENDPOINT_IN, 5)
    plugged.host.control(CLEAR_IN)
    status = plugged.host.transfer_in(ENDPOINT_IN, 13)

    assert data is Handshake.STALL
    assert isinstance(status, bytes) and Csw.decode(status) == Csw(7, 5, CswStatus.PASSED)


def test_function_is_not_asked_for_anything_between_commands() -> None:
    """Each command would take that back, which costs it a tenth of its time."""
    plugged = Plugged()
    waiting = [plugged.host.port.waiting_count]
    plugged.command(INQUIRY, length=36)
    waiting.append(plugged.host.port.waiting_count)

    assert waiting == [0, 0]


def test_command_is_over_with_its_status_and_not_with_data_that_no_host_announced() -> None:
    lengths = HostLengths(PIECE_BYTES)
    lengths.sent(Cbw(7, 0, False, 0, INQUIRY).encode(), 512)
    over = []
    for count in (36, 13):
        lengths.given(count)
        over.append(lengths.is_over)

    assert over == [False, True]


def test_host_that_recovers_faster_than_the_gadget_finds_no_halt() -> None:
    """What it clears at once must not be halted behind its back, when nobody clears it again."""
    plugged = Plugged()
    plugged.host.transfer_out(ENDPOINT_OUT, NO_CBW)
    plugged.host.hasty = (CLEAR_IN, CLEAR_OUT)
    plugged.host.control(RESET)

    assert plugged.command(INQUIRY, length=36) == INQUIRY_DATA


def test_halts_stay_though_the_reset_came_before_the_gadget_could_make_them() -> None:
    plugged = Plugged()
    plugged.host.is_asleep = True
    plugged.host.transfer_out(ENDPOINT_OUT, NO_CBW)
    plugged.host.control(RESET)

    assert plugged.host.transfer_in(ENDPOINT_IN, 13) is Handshake.STALL


def test_max_lun_is_told() -> None:
    assert Plugged().host.control(SetupPacket(0xA1, 0xFE, 0, 0, 1)) == b"\0"


def test_other_requests_stall() -> None:
    host = Plugged().host

    assert host.control(SetupPacket(0xA1, 0xFD, 0, 0, 1)) is Handshake.STALL
    assert host.control(SetupPacket(0x21, 0xFD, 0, 0, 0)) is Handshake.STALL


# --- hosts that do anything ----------------------------------------------------------------------

wrappers = st.builds(
    lambda length, is_in, cdb: Cbw(3, length, is_in, 0, cdb).encode(),
    st.integers(0, 3000),
    st.booleans(),
    st.sampled_from([TEST_UNIT_READY, INQUIRY, read10(0, 2), write10(1, 2), b"\x1f" * 6]),
)
setups = st.builds(
    SetupPacket,
    st.sampled_from([0x00, 0x01, 0x02, 0x21, 0x80, 0x81, 0x82, 0xA1, 0xC0]),
    st.integers(0, 255) | st.sampled_from([0, 1, 3, 9, 0xFE, 0xFF]),
    st.integers(0, 2),
    st.sampled_from([0, 1, 2, 0x81]),
    st.integers(0, 4),
)
acts = st.one_of(
    st.tuples(st.just("out"), wrappers | st.binary(max_size=1100)),
    st.tuples(st.just("in"), st.integers(0, 1100)),
    st.tuples(st.just("control"), setups),
    st.tuples(st.just("bus"), st.sampled_from(list(BusEvent))),
    st.tuples(st.just("be faster than the gadget"), st.none()),
)


@given(st.lists(acts, max_size=25))
def test_host_that_does_anything_can_use_the_drive_afterwards(
    acts: list[tuple[str, bytes | int | SetupPacket | BusEvent | None]],
) -> None:
    plugged = Plugged()
    host = plugged.host
    for _, what in acts:
        match what:
            case BusEvent():
                host.bus(what)
            case bytes():
                host.transfer_out(ENDPOINT_OUT, what)
            case int():
                host.transfer_in(ENDPOINT_IN, what)
            case SetupPacket():
                host.control(what, bytes(0 if what.is_in else what.length))
            case None:
                host.is_asleep = True
    host.is_asleep = False
    host.bus(BusEvent.ATTACH)
    assert host.control(CONFIGURE) == 0
    plugged.recover()

    assert plugged.command(INQUIRY, length=36) == INQUIRY_DATA
