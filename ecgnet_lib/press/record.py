"""What a page uses of the press: `record`, for values that others quote, and `show_source`.

`record("auc", 0.91)` shows nothing; it leaves the value in the executed page, in two forms. Prose
takes it with MyST's glue role, rounded there: {glue:text}`08_evaluation.ipynb::auc:.3f`. A name
that no page recorded fails the build. Programs read it in full precision with `recorded`.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import textwrap

from ecgnet_lib.errors import PageError

MIME = "application/papermill.record/"  # the bundle that MyST-NB looks for
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def record(name: str, value: float | int | str | bool) -> None:
    """Record a value of this page under a name that is unique on the page.

    Nothing is returned, so that a cell which ends with it shows nothing. Scalars of NumPy and
    torch become plain Python numbers, nothing is rounded. Raises PageError for any other type, for
    a number that is not finite, and for a name that glue cannot quote.
    """
    from IPython.display import display

    if not NAME.fullmatch(name):
        raise PageError(
            "a recorded name cannot be quoted",
            expected="a letter, then letters, digits, '_', '.', '-'",
            found=repr(name),
        )
    plain = _plain(name, value)
    display(
        {f"{MIME}text/plain": repr(plain)},
        metadata={
            "scrapbook": {"name": name, "mime_prefix": MIME},
            "claim": {"name": name, "value": plain},
        },
        raw=True,
    )


def _plain(name: str, value: object) -> float | int | str | bool:
    if hasattr(value, "item"):
        with contextlib.suppress(RuntimeError, ValueError):  # of more than one element
            value = value.item()
    if not isinstance(value, (bool, int, float, str)):
        raise PageError(
            f"{name} cannot be recorded",
            expected="a number, a string or a bool",
            found=type(value).__name__,
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise PageError(
            f"{name} cannot be recorded",
            expected="a finite number",
            found=value,
            remedy="record a word instead, such as 'not estimable'",
        )
    return value


def recorded(notebook: dict, file: str | None = None) -> dict[str, float | int | str | bool]:
    """Return all values recorded in an executed notebook, in order, in full precision.

    Raises PageError, naming the file, when a name was recorded twice: prose could not tell which
    one it quotes.
    """
    values: dict[str, float | int | str | bool] = {}
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", ()))
    for output in outputs:
        if (claim := output.get("metadata", {}).get("claim")) is None:
            continue
        if claim["name"] in values:
            raise PageError(
                f"the value {claim['name']!r} is recorded twice",
                file=file,
                remedy="give each record() of a page its own name",
            )
        values[claim["name"]] = claim["value"]
    return values


def show_source(*objects: object, stop: str | None = None) -> None:
    """Display the source of classes and functions, highlighted, one below the other.

    stop: leave out each object's source from the first line that contains this text on.
    """
    from IPython.display import Markdown, display

    parts = []
    for thing in objects:
        lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
        end = next((i for i, line in enumerate(lines) if stop and stop in line), len(lines))
        parts.append("\n".join(lines[:end]).rstrip())
    display(Markdown("```python\n" + "\n\n\n".join(parts) + "\n```"))
