"""The pages for the browser: what is beside them is all they need, and they run with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ecgnet_lib.press import lite
from ecgnet_lib.press.book import ROOT, Book

FEWER = {  # so that the test is short
    "02_denoising": "recordings = 2",
    "virtual_patient": "people, normals = 3, 30",
}
# What runs a notebook: every code cell but the one that fetches packages.
RUN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code" and cell["id"] != "packages":
        shell.run_cell("".join(cell["source"])).raise_error()
"""


class Values(dict):
    """Values of a page that was not executed: each reads as 7, in whatever format."""

    def __missing__(self, name: str) -> Values:
        return self

    def __format__(self, form: str) -> str:
        return "7"


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contents")
    patch = pytest.MonkeyPatch()
    patch.setattr(lite, "sweep", lambda *_: [({}, Values())])
    for file, content in lite.contents(Book(), print).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    patch.undo()
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with what the browser has, and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    todo, done = [*lite.PACKAGES, "ipython", "matplotlib-inline"], set()
    while todo:
        name = re.match(r"[\w.-]+", todo.pop())[0].lower().replace("_", "-")
        if name in done:
            continue
        done.add(name)
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system
        todo += [text for text in package.requires or () if "extra ==" not in text]
        for top in {file.parts[0] for file in package.files if file.parts[0] != ".."}:
            if not (folder / top).exists():
                (folder / top).symlink_to(package.locate_file(top))
    assert not {"torch", "wfdb", "pooch"} & {path.name for path in folder.iterdir()}
    return folder


@pytest.mark.parametrize("name", lite.PAGES)
def test_a_page_for_the_browser_reads_as_plain_text(contents: Path, name: str) -> None:
    notebook = json.loads((contents / f"{name}.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code[:3:2]] == ["packages", "simulated"]
    assert "parameters" in code[1]["metadata"]["tags"]
    prose = "".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] != "code")
    assert not re.search(r"\{(doc|term|cite|glue:\w+)\}", prose)
    assert lite.plain("{term}`leads <lead>`, {glue:text}`a.ipynb::f1:.2f`", {"f1": 0.987}) == (
        "leads, 0.99"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
@pytest.mark.parametrize("name", lite.PAGES)
def test_a_page_for_the_browser_runs_with_what_the_browser_has(
    contents: Path, browser: Path, name: str
) -> None:
    notebook = json.loads((contents / f"{name}.ipynb").read_text())
    simulated = next(cell for cell in notebook["cells"] if cell.get("id") == "simulated")
    simulated["source"] = f"{lite.SIMULATED}\n{FEWER[name]}"
    page = contents / f"{name}_fewer.ipynb"
    page.write_text(json.dumps(notebook))
    there = f"{contents}{os.pathsep}{browser}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECGNET")}
    environment |= {"PYTHONPATH": there, "MPLBACKEND": "agg", "HOME": str(contents)}
    command = [sys.executable, "-S", "-c", RUN, page.name]
    options = {"cwd": contents, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, **options)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    used = {path.parent.name for path in contents.rglob("__pycache__")}
    assert "ecgnet_lib" in used or sys.dont_write_bytecode  # the library beside the page


def test_rooms_lie_whole_beside_the_pages_and_no_room_that_no_page_uses(contents: Path) -> None:
    files = {path.relative_to(contents).as_posix() for path in contents.rglob("*.py")}
    rooms = {file.split("/")[1] for file in files}
    assert {"simulation", "datasets", "denoising", "evaluation", "figures"} <= rooms
    assert not {"experiments", "bench", "__main__.py"} & rooms
    assert all((ROOT / file).read_bytes() == (contents / file).read_bytes() for file in files)
