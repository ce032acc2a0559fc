"""A second copy of the drive's code, whose firmware can be glitched; the first stays as shipped.

The copy is made from the same source files under names of its own: `glitched_model.firmware.keys`
beside `firmware_model.firmware.keys`. What knows no firmware, hardware and wire, is shared.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from hil_tests.glitch.glitch import Glitch
from hil_tests.glitch.instrument import COMPARISON, KEPT, STEP, VERDICT, instrumented

if TYPE_CHECKING:
    from firmware_model.defects import Defect
    from firmware_model.emulated_drive import EmulatedDrive

SHIPPED: Final = "firmware_model"
COPY: Final = "glitched_model"
COPIED: Final = ("defects", "emulated_drive", "firmware", "usb")
FIRMWARE: Final = ("defects", "firmware", "usb")  # of these, every decision can be glitched


class Shadow:
    """The copy, and the glitch that its firmware asks."""

    def __init__(self) -> None:
        self.glitch = Glitch()
        self.root = Path(str(importlib.import_module(SHIPPED).__file__)).parent
        sys.meta_path.insert(0, _Finder(self))

    def drive(self) -> type[EmulatedDrive]:
        """Return the class of drives whose firmware can be glitched."""
        found: type[EmulatedDrive] = importlib.import_module(f"{COPY}.emulated_drive").EmulatedDrive
        return found

    def defects(self) -> Mapping[str, Defect]:
        """Return the defects as they fit such drives."""
        found: Mapping[str, Defect] = importlib.import_module(f"{COPY}.defects").DEFECTS
        return found

    def module(self, path: Path) -> ModuleType:
        """Return a Python file of the user's as a module that fits such drives."""
        name = f"{COPY}_user_part_{path.stem}"
        loader = _Loader(self, name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
        return module

    def is_firmware(self, path: Path) -> bool:
        """Tell whether code can be glitched: firmware, and whatever is not part of the model."""
        inside = path.relative_to(self.root).parts if path.is_relative_to(self.root) else FIRMWARE
        return inside[0] in FIRMWARE


@cache
def shadow() -> Shadow:
    """Return the copy; it is made once."""
    return Shadow()


class _Finder(MetaPathFinder):
    """Finds `glitched_model.X` where `firmware_model.X` stands."""

    def __init__(self, made: Shadow) -> None:
        self._made = made

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != COPY:
            return None
        shipped = importlib.util.find_spec(SHIPPED + fullname.removeprefix(COPY))
        if shipped is None or shipped.origin is None:
            return None
        loader = _Loader(self._made, fullname, shipped.origin)
        places = shipped.submodule_search_locations
        return importlib.util.spec_from_file_location(
            fullname, shipped.origin, loader=loader, submodule_search_locations=places
        )


class _Loader(SourceFileLoader):
    """Loads a source file as a part of the copy."""

    def __init__(self, made: Shadow, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._made = made

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source: no file keeps the result, and none of the shipped code is taken."""
        path, made = Path(self.path), self._made
        source = path.read_text("utf-8")
        if made.is_firmware(path):
            within = path.is_relative_to(made.root)
            name = str(path.relative_to(made.root)) if within else path.name
            tree = instrumented(source, name, made.glitch.add)
        else:
            tree = ast.parse(source, self.path)
        code: CodeType = compile(_Redirected().visit(tree), self.path, "exec")
        return code

    def exec_module(self, module: ModuleType) -> None:
        glitch = self._made.glitch
        asked: dict[str, Any] = {
            VERDICT: glitch.verdict,
            COMPARISON: glitch.comparison,
            STEP: glitch.step,
            KEPT: glitch.kept,
        }
        vars(module).update(asked)
        super().exec_module(module)


class _Redirected(ast.NodeTransformer):
    """Has the copy import from the copy."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        package, _, rest = (node.module or "").partition(".")
        if package == SHIPPED and rest.partition(".")[0] in COPIED:
            node.module = f"{COPY}.{rest}"
        return node
