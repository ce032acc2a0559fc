"""The verb that makes drives: new. And what completes their names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


class ProfileType(click.ParamType[str]):
    """A profile's name, or the path of a TOML that describes one."""

    name = "profile"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete names; else whatever the shell can."""
        from firmware_model import profiles

        found = [CompletionItem(name) for name in profiles.names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


def profile_text(profile: str) -> str:
    """Return the TOML of a profile; raise ProfileError where there is none."""
    from firmware_model import profiles

    if not profile.endswith(".toml"):
        return profiles.text_of(profile)
    try:
        with Path(profile).open(encoding="utf-8") as file:
            return file.read(profiles.TEXT_BYTES_MAX + 1)  # longer is refused where it is read
    except UnicodeDecodeError:
        raise profiles.ProfileError(f"{profile}: not TOML: it is not UTF-8") from None


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--profile",
    type=ProfileType(),
    default="native",
    show_default=True,
    help="Name, or path of a TOML.",
)
@click.option("--capacity", help="Such as 64MiB.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the profile, such as tries.user=5.",
)
@click.option(
    "--known-drives",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of pinned identities, instead of the user's own.",
)
@click.option(
    "--takes-tpm",
    is_flag=True,
    help="Give the computer's own TPM to this drive, until the TPM is cleared.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def new(
    file: Path,
    profile: str,
    capacity: str | None,
    settings: tuple[str, ...],
    known_drives: Path | None,
    takes_tpm: bool,
    as_json: bool,
) -> None:
    """Make a drive in a file, and print its reset code, which is told this once.

    Its identity is noted among the known drives, as ssh notes hosts.
    """
    from firmware_model import profiles
    from firmware_model.hardware.entropy import SeededNoise
    from firmware_model.manufacture import manufacture, serial_of
    from hil_tests.targets import create_file
    from host_driver.errors import IdentityUnknown
    from host_driver.known_drives import KnownDrives, default_path, fingerprint

    file = Path(str(file).removeprefix("model:"))  # as it is named where it is a target
    if file.suffix != ".sed":
        raise click.UsageError(f"{file}: the name of a drive's file ends in .sed")
    changes = dict(profiles.setting(each) for each in settings)
    if capacity is not None:
        changes["capacity"] = capacity
    text = profiles.changed(profile_text(profile), changes)
    described = profiles.parse(text)
    if (described.tcti or "").startswith("device:") and not takes_tpm:
        raise click.UsageError(
            f"{described.element}: the TPM will serve nothing but this drive, and its lockout gets "
            "a password that nobody knows: add --takes-tpm if that is meant"
        )
    made = manufacture(described, SeededNoise(os.urandom(32)))
    create_file(file, text, described, made)
    serial, identity = serial_of(made.element)
    shown = fingerprint(identity)
    try:
        KnownDrives(known_drives or default_path()).note(serial, identity)
    except IdentityUnknown as refused:  # the drive is there, and its code is told only now
        click.echo(f"not noted among the known drives: {refused}", err=True)
    code = " ".join(made.reset_code[at : at + 4] for at in range(0, len(made.reset_code), 4))
    if as_json:
        document = {"file": str(file), "serial": serial, "identity": shown, "reset_code": code}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{file}: {described.title}, {described.policy.block_count} blocks of 512 bytes")
    click.echo(f"serial      {serial}")
    click.echo(f"identity    {shown}")
    click.echo(f"reset code  {code}")
    if described.update_key == profiles.TEST_UPDATE_KEY and described.dialect != "none":
        click.echo("firmware    signed with a published test key: see `sedlab image --help`")
    click.echo("The code erases the drive without any PIN. It is shown this once: keep it apart.")


def complete(incomplete: str) -> list[str]:
    """Return the names of models that could be meant: profiles, and defects behind a plus."""
    from firmware_model import profiles
    from firmware_model.defects import DEFECTS

    models = [f"model:{name}" for name in profiles.names()]
    if "+" not in incomplete:
        return models
    head = incomplete.rpartition("+")[0]
    return [f"{head}+{name}" for name in DEFECTS]
