"""The operator of a served drive: what is said to it, and the socket that only its owner opens."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.operated_drive import OperatedDrive, operate
from firmware_model.serve.operator_socket import CLIENTS_MAX, OperatorSocket
from firmware_model.serve.port import Port
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.local_socket import connect_to, listen_at
from firmware_model.wire.native import State
from firmware_model.wire.operator import (
    LINE_BYTES_MAX,
    NUMBER_MAX,
    OperatorReply,
    OperatorRequest,
    Result,
    Verb,
    socket_beside,
)
from hil_tests.actions import PINS
from hil_tests.test_emulated_drive import drive
from host_driver import operator_socket
from host_driver.errors import Disconnected, NotFound

PIN = PINS[0]
ABOUT: Result = {"target": "model:keypad", "busid": "1-1"}
NUMBERS = st.integers(0, NUMBER_MAX)
REQUESTS = st.builds(
    OperatorRequest,
    st.sampled_from(Verb),
    st.text(max_size=40),
    st.none() | NUMBERS,
    st.none() | st.sampled_from(("half", "weak")),
    us=NUMBERS,
    unit=NUMBERS,
    seed=st.text(max_size=40),
    settings=st.text(max_size=40),
    fault=st.text(max_size=40),
    number=NUMBERS,
    iterations=NUMBERS,
)
RESULTS = st.dictionaries(st.text(max_size=8), st.text(max_size=8) | NUMBERS | st.booleans())
REPLIES = st.builds(OperatorReply, st.text(max_size=40)) | st.builds(
    OperatorReply, st.none(), RESULTS
)


# --- lines ---------------------------------------------------------------------------------------


@given(REQUESTS)
def test_request_that_is_encoded_decodes_to_the_same(request_: OperatorRequest) -> None:
    assert OperatorRequest.decode(request_.encode()) == request_


@given(REPLIES)
def test_reply_that_is_encoded_decodes_to_the_same(reply: OperatorReply) -> None:
    assert OperatorReply.decode(reply.encode()) == reply


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)
NAMES = ("verb", "keys", "step", "us", "unit", "seed", "number", "error", "result")
ALMOST = st.dictionaries(st.sampled_from(NAMES), JSON)


@pytest.mark.parametrize("layout", [OperatorRequest, OperatorReply])
@given(st.binary(max_size=200) | (JSON | ALMOST).map(lambda value: json.dumps(value).encode()))
def test_any_line_is_a_message_or_a_refusal(
    layout: type[OperatorRequest] | type[OperatorReply], line: bytes
) -> None:
    try:
        message = layout.decode(line + b"\n")
    except DecodeError:
        return

    assert layout.decode(message.encode()) == message


@pytest.mark.parametrize(
    "line",
    [
        b'{"verb": "press"}',
        b"[" * (LINE_BYTES_MAX - 1) + b"\n",
        b'{"verb": "press", "keys": "' + b"1" * LINE_BYTES_MAX + b'"}\n',
        b'{"verb": "advance", "us": true}\n',
        b'{"verb": "advance", "us": -1}\n',
        b'{"verb": "advance", "us": ' + b"9" * 4000 + b"}\n",
        b'{"verb": "launch"}\n',
        b'{"verb": "leds", "more": 1}\n',
    ],
)
def test_line_that_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(DecodeError):
        OperatorRequest.decode(line)


# --- what is done --------------------------------------------------------------------------------


@pytest.fixture
def keypad() -> EmulatedDrive:
    made = drive("keypad")
    made.power_on()
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return socket_beside(tmp_path / "drive.sed")


@pytest.fixture
def operator(keypad: EmulatedDrive, path: Path) -> Iterator[operator_socket.OperatorSocket]:
    """The hands beside a drive, at the other end of its socket."""
    with closing(served(keypad, path)), closing(operator_socket.OperatorSocket(str(path))) as hands:
        yield hands


def served(drive: EmulatedDrive, path: Path) -> OperatorSocket:
    """Return the socket of a drive's operators, who have no units beside it."""
    port = Port(drive)
    return OperatorSocket(path, lambda: OperatedDrive(drive, port, ABOUT))


def test_keys_are_pressed_and_lights_are_seen(
    operator: operator_socket.OperatorSocket, keypad: EmulatedDrive
) -> None:
    operator.press(f"SET {PIN} UNLOCK {PIN} UNLOCK")
    operator.press(f"{PIN} UNLOCK")

    assert keypad.firmware is not None and keypad.firmware.state is State.UNLOCKED
    assert operator.leds() == keypad.leds() == {"red": "off", "green": "blink", "blue": "off"}


def test_key_that_there_is_not_is_refused_in_the_keypads_words(
    operator: operator_socket.OperatorSocket,
) -> None:
    with pytest.raises(ValueError, match="no key 'ENTER'; there are 0 to 9 and UNLOCK"):
        operator.press("1 ENTER")


def test_drive_without_keys_says_so() -> None:
    native = drive("native")
    with pytest.raises(ValueError, match="has no keys"):
        operate(native, OperatorRequest(Verb.PRESS, keys="1"))


def test_plug_and_power_are_pulled_and_given_back(
    operator: operator_socket.OperatorSocket, keypad: EmulatedDrive
) -> None:
    operator.unplug()
    unplugged = operator.status()
    operator.plug()
    operator.power_off()
    dark = operator.status()
    operator.power_on()

    assert (unplugged["is_on"], unplugged["is_plugged"]) == (True, False)
    assert (dark["is_on"], dark["is_plugged"]) == (False, True)
    assert keypad.is_on and keypad.is_plugged


