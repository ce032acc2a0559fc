"""The verb that gives drives away: serve."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from host_driver.commands.options import TargetType
from host_driver.commands.shown import printable

if TYPE_CHECKING:
    from firmware_model.emulated_drive import EmulatedDrive
    from firmware_model.serve.usbip import Export, UsbIpServer
    from firmware_model.wire.operator import Result
    from firmware_model.wire.usb import Speed
    from hil_tests.ending import Ending
    from hil_tests.guest_address import GuestAddress
    from hil_tests.targets import ModelName

DEFAULT_ADDRESS: Final = "127.0.0.1"
SPEEDS: Final = ("super", "high")
ONLY_PORT: Final = ""  # the one that there is


class DevicePortType(click.ParamType[str]):
    """The name of a device port."""

    name = "udc"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the names of those that this machine has."""
        from firmware_model.serve.device_ports import port_names

        with suppress(OSError):
            return [CompletionItem(each) for each in port_names() if each.startswith(incomplete)]
        return []


@dataclass(frozen=True, slots=True)
class Offer:
    """How drives are to be given away."""

    speed: Speed  # of the port that they seem to be in
    has_uas: bool
    operator: Path | None  # where the operator's socket of the one drive is to be


@dataclass(frozen=True, slots=True)
class Served:
    """A drive that is given away."""

    target: str
    name: ModelName
    profile: str  # as TOML
    drive: EmulatedDrive
    export: Export
    reset_code: str | None  # of a fresh drive; whoever made a file was told its own
    operator: Path  # the operator's socket, where the system has such


@click.command()
@click.argument("targets", nargs=-1, type=TargetType(), metavar="TARGET...")
@click.option(
    "--usbip",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    metavar="[HOST:PORT]",
    help="By USB/IP, at 127.0.0.1:3240 if nothing else is said; port 0 takes any.",
)
@click.option(
    "--usbredir",
    metavar="SOCKET",
    help="By USB redirection, at a Unix socket or HOST:PORT; one drive.",
)
@click.option(
    "--gadget",
    type=DevicePortType(),
    is_flag=False,
    flag_value=ONLY_PORT,
    metavar="[UDC]",
    help="As a USB device at this machine's device port, if it has one; one drive, as root.",
)
@click.option("--connect", is_flag=True, help="Connect to a guest that listens at SOCKET.")
@click.option(
    "--speed",
    type=click.Choice(SPEEDS),
    default=SPEEDS[0],
    show_default=True,
    help="Of the port that the drives seem to be in: super needs USB 3 at the other end.",
)
@click.option("--no-uas", is_flag=True, help="Offer Bulk-Only alone, and not UAS beside it.")
@click.option("--allow-remote", is_flag=True, help="Let other machines reach the drives.")
@click.option(
    "--operator",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Where the drive's operator is reached, if not beside FILE.sed; one drive.",
)
@click.option("--json", "as_json", is_flag=True, help="Print where the drives are as JSON.")
def serve(
    targets: tuple[str, ...],
    usbip: str | None,
    usbredir: str | None,
    gadget: str | None,
    connect: bool,
    speed: str,
    no_uas: bool,
    allow_remote: bool,
    operator: Path | None,
    as_json: bool,
) -> None:
    """Give drives to other programs and machines, until interrupted.

    TARGET is model:PROFILE[+DEFECT] or FILE.sed. USB/IP is what Linux attaches remote devices by,
    USB redirection what QEMU's usb-redir does: to a host, each drive is hardware. Whoever can reach
    the address can use the drives; only you can reach their operators, who press keys and pull
    plugs. A model: drive's is in a folder that goes with the server, if not at --operator SOCKET.
    A gadget is hardware: what this machine's device port is plugged into has it, at its own speed.
    """
    if usbip is not None and _is_target(usbip):  # --usbip FILE.sed: the address was left out
        targets, usbip = (TargetType().convert(usbip, None, None), *targets), DEFAULT_ADDRESS
    if gadget is not None and _is_target(gadget):
        targets, gadget = (TargetType().convert(gadget, None, None), *targets), ONLY_PORT
    if not targets or sum(way is not None for way in (usbip, usbredir, gadget)) != 1:
        raise click.UsageError(
            "say which drives and how: serve TARGET... --usbip [HOST:PORT], "
            "or serve TARGET --usbredir SOCKET, or serve TARGET --gadget [UDC]"
        )
    if connect and usbredir is None:
        raise click.UsageError("--connect goes with --usbredir: USB/IP hosts come to us")
    if operator is not None and len(targets) != 1:
        raise click.UsageError("--operator SOCKET is the operator of one drive")
    from firmware_model.wire.usb import Speed
    from hil_tests.ending import Ending
    from hil_tests.freed_memory import keep_freed_memory
    from hil_tests.guest_address import GuestAddress

    keep_freed_memory()
    rate = Speed[speed.upper()]
    # USB/IP has no streams, and without them UAS is nothing at SuperSpeed; gadgets lack it.
    has_uas = not no_uas and gadget is None and (usbip is None or rate is not Speed.SUPER)
    offer = Offer(rate, has_uas, operator)
    with ExitStack() as stack:
        ending = stack.enter_context(Ending())
        if usbip is not None:
            documents = _by_usbip(targets, usbip, allow_remote, offer, stack)
        elif len(targets) > 1:
            raise click.UsageError("a socket of USB redirection, or a device port, has one drive")
        elif usbredir is not None:
            address = GuestAddress(usbredir, connect, allow_remote)
            documents = [_by_usbredir(targets[0], address, offer, ending, stack)]
        elif gadget is not None:
            documents = [_by_gadget(targets[0], gadget, offer, ending, stack)]
        if as_json:
            click.echo(json.dumps({"drives": documents}))
        for document in () if as_json else documents:
            _show(document)
        ending.wait()


