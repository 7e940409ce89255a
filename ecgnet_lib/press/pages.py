"""A page before it is executed: its cells and its parameters.

Papermill only warns about a parameter that the page does not have, and ignores every parameter when
no cell is tagged 'parameters'. Here both are errors.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from ecgnet_lib.errors import PageError

TYPES = {"int": int, "float": float, "str": str, "bool": bool}
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
RULE = f"only lines such as `name: type = literal  # what it does`, type one of {', '.join(TYPES)}"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a page, from a line such as `epochs: int = 12  # passes over the data`."""

    name: str
    type: type
    default: float | int | str | bool
    help: str

    def parse(self, value: object) -> float | int | str | bool:
        """Return a value, or its text, in the parameter's type; PageError if that cannot be."""
        try:
            if isinstance(value, str):
                value = BOOLEANS[value.lower()] if self.type is bool else self.type(value)
            elif self.type is float and type(value) is int:
                value = float(value)
            # Not isinstance: True is no int here.
            if type(value) is self.type and not (self.type is float and not math.isfinite(value)):
                return value
        except (ValueError, KeyError):
            pass
        raise PageError(
            f"the parameter {self.name} does not take {value!r}",
            expected=f"{self.type.__name__} ({self.help})",
        )


@dataclass(frozen=True)
class Page:
    """A page of the book, checked: `read_page` makes it."""

    name: str
    file: str  # relative to the project, for messages
    notebook: dict
    parameters: dict[str, Parameter]

    @property
    def code(self) -> list[dict]:
        """Return the code cells, in order."""
        return code_cells(self.notebook)

    @property
    def source(self) -> str:
        """Return the source of all code cells as one text."""
        return "\n".join(cell["source"] for cell in self.code)

    def values(self, given: dict[str, object]) -> dict[str, object]:
        """Return the given values in their types; PageError for an unknown name or a misfit."""
        for name in given:
            if name not in self.parameters:
                near = difflib.get_close_matches(name, self.parameters, n=1, cutoff=0.5)
                raise PageError(
                    f"the page {self.name} has no parameter {name!r}",
                    expected="one of " + ", ".join(self.parameters),
                    remedy=f"did you mean {near[0]}?" if near else None,
                )
        return {name: self.parameters[name].parse(value) for name, value in given.items()}

    def settings(self, given: dict[str, object]) -> dict[str, object]:
        """Return every parameter's value: the given ones, the page's defaults for the rest."""
        defaults = {name: parameter.default for name, parameter in self.parameters.items()}
        return defaults | self.values(given)


def code_cells(notebook: dict) -> list[dict]:
    """Return the code cells of a notebook, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tags(cell: dict) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", ()))


def read_page(path: Path) -> Page:
    """Read and check a notebook. Raises PageError when the build could not trust it."""
    import nbformat

    file = f"{path.parent.name}/{path.name}"
    try:
        raw = json.loads(path.read_bytes())
        if not (isinstance(raw, dict) and raw.get("nbformat") == 4):
            raise ValueError("JSON, but not that of a notebook of format 4")
        notebook = nbformat.reads(json.dumps(raw), as_version=4)  # joins the lines
        nbformat.validate(notebook)
    except FileNotFoundError:
        raise PageError("the page does not exist", file=file) from None
    except (ValueError, nbformat.ValidationError) as error:  # JSON and UTF-8 errors are ValueErrors
        found = str(error).splitlines()[0]
        raise PageError("the page is not a notebook", file=file, found=found) from None
    tagged = [i for i, cell in enumerate(code_cells(notebook)) if "parameters" in tags(cell)]
    if tagged != [0]:
        raise PageError(
            "not exactly one cell is tagged 'parameters', or it is not the first code cell",
            file=file,
            found=f"{len(tagged)} such cells",
            remedy="tag the first code cell, and no other",
        )
    parameters = read_parameters(code_cells(notebook)[0]["source"], file)
    return Page(path.stem, file, notebook, parameters)


def read_parameters(source: str, file: str = "parameters cell") -> dict[str, Parameter]:
    """Return the parameters of a cell by name, in order; PageError for anything but typed literals.

    Every line reads `name: type = literal  # what it does`, type being int, float, str or bool.
    """
    from papermill.translators import PythonTranslator

    parameters = {}
    try:
        lines = ast.parse(source).body
        for found in PythonTranslator.inspect({"source": source}):
            kind, default = TYPES[found.inferred_type_name], ast.literal_eval(found.default)
            if type(default) is not kind or not found.help:
                raise ValueError(f"{found.name}: {found.inferred_type_name} = {found.default}")
            parameters[found.name] = Parameter(found.name, kind, default, found.help)
        if len(parameters) != len(lines):  # Papermill passes over what it does not understand
            raise ValueError(f"{len(parameters)} parameters in {len(lines)} statements")
    except (SyntaxError, ValueError, KeyError) as error:
        what = "the parameters cell cannot be used"
        raise PageError(what, file=file, expected=RULE, found=error) from None
    return parameters
