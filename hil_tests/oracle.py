"""What any self-encrypting drive must do, in dicts and ints. Imports neither side of the cable.

What nobody promised, and what a power cut leaves open, are several worlds; what is seen narrows
them. None left is a broken promise. A PIN given as None can't be one: no drive looks at it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class World:
    """One thing the drive may be. `data`: for each block written, the contents it may hold."""

    tries: Mapping[str, int]
    state: str = "factory"
    pins: Mapping[str, str] = field(default_factory=dict)  # by role; "duress" destroys
    recovery: tuple[str, ...] = ()
    data: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    role: str | None = None
    is_read_only: bool = False

    @property
    def is_owned(self) -> bool:  # policy is admin's, or user's where there is none
        return self.role == "admin" or (self.role == "user" and "admin" not in self.pins)

    def locked(self) -> "World":
        return replace(self, state="locked", role=None) if self.state == "unlocked" else self


Branch = tuple[bool | None, World]  # did the command succeed (None: nobody was told), and then


@dataclass
class Oracle:
    """Every world that fits what was seen so far."""

    limits: Mapping[str, int]
    at_limit: str = "erase"
    branches: tuple[Branch, ...] = ()

    def act(self, verb: str, *args: Any, was_cut: bool = False, may_fail: bool = False) -> None:
        """Branch into what `verb` may lead to; a cut falls before, within or after its effect."""
        worlds = {id(w): w for _, w in self.branches}.values() or [World(self.limits)]
        new: list[Branch] = [b for w in worlds for b in getattr(self, verb)(w, *args)]
        if (was_cut or may_fail) and verb in ("unlock", "recover"):  # spent, for no verdict
            new += [(None, self._missed(w, args[0])) for w in worlds if w.tries[args[0]]]
        if was_cut:
            new = [(None, w.locked()) for w in [*worlds, *(w for _, w in new)]]
        self.branches = tuple(b for i, b in enumerate(new) if b not in new[:i])

    def narrow(self, fits: Callable[[bool | None, World], bool]) -> bool:
        """Keep the branches that fit; where none does, keep them all and return False."""
        kept = tuple(branch for branch in self.branches if fits(*branch))
        self.branches = kept or self.branches
        return bool(kept)

    def unlock(self, w: World, role: str, pin: str | None) -> Iterator[Branch]:
        if pin is None or role not in w.pins or not w.tries[role]:
            yield False, w
        elif pin == w.pins[role]:
            yield True, replace(w, state="unlocked", role=role, tries=self._full(w, role))
        elif role == "user" and pin == w.pins.get("duress"):
            yield False, World(self.limits, "erased")
        else:
            yield False, self._missed(w, role)

    def recover(self, w: World, count: str, pin: str | None, new: str) -> Iterator[Branch]:
        if pin is None or not w.recovery or not w.tries[count] or pin not in w.recovery:
            yield False, self._missed(w, count) if pin and w.recovery and w.tries[count] else w
        elif new == w.pins.get("duress"):
            yield False, replace(w, tries=self._full(w, count))
        else:
            left, pins = tuple(p for p in w.recovery if p != pin), {**w.pins, "user": new}
            w = replace(w, pins=pins, recovery=left, tries=self._full(w, "user", count))
            yield True, replace(w, state="unlocked", role="user")
            yield True, replace(w, state="locked", role=None)

    def set_pin(self, w: World, role: str, pin: str | None) -> Iterator[Branch]:
        first, new = w.state in ("factory", "erased"), {**w.pins, role: pin or ""}
        may = pin and (first or w.is_owned or w.role == role) and pin != w.pins.get("duress")
        for state, opened_as in (("unlocked", w.role or role), ("locked", None)) if may else ():
            tries = self._full(w, role)
            yield True, replace(w, state=state, role=opened_as, pins=new, tries=tries)
        if not may:
            yield False, w

    def own(self, w: World, counts: tuple[str, ...], changes: dict[str, Any]) -> Iterator[Branch]:
        may, pins = w.is_owned, {**w.pins, **changes.get("pins", {})}
        may = may and pins.get("duress") not in {**pins, "duress": ""}.values()
        changed = replace(w, **{**changes, "pins": pins, "tries": self._full(w, *counts)})
        yield may, changed if may else w

    def read(self, w: World) -> Iterator[Branch]:
        yield w.state == "unlocked", w

    def write(self, w: World, is_whole: bool, lba: int, *contents: int) -> Iterator[Branch]:
        may, data = w.state == "unlocked" and not w.is_read_only, dict(w.data)
        for block, content in enumerate(contents, lba) if may else ():
            if is_whole or block in data:  # of a block never written, a cut leaves nothing known
                data[block] = (content,) if is_whole else (*data[block], content)
        yield may, replace(w, data=data)

    def erase(self, w: World, by: str) -> Iterator[Branch]:
        may = {"session": w.is_owned, "code": True}.get(by, bool(w.role) and not w.is_read_only)
        yield may, World(self.limits, "erased") if may else w

    def lock(self, w: World) -> Iterator[Branch]:
        yield None, w.locked()

    def nothing(self, w: World) -> Iterator[Branch]:
        yield None, w

    def _full(self, w: World, *counts: str) -> Mapping[str, int]:
        return {**w.tries, **{count: self.limits[count] for count in counts}}

    def _missed(self, w: World, role: str) -> World:
        w = replace(w, tries={**w.tries, role: w.tries[role] - 1})
        if w.tries[role]:
            return w
        if self.at_limit == "erase" or role == "admin" or not ("admin" in w.pins or w.recovery):
            return World(self.limits, "erased")
        return replace(w, state="blocked", role=None) if role == "user" else w