@pytest.mark.parametrize("torn", [None, "half"])
def test_power_is_cut_at_the_step_that_is_said(
    operator: operator_socket.OperatorSocket, keypad: EmulatedDrive, torn: str | None
) -> None:
    operator.cut_at(2, torn)
    operator.press(f"SET {PIN} UNLOCK {PIN} UNLOCK")

    assert not keypad.is_on
    assert operator.leds() == {"red": "off", "green": "off", "blue": "off"}


def test_cut_that_was_planned_can_be_called_off(
    operator: operator_socket.OperatorSocket, keypad: EmulatedDrive
) -> None:
    operator.cut_at(1)
    operator.cut_at(None)
    operator.press(f"SET {PIN} UNLOCK {PIN} UNLOCK")

    assert keypad.is_on


@pytest.mark.parametrize(("step", "torn"), [(0, None), (1, "wholly")])
def test_cut_that_can_not_be_is_refused(
    operator: operator_socket.OperatorSocket, step: int, torn: str | None
) -> None:
    with pytest.raises(ValueError, match=r"not 0|wholly"):
        operator.cut_at(step, torn)


def test_time_is_let_pass(operator: operator_socket.OperatorSocket, keypad: EmulatedDrive) -> None:
    before = operator.status()["now_us"]
    operator.advance(5_000_000)

    assert operator.status()["now_us"] == keypad.board.clock.now_us == int(before) + 5_000_000


# --- the socket ----------------------------------------------------------------------------------


def test_socket_is_its_owners_alone(operator: operator_socket.OperatorSocket, path: Path) -> None:
    mode = path.stat().st_mode

    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)


def is_answered_as(user: int, path: Path) -> bool:
    """Whether a process of that user, which says something to a socket, gets an answer."""
    child = os.fork()
    if child == 0:
        answer = b""
        try:
            os.setuid(user)
            with connect_to(path, 30) as stream:
                stream.sendall(OperatorRequest(Verb.LEDS).encode())
                answer = stream.recv(1)
        finally:
            os._exit(0 if answer else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be somebody else")
@pytest.mark.parametrize(("user", "is_heard"), [(0, True), (65534, False)])
def test_nobody_but_the_owner_is_heard(keypad: EmulatedDrive, user: int, is_heard: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder, "operator")
        with closing(served(keypad, path)):
            path.parent.chmod(0o777)
            path.chmod(0o777)  # so that nothing but the check keeps the stranger out

            assert is_answered_as(user, path) is is_heard


def test_drive_is_operated_under_the_lock_of_its_port(keypad: EmulatedDrive) -> None:
    port = Port(keypad)
    operated = OperatedDrive(keypad, port, ABOUT)
    with port.lock:
        waits = Thread(target=operated.operate, args=(OperatorRequest(Verb.POWER_OFF),))
        waits.start()
        was_on = keypad.is_on
    waits.join()

    assert (was_on, keypad.is_on) == (True, False)


def test_socket_is_gone_when_nobody_serves_any_more(keypad: EmulatedDrive, path: Path) -> None:
    there = served(keypad, path)
    hands = operator_socket.OperatorSocket(str(path))
    there.close()

    with pytest.raises(Disconnected, match="no longer served"):
        hands.leds()
    with pytest.raises(NotFound, match=r"nobody serves .*drive.sed: `sedlab serve .*` does"):
        operator_socket.OperatorSocket(str(path.with_name("drive.sed")))


def test_socket_that_a_killed_process_left_is_replaced(keypad: EmulatedDrive, path: Path) -> None:
    listen_at(path).close()
    with pytest.raises(NotFound):
        operator_socket.OperatorSocket(str(path.with_name("drive.sed")))
    with closing(served(keypad, path)):
        assert operator_socket.OperatorSocket(str(path.with_name("drive.sed"))).leds()


def test_socket_that_somebody_listens_at_is_left_to_him(
    operator: operator_socket.OperatorSocket, path: Path
) -> None:
    with pytest.raises(OSError, match="in use"):
        served(drive("native"), path)
    with closing(operator_socket.OperatorSocket(str(path))) as again:
        again.press("0")  # of a drive that has keys

    assert operator.leds()


def test_file_in_the_place_of_the_socket_is_spared(keypad: EmulatedDrive, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="in the way"):
        served(keypad, path)

    assert path.read_text() == "mine"


def test_folder_of_a_long_name_has_a_socket_as_well(keypad: EmulatedDrive, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    path = socket_beside(folder / "drive.sed")
    with closing(served(keypad, path)):
        assert operator_socket.OperatorSocket(str(folder / "drive.sed")).leds()


def test_line_without_end_is_refused_and_its_sender_sent_away(
    operator: operator_socket.OperatorSocket, path: Path
) -> None:
    with connect_to(path, 30) as stranger:
        stranger.sendall(b"x" * (LINE_BYTES_MAX + 1))
        said = stranger.makefile("rb").readlines()

    assert len(said) == 1 and OperatorReply.decode(said[0]).error is not None
    assert operator.leds()


def test_nonsense_is_answered_and_the_next_line_obeyed(
    operator: operator_socket.OperatorSocket, path: Path
) -> None:
    with connect_to(path, 30) as stranger:
        stranger.sendall(b'nonsense\n{"verb": "leds"}\n')
        lines = stranger.makefile("rb")
        first, second = (OperatorReply.decode(lines.readline()) for _ in range(2))

    assert (first.error, second.result["blue"]) == ("the line is not JSON", "on")


def test_connections_that_say_nothing_keep_nobody_from_operating(
    operator: operator_socket.OperatorSocket, path: Path
) -> None:
    with ExitStack() as stack:
        for _ in range(2 * CLIENTS_MAX):
            stack.enter_context(connect_to(path, 30))

        with closing(operator_socket.OperatorSocket(str(path))) as later:
            assert later.leds()
