"""The page "ecgnet_lib at a glance": each room, what it hands on, and the pages that use it.

All of it is read from docstrings, the rooms' faces and the code cells of the pages; the library is
not imported, so that this takes no time.
"""

from __future__ import annotations

import ast
import itertools
import re
from functools import cache
from pathlib import Path

from ecgnet_lib import ROOMS
from ecgnet_lib.press.book import Book

QUOTED = re.compile(r"`(\w+\.\w+)")  # in prose, `datasets.load(name)`
TABLE = "| name | what it does | pages |\n|---|---|---|"
HEAD = """\
# ecgnet_lib at a glance

The library has a room for each step of the book; a room imports only from rooms that stand before
it here. This page is made from the library's docstrings: `help(datasets.load)` shows the rest of
one, with shapes, units and sources.

```python
from ecgnet_lib import datasets, denoising, figures
```
"""


@cache
def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of a source file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def summary(node: ast.AST) -> str:
    """Return the first sentence of a docstring, up to a line that ends with a stop; "" if none."""
    first = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return " ".join(re.split(r"(?<=\.)\n", first)[0].split())


def face(room: Path) -> dict[str, str]:
    """Return {public name: module of the room that defines it}, from its stub or its `__all__`."""
    stub, names = room / "__init__.pyi", {}
    for node in parsed(stub if stub.is_file() else room / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            names |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= dict.fromkeys(ast.literal_eval(node.value), "__init__")
    return names


def definition(package: Path, module: str, name: str) -> ast.AST | None:
    """Return the function or class that a module calls `name`; None for anything else."""
    file = package / f"{module.replace('.', '/')}.py"
    for node in parsed(file).body if file.is_file() else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return definition(package, node.module.removeprefix("ecgnet_lib."), name)
    return None


def used_on(book: Book) -> dict[str, list[str]]:
    """Return {"room.name": pages whose code or prose names it}, in the order of the book."""
    found: dict[str, list[str]] = {}
    for page in book.pages.values():
        names = set(QUOTED.findall("".join(cell["source"] for cell in page.notebook["cells"])))
        for node in ast.walk(ast.parse(page.source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names.add(f"{node.value.id}.{node.attr}")
            elif isinstance(node, ast.ImportFrom):
                room = node.module.removeprefix("ecgnet_lib.")
                names |= {f"{room}.{alias.name}" for alias in node.names}
        for name in names:
            found.setdefault(name, []).append(page.name)
    return found


def link(book: Book, page: str) -> str:
    """Return a short link to a page: its number, or its title where it has none."""
    name = page.partition("_")[0].lstrip("0")
    if not name.isdigit():
        name = book.pages[page].notebook["cells"][0]["source"].splitlines()[0].lstrip("# ")
    return f"{{doc}}`{name} <{page}>`"


def section(book: Book, room: Path, used: dict[str, list[str]]) -> list[str]:
    """Return the lines of one room: a row for each function, class, or module named as a whole."""
    names = face(room)
    nodes = {n: definition(room.parent, f"{room.name}.{names[n]}", n) for n in names}
    constants = [f"`{name}`" for name, node in nodes.items() if node is None]
    for file in sorted(room.glob("[a-z]*.py")):
        if not names or (f"{room.name}.{file.stem}" in used and file.stem not in names):
            nodes[file.stem] = parsed(file)
    rows = {name: summary(node) for name, node in nodes.items() if node}
    lines = [f"## {room.name}", "", summary(parsed(room / "__init__.py")), "", TABLE]
    for name, says in sorted(rows.items(), key=lambda row: row[0].lower()):
        pages = used.get(f"{room.name}.{name}", [])
        links = ", ".join(link(book, page) for page in pages)
        links = "all" if len(pages) == len(book.pages) else links
        says = re.sub(r"([|*])", r"\\\1", says)
        lines.append(f"| `{name}` | {says} | {links} |")
    return [*lines, "", f"Constants: {', '.join(sorted(constants))}." if constants else "", ""]


def glance_page(book: Book) -> str:
    """Return the page as Markdown."""
    used, rooms = used_on(book), [book.root / "ecgnet_lib" / room for room in ROOMS]
    return "\n".join([HEAD, *itertools.chain(*(section(book, room, used) for room in rooms))])
