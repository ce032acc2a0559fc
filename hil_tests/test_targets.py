"""Names of model drives: profiles, defects, files, and parts of the user's own."""

import subprocess
import sys
from pathlib import Path

import pytest

from firmware_model.firmware.parts import PartError
from firmware_model.firmware.reference import REFERENCE
from hil_tests.actions import parse_steps
from hil_tests.properties import BY_ID
from hil_tests.runs import Target, fails
from hil_tests.targets import ModelName
from host_driver.drive import OpenOptions, open_drive
from host_driver.errors import NotFound, TransportError

GOOD = """
from firmware_model.hardware.attempt_counter import SpendFirst

class MyCounter(SpendFirst):
    def settle(self, cells, count, proof):
        super().settle(cells, count, proof)
        cells.commit("forgive", cells.state.with_tries(count, cells.state.limits[count]))
        return True

class Unfit:
    part = "counter"
    def attempt(self, cells, request): ...

class Anything:
    pass

class Wrong:
    part = "colour"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_part.py"
    path.write_text(GOOD, "utf-8")
    return path


def test_part_of_the_users_own_replaces_the_one_it_fits(own: Path) -> None:
    replaced = ModelName.parse(f"native+{own}:MyCounter").parts()

    assert list(replaced) == ["counter"]


def test_key_of_the_profile_is_changed_beside_a_defect() -> None:
    target = Target("model:native+capacity=1MiB+tries.user=3+counter-after-check")

    assert target.profile.policy.block_count == 2048
    assert target.profile.policy.limits == (3, 10, 10)
    assert list(target.name.parts()) == ["counter"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("model:native+capacity=7", "from 1 MiB"),
        ("model:native+colour=red", "unknown key colour"),
        ("model:native+=1", "is not KEY=VALUE"),
        ("model:native+capacity.x=1", "capacity is no table"),
    ],
)
def test_key_that_can_not_be_changed_to_that_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Target(url)


def test_file_is_opened_with_the_profile_it_was_made_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its profile is the one it was made with"):
        open_drive(f"model:{tmp_path / 'drive.sed'}+capacity=1MiB", OpenOptions())


def test_part_of_the_users_own_is_judged(own: Path) -> None:
    target = Target(f"model:native+{own}:MyCounter")
    property_ = BY_ID["tries-count-down"]

    failures = [fails(target, property_, parse_steps(s)) for s in property_.sequences(target.facts)]

    assert any(failures)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Unfit", "no method settle, tries_left"),
        ("Anything", "fits no part; give it `part = NAME`"),
        ("Wrong", "there is no part 'colour'"),
        ("Nobody", "no class 'Nobody'"),
    ],
)
def test_part_that_does_not_fit_is_refused_with_what_it_lacks(
    own: Path, name: str, said: str
) -> None:
    with pytest.raises(PartError, match=said):
        ModelName.parse(f"native+{own}:{name}").parts()


def test_file_that_fails_to_load_is_refused_with_its_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name", "utf-8")

    with pytest.raises(PartError, match="ModuleNotFoundError"):
        ModelName.parse(f"native+{path}:Part").parts()


def test_same_part_is_not_replaced_twice() -> None:
    with pytest.raises(PartError, match="the counter is replaced twice"):
        ModelName.parse("native+counter-after-check+no-attempt-evidence").parts()


def test_two_defects_of_different_parts_go_together() -> None:
    replaced = ModelName.parse("native+counter-after-check+ecb-mode").parts()

    assert set(replaced) == {"counter", "cipher"}


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("model:none", NotFound, "no profile 'none'"),
        ("model:native+none", NotFound, "no defect 'none'"),
        ("model:none.sed", NotFound, "no such drive"),
        ("other:native", NotFound, "names no drive"),
        ("model:native+", ValueError, "is not model:PROFILE"),
    ],
)
def test_name_of_nothing_says_so(url: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        open_drive(url)


def test_damaged_file_is_a_fault_of_the_way_to_the_drive(tmp_path: Path) -> None:
    path = tmp_path / "damaged.sed"
    path.write_bytes(b"no drive at all")

    with pytest.raises(TransportError, match=r"damaged\.sed"):
        open_drive(f"model:{path}")


def test_trace_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        open_drive("model:native", OpenOptions(trace=tmp_path))


def test_every_reference_part_is_the_only_one_of_its_seam() -> None:
    from firmware_model.firmware.parts import PART_NAMES, check_fit

    assert set(REFERENCE) == set(PART_NAMES)
    for part, made in REFERENCE.items():
        check_fit(part, made)


def test_part_that_raises_is_a_finding_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "raises.py"
    path.write_text(
        "from firmware_model.hardware.attempt_counter import SpendFirst\n"
        "class Raises(SpendFirst):\n"
        "    def attempt(self, cells, request):\n"
        "        raise RuntimeError('out of paper')\n",
        "utf-8",
    )
    target = Target(f"model:native+{path}:Raises")

    failure = fails(
        target, BY_ID["malformed-is-harmless"], parse_steps("set_pin-user-0,unlock-user-0")
    )

    assert failure is not None
    assert "crashed the firmware: RuntimeError: out of paper" in failure.said


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
@pytest.mark.parametrize("event", ["unplug()", "advance(10**12)", "bus(BusEvent.RESET)"])
def test_event_that_a_full_disk_keeps_from_the_log_is_a_transport_error(
    tmp_path: Path, event: str
) -> None:
    script = f"""
import resource
from firmware_model.wire.function import BusEvent
from hil_tests.commands_new import new
from host_driver import TransportError, open_drive
new(["a.sed", "--profile", "native", "--set", "pin.kdf_iterations=1"], standalone_mode=False)
with open_drive("model:a.sed") as drive:
    drive.set_pin("8402957136")
    drive.unlock("8402957136")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        drive.operator.{event}
    except TransportError as error:
        print("told:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "told: a.sed: File too large" in done.stdout, done.stderr
