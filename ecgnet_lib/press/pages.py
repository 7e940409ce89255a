"""A page before it is executed: its cells, its parameters, the pages that it comes after.

Papermill itself only warns about a parameter that the page does not have, and ignores every
parameter when no cell is tagged. A book of results cannot afford either: here both are errors.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import math
import tokenize
from dataclasses import dataclass, replace
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.files import write_if_new

KINDS = {"int": int, "float": float, "str": str, "bool": bool}
WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a page, from a line such as `epochs: int = 12  # passes over the data`."""

    name: str
    kind: type
    optional: bool  # written `int | None`
    default: float | int | str | bool | None
    help: str

    @property
    def annotation(self) -> str:
        """Return the type as the page writes it."""
        return self.kind.__name__ + (" | None" if self.optional else "")

    def parse(self, value: object) -> float | int | str | bool | None:
        """Return a value, or the text of one, in the parameter's type; PageError if it cannot."""
        try:
            return self.check(self._read(value) if isinstance(value, str) else value)
        except (ValueError, KeyError):
            raise PageError(
                f"the parameter {self.name} does not take {value!r}",
                expected=f"{self.annotation} ({self.help})",
            ) from None

    def _read(self, text: str) -> float | int | str | bool | None:
        if self.optional and text == "None":
            return None
        return WORDS[text.lower()] if self.kind is bool else self.kind(text)

    def check(self, value: object) -> float | int | str | bool | None:
        """Return a value of the parameter's type as it is, an int for a float; else ValueError."""
        if value is None and self.optional:
            return None
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:  # not isinstance: True is no int here
            raise ValueError(value)
        if self.kind is float and not math.isfinite(value):
            raise ValueError(value)
        return value


@dataclass(frozen=True)
class Page:
    """A page of the book, checked: `read_page` makes it."""

    name: str
    file: str  # relative to the project, for messages
    notebook: dict
    parameters: dict[str, Parameter]
    after: tuple[str, ...]  # the pages whose results it uses

    @property
    def code(self) -> list[dict]:
        """Return the code cells, in order."""
        return code_cells(self.notebook)

    def values(self, settings: dict[str, object]) -> dict[str, object]:
        """Return the settings in their types; PageError for an unknown name or a misfit value."""
        result = {}
        for name, value in settings.items():
            if name not in self.parameters:
                near = difflib.get_close_matches(name, self.parameters, n=1, cutoff=0.5)
                raise PageError(
                    f"the page {self.name} has no parameter {name!r}",
                    expected="one of " + ", ".join(self.parameters),
                    remedy=f"did you mean {near[0]}?" if near else None,
                )
            result[name] = self.parameters[name].parse(value)
        return result

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

    tagged = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    if len(tagged) != 1:
        raise PageError(
            "a page needs exactly one cell tagged 'parameters'",
            file=file,
            found=f"{len(tagged)}",
            remedy="tag its first code cell",
        )
    if tagged[0] not in code_cells(notebook)[:1]:
        raise PageError("the cell tagged 'parameters' is not the first code cell", file=file)

    after = notebook.metadata.get("ecgnet", {}).get("after", [])
    if not isinstance(after, list) or not all(isinstance(name, str) for name in after):
        raise PageError(
            "metadata.ecgnet.after is not a list of page names", file=file, found=repr(after)
        )
    parameters = read_parameters(tagged[0]["source"], file)
    return Page(path.stem, file, notebook, parameters, tuple(after))


def read_parameters(source: str, file: str = "parameters cell") -> dict[str, Parameter]:
    """Return the parameters of a cell, in order; PageError for anything but typed literals.

    Every line reads `name: type = literal  # what it does`, type being int, float, str or bool,
    or one of these followed by `| None`.
    """
    rule = "name: type = literal  # what it does"
    try:
        statements = ast.parse(source).body
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError) as error:
        raise PageError("the parameters cell is not Python", file=file, found=error) from None
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}

    parameters: dict[str, Parameter] = {}
    for statement in statements:
        line = ast.unparse(statement)
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            raise PageError("a parameter has no type", file=file, expected=rule, found=line)
        kind, bar, none = ast.unparse(statement.annotation).partition(" | ")
        if kind not in KINDS or (bar and none != "None"):
            raise PageError(
                "a parameter has a type that cannot be set from outside",
                file=file,
                expected=f"{', '.join(KINDS)}, or one of them with '| None'",
                found=line,
            )
        text = comments.get(statement.end_lineno, "").lstrip("#").strip()
        if not text:
            raise PageError("a parameter has no comment", file=file, expected=rule, found=line)
        name = statement.target.id
        if name in parameters:
            raise PageError("a parameter stands twice", file=file, found=line)
        try:
            parameter = Parameter(name, KINDS[kind], bool(bar), None, text)
            default = parameter.check(ast.literal_eval(statement.value))
        except (ValueError, TypeError):
            what = "a default is no literal of its type"
            raise PageError(what, file=file, expected=rule, found=line) from None
        parameters[name] = replace(parameter, default=default)
    return parameters


def write_notebook(notebook: dict, path: Path) -> bool:
    """Write a notebook in one step; leave an equal file untouched. True if it was written."""
    import nbformat

    return write_if_new(path, (nbformat.writes(notebook) + "\n").encode())
