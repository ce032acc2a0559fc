"""A drive that another process serves is judged as one in this, and what can't be had is said."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.defects import DEFECTS
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.operated_drive import OperatedDrive, Plugged
from firmware_model.wire.native import State
from firmware_model.wire.operator import NUMBER_MAX, OperatorReply, OperatorRequest, Verb
from firmware_model.wire.usbip import OpStatus
from hil_tests.actions import parse_action, parse_steps
from hil_tests.command_line import Run, Server
from hil_tests.compare_served import compare, served
from hil_tests.content import Content
from hil_tests.properties import BY_ID, PROPERTIES
from hil_tests.ram_disk import RamDrive
from hil_tests.runs import Target, UnsteadyDrive, applicable
from hil_tests.served import Elsewhere, RawClient, serving
from hil_tests.served_target import CARRIED, ServedTarget, rack_of
from hil_tests.served_unit import ServedUnit
from hil_tests.steps import Capability, Outcome
from hil_tests.targets import ModelName, fresh_drive, profile_text
from hil_tests.unit_bench import UnitBench
from hil_tests.wire_target import REACHED, WireTarget, bus_over_usbip
from host_driver.errors import AccessDenied, Disconnected, NotFound
from host_driver.operator_socket import OperatorSocket
from host_driver.usbip_link import UsbIpName, listed_devices

CONTENT = Content("a few blocks", bytes((i * i + 7 * i + i // 251) & 0xFF for i in range(64 << 9)))


@pytest.fixture(scope="module")
def native() -> Iterator[ServedTarget]:
    """A native drive that another process serves, with its operator."""
    with served("model:native") as target:
        yield target


@pytest.mark.parametrize(
    ("defect", "capability"),
    [
        ("counter-after-check", Capability.FORK),
        ("pin-length-leak", Capability.MOVE_CLOCK),
        ("open-in-standby", Capability.OPERATE),
        ("pin-change-not-atomic", Capability.CUT_POWER),
        ("counter-write-failure-ignored", Capability.FAIL_PARTS),
        ("single-check-verdict", Capability.PATCH_FIRMWARE),
        ("status-in-place-of-data", Capability.SEE_BUS),
        ("update-from-anybody", Capability.SIGN_FIRMWARE),
    ],
)
def test_defect_goes_the_same_way_step_by_step(defect: str, capability: Capability) -> None:
    property_id = DEFECTS[defect].killed_by
    compared = compare(f"model:{DEFECTS[defect].profile}+{defect}", (property_id,))

    assert capability in CARRIED
    assert compared.differs == ""
    assert property_id in compared.found_there == compared.found_here


def test_keypad_drive_has_its_keys_pressed() -> None:
    compared = compare("model:keypad", ("tries-count-down", "duress-destroys"))

    assert (compared.found_there, compared.differs, compared.left_out > 0) == ((), "", True)


def test_what_takes_a_dump_is_not_exercised_and_says_so(native: ServedTarget) -> None:
    here, there = Target("model:native").facts, native.facts
    lacking = [each for each in PROPERTIES if each.reason_not_to_run(there)]

    assert {each.id for each in lacking} == {
        each.id for each in PROPERTIES if each.capabilities - CARRIED
    }
    assert not any(each.reason_not_to_run(here) for each in PROPERTIES)
    assert "the bench can't dump the flash" in str(lacking[0].reason_not_to_run(there))


def test_power_cut_in_a_transfer_is_a_disconnect_and_the_drive_comes_back(
    native: ServedTarget,
) -> None:
    bench = native.bench()
    bench.run_all(parse_steps("set_pin-user-0,unlock-user-0"))
    bench.unit.cut_at(2)
    with pytest.raises(Disconnected):
        bench.host().write(0, bytes(8 << 9))
    was_on = bench.unit.is_on
    bench.unit.power_on()
    bench.reconnect()

    assert not was_on
    assert bench.run(parse_action("unlock-user-0")).outcome is Outcome.OK


def test_unit_that_was_unplugged_and_plugged_in_is_there_at_once(native: ServedTarget) -> None:
    bench = native.bench()
    steps = bench.run_all(parse_steps("set_pin-user-0,unlock-user-0" + ",unplug,unlock-user-0" * 8))

    assert {step.outcome for step in steps} == {Outcome.OK}


def test_drive_that_is_served_is_spared_by_what_is_judged_beside_it(native: ServedTarget) -> None:
    hands = native.rack.operator
    before = hands.status()["steps"]
    native.bench().run_all(parse_steps("set_pin-user-0,unlock-user-0,erase"))

    assert hands.status()["steps"] == before


def test_units_are_gone_with_the_operator_who_asked_for_them(native: ServedTarget) -> None:
    name = native.rack.name
    with closing(OperatorSocket(str(native.rack.socket))) as other:
        made = other.new("a seed")
        other.beside(made.number).power_on()
        there = [each.busid for each in listed_devices(name.host, name.port)]
    with closing(OperatorSocket(str(native.rack.socket))) as other:
        again = other.new("a seed")

    assert made.busid in there
    assert (again.serial, again.reset_code) == (made.serial, made.reset_code)


def test_operator_has_no_more_units_than_a_bus_has_room_for(native: ServedTarget) -> None:
    with closing(OperatorSocket(str(native.rack.socket))) as hands:
        with pytest.raises(ValueError, match="at most 64 units"):
            for _ in range(65):
                hands.new("a seed", iterations=1)
        with pytest.raises(ValueError, match="none of those that were made"):
            hands.beside(126).power_on()


@pytest.mark.parametrize(
    ("fault", "complaint"), [("flip_all", "is not one of counter_sticks"), ("", "is not one of")]
)
def test_fault_that_there_is_not_is_refused(
    native: ServedTarget, fault: str, complaint: str
) -> None:
    with closing(OperatorSocket(str(native.rack.socket))) as hands:
        unit = hands.beside(hands.new("a seed").number)
        with pytest.raises(ValueError, match=complaint):
            unit.fail(fault, 1)


def test_served_drive_itself_is_neither_copied_nor_made_to_fail(native: ServedTarget) -> None:
    hands = native.rack.operator

    for action in (hands.copy, hands.discard, lambda: hands.fail("flip_data", 1)):
        with pytest.raises(ValueError, match="none of those that were made"):
            action()


REQUESTS = st.builds(
    OperatorRequest,
    st.sampled_from([verb for verb in Verb if verb is not Verb.PRESS]),
    step=st.none() | st.integers(0, 9),
    torn=st.none() | st.sampled_from(("half", "weak", "wholly")),
    us=st.integers(0, NUMBER_MAX),
    unit=st.integers(0, 4),
    seed=st.text(max_size=4),
    settings=st.sampled_from(("", "capacity=1MiB", "capacity=1+1", "name.x=1", "at_limit", "++")),
    fault=st.sampled_from(("", "flip_data", "fail_keys", "counter_sticks")),
    number=st.integers(0, 40),
    iterations=st.sampled_from((0, 1, NUMBER_MAX)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(REQUESTS, max_size=12))
def test_whatever_an_operator_asks_for_is_done_or_refused(requests: list[OperatorRequest]) -> None:
    name = ModelName.parse("native")
    drive = fresh_drive(name, SeededNoise(b"served"), 1)
    drive.power_on()
    with serving([drive]) as there:
        bench = UnitBench(name, profile_text(name), there.server)
        operated = OperatedDrive(drive, there.ports[0], {}, bench)
        for request in requests:
            try:
                OperatorReply(result=operated.operate(request)).encode()
            except ValueError as refused:
                assert str(refused)
        operated.close()


class Stuck(UnitBench):
    """A bench that fails at whichever unit it is to take away first."""

    asked: list[int]

    def take_away(self, plugged: Plugged) -> None:
        self.asked.append(plugged.number)
        if len(self.asked) == 1:
            raise RuntimeError("stuck")
        super().take_away(plugged)


def test_unit_that_cannot_be_taken_away_keeps_none_of_the_others() -> None:
    name = ModelName.parse("plain")
    drive = fresh_drive(name, SeededNoise(b"served"), 1)
    with serving([drive]) as there:
        bench = Stuck(name, profile_text(name), there.server)
        bench.asked = []
        operated = OperatedDrive(drive, there.ports[0], {}, bench)
        made = [operated.operate(OperatorRequest(Verb.NEW, seed=seed))["unit"] for seed in "abc"]
        with pytest.raises(RuntimeError, match="stuck"):
            operated.close()

    assert sorted(bench.asked) == made


def test_operator_of_another_drive_is_refused(native: ServedTarget) -> None:
    name = native.rack.name
    other = f"usbip:{UsbIpName(name.host, name.port, '1-2')}"
    with pytest.raises(NotFound, match="is at 1-1, not at 1-2"):
        rack_of(other, native.rack.socket)


def test_operator_of_another_server_is_refused(native: ServedTarget) -> None:
    with serving([RamDrive()]) as elsewhere:
        url = f"usbip:{UsbIpName('127.0.0.1', elsewhere.address[1], '1-1')}"
        target = ServedTarget(url, rack_of(url, native.rack.socket), CONTENT)

        with pytest.raises(NotFound, match="is not that of usbip:"):
            target.bench()


def test_unit_that_a_stranger_has_gets_no_verdict(native: ServedTarget) -> None:
    bench = native.bench()
    assert isinstance(bench.unit, ServedUnit)
    name = bench.unit.name
    with RawClient((name.host, name.port)) as stranger:
        assert stranger.ask_for(name.busid) == OpStatus.OK
        with pytest.raises(UnsteadyDrive, match="attached to another host"):
            bench.run_all(parse_steps("set_pin-user-0"))


# --- without an operator -------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    targets = ("model:native+pin.kdf_iterations=1", "model:keypad")
    found = Server(tmp_path, *targets, "--usbip", "127.0.0.1:0", "--json")
    yield found
    found.ends(signal.SIGTERM)


def wire_target(drive: dict[str, Any], profile: str) -> WireTarget:
    url = drive["url"]
    return WireTarget(url, bus_over_usbip(url), profile, drive["reset_code"], CONTENT)


def test_without_an_operator_the_drive_is_erased_between_runs(server: Server) -> None:
    drive = server.drives()[0]
    target = wire_target(drive, "native")
    for _ in range(2):
        bench = target.bench()
        steps = bench.run_all(parse_steps("set_pin-user-0,unlock-user-0,write-0-0-8,read-0-8"))

        assert [step.outcome for step in steps] == [Outcome.OK] * 4
        assert not any(step.mismatches for step in steps)


def test_without_an_operator_nothing_passes_that_takes_one(server: Server) -> None:
    native, keypad = server.drives()
    judged = {
        drive["target"].split("+")[0]: {each.id for each in applicable(target.facts)}
        for drive, target in (
            (native, wire_target(native, "native")),
            (keypad, wire_target(keypad, "keypad")),
        )
    }
    takes_keys = {"tries-count-down", "limit-holds", "duress-destroys", "owner-is-obeyed"}

    assert takes_keys <= judged["model:native"]
    assert not takes_keys & judged["model:keypad"]
    assert not any(BY_ID[each].capabilities - REACHED for ids in judged.values() for each in ids)


def test_drive_with_keys_is_judged_without_an_operator_while_it_is_blank(server: Server) -> None:
    _, keypad = server.drives()
    target = wire_target(keypad, "keypad")
    status = target.bench().status()
    assert status is not None and status.state is State.FACTORY

    with closing(OperatorSocket(keypad["operator"])) as operator:
        operator.press("SET 1357924 UNLOCK 1357924 UNLOCK")
    with pytest.raises(UnsteadyDrive, match="nobody is there to erase it"):
        target.bench()


def test_what_is_lacking_to_evaluate_is_said(server: Server, run: Run) -> None:
    url = server.drives()[0]["url"]
    neither = run("evaluate", url)
    no_code = run("evaluate", url, "--profile", "native")

    assert (neither.status, no_code.status) == (2, 2)
    assert "give --operator SOCKET, as `sedlab serve` prints it" in neither.err
    assert "give SEDLAB_RESET_CODE" in no_code.err


def test_drive_that_may_be_real_is_not_erased() -> None:
    with serving([RamDrive()], Elsewhere) as there, pytest.raises(AccessDenied, match="real"):
        bus_over_usbip(there.url())


# --- the command ---------------------------------------------------------------------------------


def test_finding_is_replayed_on_a_drive_that_is_served(run: Run, tmp_path: Path) -> None:
    socket = tmp_path / "operator"
    server = Server(
        tmp_path,
        "model:native+open-in-standby",
        *("--usbip", "127.0.0.1:0", "--operator", str(socket), "--json"),
    )
    drive = server.drives()[0]
    steps = "set_pin-user-0,unlock-user-0,suspend"
    replayed = run(
        "replay",
        f"locks-when-it-should:{drive['url']}:{steps}",
        *("--operator", str(socket), "--json"),
    )
    server.ends(signal.SIGTERM)

    assert drive["operator"] == str(socket)
    assert replayed.status == 1
    assert "unlocked" in json.loads(replayed.out)["failed"] + replayed.out
    assert not socket.exists()
