"""What is left of a drive after it has been suspended, or the whole machine."""

from __future__ import annotations

from typing import Final

from hil_tests.kernel.checks.locking import FIRST_BLOCK, NO_MEDIUM
from hil_tests.kernel.checks.plugging import warned
from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.outcome import NotExercised
from hil_tests.kernel.way_in import UAS

TELLS_DEVICES: Final = "/dummy_hcd"  # of a suspended bus; QEMU and vhci_hcd keep it to themselves
FALLING_ASLEEP_S: Final = 30
ASLEEP_S: Final = 60
CONTROLLER: Final = "xHC error in resume"  # QEMU's has lost its state
SLEEPER: Final = "fe4d7c9d-b8c6-4a70-9ef1-3d8a58d18eed"  # names the event that it sends
# The machine's own files are out of reach once it has slept, as 9p over virtio does not come back.
# So this reads before what it reads afterwards, and tells the result by an event of the kernel.
SLEEP: Final = """
import mmap, os
def written(path, text):
    with open(path, "w") as file:
        file.write(text)
def content():
    os.preadv(disk, [page], 0)
    return bytes(page)
disk = os.open("{block}", os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
before = content()
written("/sys/module/suspend/parameters/pm_test_delay", "1")
written("/sys/power/pm_test", "devices")
try:
    written("/sys/power/state", "freeze")
except OSError:
    result = "awake"
else:
    try:
        result = "same" if content() == before else "other"
    except OSError:
        result = "none"
written("/sys/block/{name}/uevent", "change {sleeper} RESULT=" + result)
"""


def wakes_from_suspend_as_it_was(drive: PluggedDrive) -> None:
    """What has a lock and learns of it locks itself: `lock_on_suspend` is its policy."""
    if drive.way_in.driver == UAS:
        raise NotExercised("Linux's uas driver suspends no device by itself")
    locks_itself = drive.way_in.pin and TELLS_DEVICES in drive.usb
    before = drive.machine.moment()
    read = FIRST_BLOCK.format(drive.block)
    first = drive.do(read)
    drive.do(
        f"""for device in {drive.usb} {drive.scsi}; do
            echo 0 >$device/power/autosuspend_delay_ms
            echo auto >$device/power/control
        done
        until [ $(cat {drive.usb}/power/runtime_status) = suspended ]; do sleep 0.05; done""",
        FALLING_ASLEEP_S,
    )
    woken = drive.machine.run(read)
    drive.do(f"echo on >{drive.scsi}/power/control; echo on >{drive.usb}/power/control")
    if locks_itself:
        drive.unlock()
    again = drive.do(read)
    said = warned(drive.machine.log_since(before))

    assert NO_MEDIUM in woken.text if locks_itself else woken.text == first, woken.text
    assert again == first, "another content"
    assert not said, f"the kernel warns: {said}"


def outlives_a_sleep_of_the_machine(drive: PluggedDrive) -> None:
    if TELLS_DEVICES in drive.usb:
        raise NotExercised("the drive is a part of the machine, and so falls asleep before it does")
    machine = drive.machine
    before = machine.moment()
    script = SLEEP.format(block=drive.block, name=drive.name, sleeper=SLEEPER)
    machine.start("exec python3 -I -S -", stdin=script.encode())
    told = machine.event_since(before, {"SYNTH_UUID": SLEEPER}, ASLEEP_S)
    logged = machine.log_since(before)
    machine.close()

    assert told is not None, f"it did not wake up, and logged: {logged[-1].text}"
    # QEMU's controller resets its ports when it wakes: what has a lock is locked then.
    expected = "none" if drive.way_in.pin else "same"
    assert (result := told["SYNTH_ARG_RESULT"]) != "awake", "the kernel refused to sleep"
    assert result == expected, f"its content: {result}"
    # Reading from a locked drive fails.
    refusal = (f"I/O error, dev {drive.name}",) if drive.way_in.pin else ()
    said = warned(logged, CONTROLLER, *refusal)
    assert not said, f"the kernel warns: {said}"


CHECKS: Final = (wakes_from_suspend_as_it_was, outlives_a_sleep_of_the_machine)
