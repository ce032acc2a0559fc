"""What is made in configfs and found in sysfs, in a folder that looks like them."""

import os
from pathlib import Path

import pytest

from firmware_model.serve.device_ports import DevicePort, NoPort, only_port, port_names
from firmware_model.serve.gadget_tree import DeviceTexts, GadgetTree, gadget
from firmware_model.usb.descriptors import Descriptors
from firmware_model.wire.setup import Speed

DEVICE = Descriptors(0x1209, 0x5ED0, "sedlab", "Native", "0123456789AB").device(Speed.HIGH)
TEXTS = DeviceTexts("sedlab", "Native", "0123456789AB")
UDC = "20980000.usb"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a device port is root's")


@pytest.fixture
def ports(tmp_path: Path) -> Path:
    """The folder of device ports, with one of a Raspberry Pi."""
    port = tmp_path / "udc" / UDC
    port.mkdir(parents=True)
    for attribute, text in {
        "current_speed": "high-speed",
        "state": "configured",
        "function": "",
    }.items():
        (port / attribute).write_text(f"{text}\n")
    return port.parent


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text().strip()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_device_is_the_drives_own(tmp_path: Path) -> None:
    GadgetTree("sedlab-x", tmp_path).make(DEVICE, TEXTS, 200)
    made = tmp_path / "sedlab-x"

    assert files(made) == {
        "idVendor": "0x1209",
        "idProduct": "0x5ed0",
        "bcdDevice": "0x100",
        "bDeviceClass": "0x0",
        "bDeviceSubClass": "0x0",
        "bDeviceProtocol": "0x0",
        "strings/0x409/manufacturer": "sedlab",
        "strings/0x409/product": "Native",
        "strings/0x409/serialnumber": "0123456789AB",
        "configs/c.1/MaxPower": "200",
    }
    assert (made / "configs/c.1/ffs.sedlab-x").readlink() == made / "functions/ffs.sedlab-x"


def test_port_is_given_the_device_by_its_name(tmp_path: Path) -> None:
    tree = GadgetTree("sedlab-x", tmp_path)
    tree.make(DEVICE, TEXTS, 200)
    tree.bind(UDC)

    assert (tmp_path / "sedlab-x/UDC").read_text() == f"{UDC}\n"


def test_port_is_known_by_what_sysfs_says(ports: Path) -> None:
    port = DevicePort(UDC, ports)
    attached = port.is_attached
    (ports / UDC / "state").write_text("not attached\n")

    assert (port.speed, port.user) == (Speed.HIGH, "")
    assert attached and not port.is_attached


def test_port_that_is_gone_says_nothing(ports: Path) -> None:
    port = DevicePort(UDC, ports)
    (ports / UDC / "current_speed").unlink()

    assert port.speed is Speed.UNKNOWN


def test_machine_without_ports_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NoPort, match=r"dtoverlay=dwc2 .* modprobe dummy_hcd"):
        port_names(tmp_path / "none")


def test_only_port_need_not_be_named(ports: Path) -> None:
    assert only_port(ports) == UDC


def test_one_of_several_ports_must_be_named(ports: Path) -> None:
    (ports / "dummy_udc.0").mkdir()
    with pytest.raises(NoPort, match=f"--gadget {UDC} or dummy_udc.0"):
        only_port(ports)


def test_port_that_there_is_not_is_refused_with_those_that_are(ports: Path) -> None:
    with pytest.raises(NoPort, match=f"usb0 is no device port; there is {UDC}"):
        DevicePort("usb0", ports)


@as_root
def test_kernel_without_gadgets_says_which_module_is_lacking(ports: Path, tmp_path: Path) -> None:
    port = DevicePort(UDC, ports)
    with (
        pytest.raises(NoPort, match="modprobe libcomposite"),
        gadget(port, tmp_path / "usb_gadget", tmp_path),
    ):
        pass


@as_root
def test_port_of_another_gadget_is_left_alone(ports: Path, tmp_path: Path) -> None:
    (ports / UDC / "function").write_text("g1\n")
    other = tmp_path / "g1" / "UDC"
    other.parent.mkdir()
    other.write_text(f"{UDC}\n")
    with (
        pytest.raises(NoPort, match=f"in use: by the gadget g1; .* echo '' >{other}"),
        gadget(DevicePort(UDC, ports), tmp_path, tmp_path / "run"),
    ):
        pass

    assert other.read_text() == f"{UDC}\n"


@as_root
def test_port_of_a_module_is_left_alone(ports: Path, tmp_path: Path) -> None:
    (ports / UDC / "function").write_text("g_ether\n")
    with (
        pytest.raises(NoPort, match="modprobe -r g_ether"),
        gadget(DevicePort(UDC, ports), tmp_path, tmp_path / "run"),
    ):
        pass


@as_root
def test_port_of_another_server_is_left_alone(ports: Path, tmp_path: Path) -> None:
    port = DevicePort(UDC, ports)
    with (
        gadget(port, tmp_path, tmp_path / "run"),
        pytest.raises(NoPort, match="in use by another sedlab serve"),
        gadget(port, tmp_path, tmp_path / "run"),
    ):
        pass
