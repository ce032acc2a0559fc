"""The native channels: forged, replayed and reordered frames cost nothing and open nothing."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.native import (
    PROTOCOL,
    SEALED_BYTES,
    Channel,
    Message,
    Operation,
    Result,
    Role,
    Sealed,
    State,
    nonce,
)
from hil_tests.actions import PINS
from hil_tests.bench.bench import Bench
from hil_tests.content import Content
from hil_tests.facts import facts_of
from host_driver.dialects.native import NativeDialect
from host_driver.errors import (
    CommandRefused,
    IdentityChanged,
    IdentityUnknown,
    Locked,
    NotSupported,
    ProtocolError,
    WrongPin,
)
from host_driver.known_drives import IdentityCheck, KnownDrives, fingerprint
from host_driver.scsi import ScsiDisk
from host_driver.session import HostSession, open_session
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion

PIN, WRONG = PINS[0], PINS[1]
CONTENT = Content("text", bytes(range(256)) * 8)


def bench(profile: str = "native") -> Bench:
    loaded = profiles.load(profile)
    drive = EmulatedDrive.new(loaded, SeededNoise(b"native"), kdf_iterations=1)
    drive.power_on()
    on = Bench(drive, facts_of(loaded), CONTENT)
    on.host().set_pin(PIN)
    return on


def session(on: Bench) -> HostSession:
    return open_session(on.host().disk, on.draw, lambda identity: None)


def tries(on: Bench) -> int:
    status = on.status()
    assert status is not None
    return status.tries[0]


def tampered(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "another number": lambda frame: tampered(frame, 7),
    "another ciphertext": lambda frame: tampered(frame, 100),
    "another tag": lambda frame: tampered(frame, SEALED_BYTES - 1),
    "nothing but zeros": lambda frame: bytes(SEALED_BYTES),
}


class Forging:
    """A transport that changes each sealed frame on its way to the drive."""

    def __init__(self, inner: CommandTransport, forge: Callable[[bytes], bytes]) -> None:
        self._inner = inner
        self._forge = forge
        self.frames: list[bytes] = []

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        if len(data_out) == SEALED_BYTES:
            self.frames.append(data_out)
            data_out = self._forge(data_out)
        return self._inner.execute(cdb, data_out, data_in_length, timeout_ms)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_frame_costs_no_try_and_ends_the_session(name: str) -> None:
    on = bench()
    forging = Forging(on.host().disk.transport, FORGERIES[name])
    disk = ScsiDisk(forging)
    opened = open_session(disk, on.draw, lambda identity: None)

    with pytest.raises(CommandRefused):
        opened.exchange(Message(Operation.UNLOCK, Role.USER, WRONG.encode()))
    with pytest.raises(CommandRefused):  # even the frame as it was sealed comes too late
        on.host().disk.security_out(PROTOCOL, Channel.MESSAGE, forging.frames[0])

    assert tries(on) == 10


class Resetting(Forging):
    """A transport that has the port reset once, right behind a message or before it."""

    def __init__(self, on: Bench, is_behind: bool) -> None:
        super().__init__(on.host().disk.transport, lambda frame: frame)
        self._reset = on.device().reset
        self._is_behind = is_behind

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        resets = len(data_out) == SEALED_BYTES and not self.frames
        if resets and not self._is_behind:
            self._reset()
        completion = super().execute(cdb, data_out, data_in_length, timeout_ms)
        if resets and self._is_behind:
            self._reset()
        return completion


@pytest.mark.parametrize("is_behind", [False, True])
def test_reset_around_a_message_spends_no_try_twice(is_behind: bool) -> None:
    on = bench()
    disk = ScsiDisk(Resetting(on, is_behind))
    dialect = NativeDialect(disk, on.draw, lambda identity: None)
    dialect.identity()
    lost = ProtocolError if is_behind else WrongPin
    with pytest.raises(lost):
        dialect.unlock(WRONG, Role.USER)

    assert tries(on) == 9


def test_frame_sent_twice_is_refused_the_second_time() -> None:
    on = bench()
    forging = Forging(on.host().disk.transport, lambda frame: frame)
    opened = open_session(ScsiDisk(forging), on.draw, lambda identity: None)
    assert opened.exchange(Message(Operation.LOCK)).result is Result.OK

    with pytest.raises(CommandRefused):
        on.host().disk.security_out(PROTOCOL, Channel.MESSAGE, forging.frames[0])


def test_status_needs_no_session_and_evidence_only_a_nonce() -> None:
    on = bench()

    status = on.status()
    assert status is not None and status.state is State.LOCKED
    assert on.host().evidence(b"n" * 32).nonce == b"n" * 32


def test_answer_is_fetched_once() -> None:
    on = bench()
    disk = on.host().disk
    disk.security_out(PROTOCOL, Channel.EVIDENCE, bytes(32))
    disk.security_in(PROTOCOL, Channel.EVIDENCE, 512)

    with pytest.raises(CommandRefused):
        disk.security_in(PROTOCOL, Channel.EVIDENCE, 512)


@pytest.mark.parametrize("channel", [Channel.SESSION, Channel.MESSAGE])
def test_keypad_drive_has_no_session_and_no_message(channel: Channel) -> None:
    on = bench("keypad")

    with pytest.raises(CommandRefused):
        on.host().disk.security_out(PROTOCOL, channel, bytes(SEALED_BYTES))
    with pytest.raises(CommandRefused):
        on.host().disk.security_in(PROTOCOL, channel, SEALED_BYTES)


def test_reset_ends_the_session_and_the_driver_opens_another() -> None:
    on = bench()
    on.host().unlock(PIN)
    on.drive.unplug()
    on.drive.plug()
    on.reconnect()

    on.host().unlock(PIN)

    assert on.host().read(0, 1) == bytes(512)


def test_recovery_pins_are_not_set_by_a_host() -> None:
    on = bench()
    answer = session(on).exchange(Message(Operation.SET_PIN, Role.RECOVERY, new_pin=b"1234509876"))

    assert answer.result is Result.NOT_SUPPORTED


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((0, 1, 2, 3, 0x10, 0x11, 0xFFFF)),
            st.binary(max_size=600),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_any_bytes_on_any_channel_are_refused_or_answered(
    transfers: list[tuple[int, bytes, bool]],
) -> None:
    on = bench()
    disk = on.host().disk
    for specific, data, is_in in transfers:
        try:
            if is_in:
                disk.security_in(PROTOCOL, specific, len(data) + 1)
            else:
                disk.security_out(PROTOCOL, specific, data or b"\0")
        except CommandRefused as refused:
            assert refused.sense is not None

    assert tries(on) == 10
    on.host().unlock(PIN)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 511))
def test_any_message_inside_a_session_is_answered(noise: bytes, at: int) -> None:
    """Sealed rightly, so that it is opened and decoded, whatever it holds."""
    on = bench()
    opened = session(on)
    plain = bytearray(Message(Operation.STATUS).encode())
    plain[at : at + len(noise)] = noise
    sealed = Sealed(0, opened._to_drive.encrypt(nonce(0), bytes(plain[:512]), None))
    disk = on.host().disk
    disk.security_out(PROTOCOL, Channel.MESSAGE, sealed.encode())

    answer = Sealed.decode(disk.security_in(PROTOCOL, Channel.MESSAGE, SEALED_BYTES))

    assert len(answer.ciphertext) == SEALED_BYTES - 8
    assert on.host().disk.inquiry().vendor.strip() == "sedlab"


# --- identity -----------------------------------------------------------------------------------


def test_identity_is_pinned_when_a_person_says_yes_and_checked_ever_after(tmp_path: Path) -> None:
    known = KnownDrives(tmp_path / "folder" / "known_drives")
    asked: list[str] = []

    def says_yes(serial: str, shown: str) -> bool:
        asked.append(shown)
        return True

    check = IdentityCheck("S1", known, ask=says_yes)
    check(b"a" * 32)
    check(b"a" * 32)

    assert asked == [fingerprint(b"a" * 32)]
    with pytest.raises(IdentityChanged, match="no PIN was sent"):
        check(b"b" * 32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=4, unique=True), st.text(max_size=12))
def test_serial_number_of_any_text_speaks_of_its_own_drive_only(
    serials: list[str], other: str
) -> None:
    with TemporaryDirectory() as folder:
        known = KnownDrives(Path(folder) / "known_drives")
        for at, serial in enumerate(serials):
            known.note(serial, bytes((at,)) * 32)
            known.note(f"{serial}\n{other} ed25519 {'ff' * 32}\n", bytes(32))

        found = [known.find(serial) for serial in serials]
        unnoted = known.find(other)

    assert found == [bytes((at,)) * 32 for at in range(len(serials))]
    assert other in serials or unnoted is None


def test_unknown_identity_without_a_person_is_refused(tmp_path: Path) -> None:
    check = IdentityCheck("S1", KnownDrives(tmp_path / "none"))

    with pytest.raises(IdentityUnknown, match="add --identity SHA256:"):
        check(b"a" * 32)


def test_locked_drive_refuses_a_read_as_locked() -> None:
    with pytest.raises(Locked):
        bench().host().read(0, 1)


def test_keypad_drive_without_hands_says_that_nobody_can_press() -> None:
    from host_driver.dialects.keypad import KeypadDialect

    on = bench("keypad")

    with pytest.raises(NotSupported, match="nobody is at its keys"):
        KeypadDialect(on.host().disk, None).unlock(PIN, Role.USER)
