"""Show the library's own code on a page, as it stands, where it is taught."""

from __future__ import annotations

import inspect
import textwrap


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
