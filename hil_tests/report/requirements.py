"""The published requirements that properties bear on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of a published document, in our words."""

    id: str
    title: str
    source: str
    statement: str


@cache
def requirements() -> dict[str, Requirement]:
    """Return all of them by id, as `fixtures/requirements.toml` lists them."""
    text = files("fixtures").joinpath("requirements.toml").read_text("utf-8")
    rows = tomllib.loads(text)["requirement"]
    return {row["id"]: Requirement(**row) for row in rows}
