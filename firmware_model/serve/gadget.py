"""A drive given away as a USB device, at a device port of this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

from firmware_model.serve.device_ports import DevicePort, NoPort
from firmware_model.serve.function_files import FunctionFiles
from firmware_model.serve.gadget_session import GadgetSession, Tell
from firmware_model.serve.gadget_tree import GADGETS, DeviceTexts, gadget
from firmware_model.serve.port import Description, Port
from firmware_model.wire.functionfs import FLAGS, Descriptors
from firmware_model.wire.setup import Speed

MILLIAMPERES: Final = 2  # that a unit of a configuration is, below SuperSpeed


@contextmanager
def given_to(
    name: str, port: Port, tell: Tell, ended: Callable[[], None], *, gadgets: Path = GADGETS
) -> Iterator[None]:
    """Have the device on a port be a USB device at the device port of that name meanwhile.

    `ended` is called when it is over by itself. Raises NoPort where it can't be.
    """
    with gadget(DevicePort(name), gadgets) as made:
        found = _descriptions(port)
        first = found[Speed.HIGH]
        device = first.device
        texts = DeviceTexts(
            port.text(device.manufacturer_index),
            port.text(device.product_index),
            port.text(device.serial_index),
        )
        made.make(device, texts, first.configuration.max_power * MILLIAMPERES)
        descriptors = Descriptors.of({speed: each.configuration for speed, each in found.items()})
        endpoints = [each.address for each in first.configuration.interfaces[0].endpoints]
        files = FunctionFiles(made.files, descriptors, endpoints)
        try:
            session = GadgetSession(port, made, files, endpoints, tell)
            thread = Thread(target=_serve, args=(session, tell, ended), daemon=True)
            thread.start()
            try:
                made.connect()
                yield
            finally:
                session.is_over = True
                made.disconnect()  # which ends what the thread may wait for
                files.wake()
                thread.join()
                session.close()
        finally:
            files.close()


def _serve(session: GadgetSession, tell: Tell, ended: Callable[[], None]) -> None:
    try:
        while not session.is_over:
            session.turn()
    except OSError as failed:
        tell(f"{failed.strerror or failed}")
    finally:
        ended()


def _descriptions(port: Port) -> dict[Speed, Description]:
    """Return what the device says that it is, at each speed."""
    found = {}
    for speed in FLAGS:
        port.attach_at(speed)
        description = port.describe()
        if description is None:
            raise NoPort("the drive does not answer: has it power?")
        found[speed] = description
    return found
