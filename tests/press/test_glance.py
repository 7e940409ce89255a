"""The page "ecgnet_lib at a glance": every public name, what it does, and who uses it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ecgnet_lib import ROOMS
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press import glance
from ecgnet_lib.press.book import Book


def unexplained(package: Path) -> list[str]:
    """Return the functions and classes in the faces of the rooms that have no docstring."""
    return [
        f"{room}.{name}"
        for room in ROOMS
        for name, module in glance.face(package / room).items()
        if (node := glance.definition(package, f"{room}.{module}", name))
        and not glance.summary(node)
    ]


def unused(book: Book, package: Path) -> list[str]:
    """Return the names in the faces of the rooms that no page and no room uses or returns."""
    used = glance.used_on(book)
    code = "\n".join(file.read_text() for file in sorted(package.rglob("*.py")))
    names = [(room, name) for room in ROOMS for name in glance.face(package / room)]
    return [
        f"{room}.{name}"
        for room, name in names
        if f"{room}.{name}" not in used and not re.search(rf"({room}\.|-> ){name}\b", code)
    ]


@pytest.fixture(scope="module")
def book() -> Book:
    return Book(ROOT, lambda *_: "")


def test_every_public_name_stands_on_the_page_with_what_it_does(book: Book) -> None:
    page = glance.glance_page(book)
    sections = dict(zip(ROOMS, re.split(r"^## \w+$", page, flags=re.MULTILINE)[1:], strict=True))
    for room, text in sections.items():
        for name in glance.face(ROOT / "ecgnet_lib" / room):
            assert f"`{name}`" in text, f"{room}.{name}"
    assert not re.search(r"\| *\| [^|]*\|$", page, re.MULTILINE), "an empty description"
    row = "| `cohort` | The `simulated` data set: one noisy recording per virtual patient, and its "
    assert row in sections["datasets"]
    [load] = re.findall(r"^\| `find_r_peaks` \|.*\| (.*) \|$", page, re.MULTILINE)
    assert load == "{doc}`1 <01_data>`, {doc}`2 <02_denoising>`"
    assert re.search(r"^\| `load` \|.*\| all \|$", page, re.MULTILINE)


def test_public_names_are_explained_and_used(book: Book, tmp_path: Path) -> None:
    package = ROOT / "ecgnet_lib"
    assert unexplained(package) == []
    assert unused(book, package) == []
    copy = shutil.copytree(package, tmp_path / "ecgnet_lib")
    stub = copy / "simulation" / "__init__.pyi"
    stub.write_text(stub.read_text().replace("spoil", "spoil, nobody"))
    with open(copy / "simulation" / "electrodes.py", "a") as file:
        file.write("\n\ndef nobody():\n    return None\n")
    assert unexplained(copy) == unused(book, copy) == ["simulation.nobody"]


def test_a_page_counts_for_what_its_code_and_prose_name() -> None:
    code = "from ecgnet_lib.press import record\nx = datasets.load('a').table, network.cbam.CBAM"
    cells = [{"source": "See `denoising.denoise(x)`, not figures.show."}, {"source": code}]
    page = SimpleNamespace(name="01_a", source=code, notebook={"cells": cells})
    used = glance.used_on(SimpleNamespace(pages={"01_a": page}))
    assert set(used) == {"press.record", "datasets.load", "network.cbam", "denoising.denoise"}
