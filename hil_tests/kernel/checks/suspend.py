"""What is left of a drive after the whole machine has slept."""

from __future__ import annotations

from typing import Final

from hil_tests.kernel.checks.plugging import warned
from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.outcome import NotExercised

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
    try:
        os.preadv(disk, [page], 0)
    except OSError:
        return None
    return bytes(page)
disk = os.open("{block}", os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
before = content()
written("/sys/module/suspend/parameters/pm_test_delay", "1")
written("/sys/power/pm_test", "devices")
try:
    written("/sys/power/state", "freeze")
    after = content()
    result = "same" if after == before else "none" if after is None else "other"
except OSError:
    result = "awake"
written("/sys/block/{name}/uevent", "change {sleeper} RESULT=" + result)
"""


def outlives_a_sleep_of_the_machine(drive: PluggedDrive) -> None:
    if "/dummy_hcd" in drive.usb:
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


CHECKS: Final = (outlives_a_sleep_of_the_machine,)