def _by_usbip(
    targets: tuple[str, ...], address: str, allow_remote: bool, offer: Offer, stack: ExitStack
) -> list[dict[str, Any]]:
    from firmware_model.serve.usbip import UsbIpServer, listen, listens_everywhere
    from host_driver.usbip_link import split_address

    _refuse_twice(targets)
    host, port = split_address(address)
    listener = stack.enter_context(listen(host, port, allow_remote=allow_remote))
    port = int(listener.getsockname()[1])
    if listens_everywhere(listener):
        host = socket.gethostname()
    served = [_served(number, each, offer, stack) for number, each in enumerate(targets, 1)]
    server = UsbIpServer(listener, [each.export for each in served], _tell)
    stack.callback(server.close)
    for each in served:
        _let_operate(each, server, stack)
    return [_document(each, host, port) for each in served]


def _by_usbredir(
    target: str, address: GuestAddress, offer: Offer, ending: Ending, stack: ExitStack
) -> dict[str, Any]:
    from firmware_model.serve.usbredir import UsbRedirCall, UsbRedirServer

    stream = stack.enter_context(address.stream())
    name = address.named(stream)
    if not address.guest_listens:
        stack.callback(address.forget)
    served = _served(1, target, offer, stack)
    _let_operate(served, None, stack)
    if address.guest_listens:
        call = UsbRedirCall(stream, name, served.export.port, _tell, ending.come)
        stack.callback(call.close)
    else:
        server = UsbRedirServer(stream, served.export.port, _tell)
        stack.callback(server.close)
    return {
        **_of_drive(served),
        "socket": name,
        "attach": f"-chardev {address.chardev(stream)} -device usb-redir,chardev=sedlab",
    }


def _by_gadget(
    target: str, name: str, offer: Offer, ending: Ending, stack: ExitStack
) -> dict[str, Any]:
    from firmware_model.serve.device_ports import only_port
    from firmware_model.serve.gadget import given_to

    name = name or only_port()
    served = _served(1, target, offer, stack)
    _let_operate(served, None, stack)
    stack.enter_context(given_to(name, served.export.port, _tell, ending.come))
    return {**_of_drive(served), "device_port": name}


def _is_target(text: str) -> bool:
    return text.endswith(".sed") or text.startswith("model:")


