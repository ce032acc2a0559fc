"""Whole drives whose element has a TPM."""

from itertools import count
from pathlib import Path

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.element_state import Count
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.hardware.supply import PowerCut
from firmware_model.hardware.tpm.element import TpmElement
from firmware_model.hardware.tpm.provisioning import connect, provision
from firmware_model.wire.native import Result, Role
from hil_tests.command_line import FAST, Run
from hil_tests.swtpm import Swtpm


def test_drive_with_a_tpm_is_made_used_and_erased(swtpm: Swtpm, run: Run) -> None:
    swtpm.clear()
    made = run("new", "t.sed", "--set", f"element=tpm:{swtpm.tcti}", *FAST)
    assert made.status == 0, made.err
    assert run("set-pin", "t.sed", NEW_PIN="8402957136").status == 0
    wrong = run("unlock", "t.sed", PIN_USER="8402957137")
    assert (wrong.status, wrong.err) == (1, "sedlab: wrong PIN, 9 tries left\n")
    assert run("unlock", "t.sed", PIN_USER="8402957136").status == 0
    assert "10 of 10 as user" in run("info", "t.sed").out
    assert run("erase", "t.sed", "--yes", PIN_USER="8402957136").status == 0
    assert "erased" in run("info", "t.sed").out
    assert run("unlock", "t.sed", PIN_USER="8402957136").status == 1


def test_copy_of_a_drives_file_is_refused_once_the_drive_went_on(swtpm: Swtpm, run: Run) -> None:
    swtpm.clear()
    run("new", "t.sed", "--set", f"element=tpm:{swtpm.tcti}", *FAST)
    run("set-pin", "t.sed", NEW_PIN="8402957136")
    Path("copy.sed").write_bytes(Path("t.sed").read_bytes())
    run("unlock", "t.sed", PIN_USER="8402957137")
    refused = run("unlock", "copy.sed", PIN_USER="8402957136")

    assert refused.status == 3
    assert "the TPM does not vouch for the state beside it" in refused.err


def test_second_drive_on_one_tpm_leaves_no_file(swtpm: Swtpm, run: Run) -> None:
    swtpm.clear()
    run("new", "t.sed", "--set", f"element=tpm:{swtpm.tcti}", *FAST)
    refused = run("new", "other.sed", "--set", f"element=tpm:{swtpm.tcti}", *FAST)

    assert (refused.status, Path("other.sed").exists()) == (3, False)
    assert "belongs to somebody, or to another drive" in refused.err


def test_what_needs_a_second_element_of_the_kind_is_refused(swtpm: Swtpm, run: Run) -> None:
    swtpm.clear()
    run("new", "t.sed", "--set", f"element=tpm:{swtpm.tcti}", *FAST)
    judged = run("evaluate", "t.sed", "--out", "report")
    replaced = run("info", "model:t.sed+counter-after-check")

    said = "sedlab: t.sed: its element is a TPM, and a fresh one is not to be had\n"
    assert (judged.status, judged.err) == (3, said)
    said = "sedlab: a TPM counts by itself: the drive's counter can't be replaced\n"
    assert (replaced.status, replaced.err) == (3, said)


def test_drive_whose_tpm_does_not_answer_says_so(swtpm: Swtpm, run: Run) -> None:
    swtpm.clear()
    run("new", "t.sed", "--set", f"element=tpm:{swtpm.tcti}", *FAST)
    swtpm.cut_power()
    refused = run("info", "t.sed")
    swtpm.start()

    assert refused.status == 3
    assert refused.err.startswith(f"sedlab: no TPM answers at {swtpm.tcti}")
    assert run("info", "t.sed").status == 0


def test_drive_with_a_tpm_has_its_old_pin_or_its_new_one_wherever_power_is_cut(
    swtpm: Swtpm,
) -> None:
    pins = [b"8402957136", b"5036281947"]
    drive = drive_with(swtpm)
    assert drive.firmware is not None
    assert drive.firmware.set_pin(Role.USER, pins[0]).result is Result.OK
    for number in count(1):
        assert drive.firmware.unlock(Role.USER, pins[0]).result is Result.OK
        drive.cut_at(number)
        try:
            drive.firmware.set_pin(Role.USER, pins[1])
            was_cut = False
        except PowerCut:
            was_cut = True
        drive.power_off()
        drive.power_on()
        opened = [drive.firmware.unlock(Role.USER, pin).result is Result.OK for pin in pins]
        assert sum(opened) == 1
        assert drive.firmware.tries_left(Count.USER) in (9, 10)  # 9: the other was tried last
        if not was_cut:
            assert opened == [False, True]
            return
        if opened[1]:
            pins.reverse()


def drive_with(swtpm: Swtpm) -> EmulatedDrive:
    """Return a fresh native drive under power, whose element is that TPM."""
    profile = profiles.load("native")
    made = EmulatedDrive.new(profile, SeededNoise(b"noise"))
    board = made.board
    swtpm.clear()
    chip, external = connect(swtpm.tcti), board.element.external
    provision(chip, board.embedded.memory, external)
    board.element = TpmElement(chip, board.supply, board.clock, board.timing, external, board.sync)
    drive = EmulatedDrive(board, profile, kdf_iterations=1)
    drive.power_on()
    return drive