def _refuse_twice(targets: tuple[str, ...]) -> None:
    """Raise UsageError where a file is named twice, by whatever paths: one process has it."""
    from hil_tests.targets import ModelName

    files: set[Path] = set()
    for target in targets:
        name = ModelName.parse(target.removeprefix("model:"))
        file = Path(name.base).resolve()
        if name.is_file and file in files:
            raise click.UsageError(f"{name.base} is named twice")
        files.add(file)


def _served(number: int, target: str, offer: Offer, stack: ExitStack) -> Served:
    """Return a drive with power, whose clock keeps up with ours, until `stack` ends."""
    from firmware_model.hardware.entropy import SeededNoise
    from firmware_model.serve.port import Port
    from firmware_model.serve.usbip import Export
    from firmware_model.wire.operator import SUFFIX, socket_beside
    from hil_tests.facts import reset_code_of
    from hil_tests.file_drive import FileDrive
    from hil_tests.real_time import keeping_up
    from hil_tests.targets import ModelName, fresh_profile, powered, profile_text

    scheme, _, rest = target.partition(":")
    if scheme != "model":
        raise click.UsageError(f"{target}: what is served is model:PROFILE or FILE.sed")
    name = ModelName.parse(rest)
    text = profile_text(name)
    noise, code = SeededNoise(os.urandom(32)), None
    if not name.is_file:
        profile = fresh_profile(name)
        code = None if profile.dialect == "none" else reset_code_of(profile, noise)
    drive = powered(name, stack, noise, has_uas=offer.has_uas)
    export = Export(number, Port(drive, offer.speed))
    if isinstance(drive, FileDrive):
        drive.on_failure = lambda reason: _tell(f"{export.busid}: lost power: {reason}")
    operator = offer.operator
    if operator is None and name.is_file:
        operator = socket_beside(Path(name.base))
    elif operator is None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sedlab-"))
        operator = Path(folder, f"{export.busid}{SUFFIX}")
    stack.enter_context(keeping_up(drive, export.port.lock))
    return Served(rest if name.is_file else target, name, text, drive, export, code, operator)


def _let_operate(served: Served, server: UsbIpServer | None, stack: ExitStack) -> None:
    """Open the operator's socket; units of his own come to the server, where there is one."""
    from firmware_model.operated_drive import OperatedDrive
    from firmware_model.serve.operator_socket import OperatorSocket
    from hil_tests.unit_bench import UnitBench

    if not hasattr(socket, "AF_UNIX"):
        return
    bench = None if server is None else UnitBench(served.name, served.profile, server)
    export, drive = served.export, served.drive
    about: Result = {
        "target": served.target,
        "profile": served.profile,
        "busid": export.busid,
        "serial": drive.serial,
    }
    operator = OperatorSocket(
        served.operator, lambda: OperatedDrive(drive, export.port, about, bench)
    )
    stack.callback(operator.close)


def _document(served: Served, host: str, port: int) -> dict[str, Any]:
    from firmware_model.wire.usbip import TCP_PORT
    from host_driver.usbip_link import UsbIpName

    busid = served.export.busid
    other_port = "" if port == TCP_PORT else f" --tcp-port {port}"
    return {
        **_of_drive(served),
        "url": f"usbip:{UsbIpName(host, port, busid)}",
        "attach": f"usbip{other_port} attach -r {host} -b {busid}",
    }


def _of_drive(served: Served) -> dict[str, Any]:
    from host_driver.known_drives import fingerprint

    drive = served.drive
    is_plain = drive.profile.dialect == "none"
    return {
        "target": served.target,
        "serial": drive.serial,
        "dialect": drive.profile.dialect,
        "identity": None if is_plain else fingerprint(drive.board.element.identity),
        "reset_code": served.reset_code,
        "operator": str(served.operator) if served.operator.exists() else None,
    }


def _show(document: dict[str, Any]) -> None:
    where = document.get("url") or document.get("socket") or document["device_port"]
    click.echo(printable(f"{where} is {document['target']}"))
    for name in ("serial", "identity", "reset_code", "attach", "operator"):
        if document.get(name) is not None:
            click.echo(printable(f"  {name.replace('_', ' '):<10} {document[name]}"))


def _tell(line: str) -> None:
    with suppress(OSError):  # whoever read it has gone; the drives are still served
        click.echo(printable(line), err=True)
