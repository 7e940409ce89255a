"""The repository itself: pages, tests, the lock and the ways to install are in step."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml

from ecgnet_lib.press.book import contents
from ecgnet_lib.press.pages import code_cells, read_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").glob("*.ipynb"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
PACKAGE = ROOT / "ecgnet_lib"
TOOLS = {"pip", "wheel", "ecgnet-lib"}
MAX_CELL_LINES = 25
MAX_IMPORT_LINES = 8
# The rooms, lowest first, and the lines to which each may grow.
BUDGET = {
    "top": 380,
    "simulation": 860,
    "datasets": 1850,
    "measurements": 350,
    "denoising": 720,
    "network": 1220,
    "training": 670,
    "evaluation": 1380,
    "figures": 1410,
    "experiments": 970,
    "bench": 400,
    "press": 2130,
}
FLOOR = {room: floor for floor, room in enumerate([*BUDGET, "__main__"])}
FLOOR["bench"] = FLOOR["experiments"]  # side by side


def plain(name: str) -> str:
    """Return a distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Return {name: version} of the lock, which holds nothing but name==version."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    assert len({plain(pin.split("==")[0]) for pin in pins}) == len(pins)
    return {plain(name): version for name, version in (pin.split("==") for pin in pins)}


def declared() -> list[str]:
    """Return what pyproject.toml asks for: the book's dependencies, the peers, the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    return project["dependencies"] + groups["peers"] + groups["test"]


def required_by(name: str) -> set[str]:
    """Return the distributions that an installed one asks for, at any distance."""
    found: set[str] = set()
    todo = [name]
    while todo:
        try:
            texts = metadata.requires(todo.pop()) or []
        except metadata.PackageNotFoundError:
            continue
        names = {plain(re.match(r"[\w.-]+", text)[0]) for text in texts}
        todo += names - found
        found |= names
    return found


def test_installed_versions_are_those_of_the_lock() -> None:
    lock = locked()
    installed = {
        plain(distribution.metadata["Name"]): distribution.version.split("+")[0]
        for distribution in metadata.distributions()
    }
    different = {n: (v, lock[n]) for n, v in installed.items() if n in lock and lock[n] != v}
    assert different == {}, "(installed, locked)"
    # A build of PyTorch for a GPU brings libraries that the lock, made with one for CPUs, lacks.
    unlocked = installed.keys() - lock.keys() - TOOLS
    assert unlocked - required_by("torch") == set()


def test_every_dependency_is_locked() -> None:
    lock = locked()
    for text in declared():
        name, _, version = text.partition("==")
        assert plain(name) in lock, text
        assert version in ("", lock[plain(name)]), text


def test_conda_gets_the_same_dependencies_and_versions() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    by_pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    options = {item for item in by_pip if item.startswith("-")}
    assert options == {"--constraint requirements.lock", "--editable ."}
    lock = locked()
    names = {plain(text.split("==")[0]) for text in declared()}
    pins = [pin.split("==") for pin in by_pip if pin not in options]
    assert {plain(name): version for name, version in pins} == {name: lock[name] for name in names}


def test_make_installs_the_locked_pytorch() -> None:
    spec = re.search(r"^TORCH\s*\?=\s*(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert spec == f"torch=={locked()['torch']}"


def test_every_notebook_is_in_the_table_of_contents() -> None:
    listed = contents(ROOT)
    assert PAGES, "no pages"
    assert {page.stem for page in PAGES} <= set(listed)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_is_strict_short_celled_and_without_outputs(path: Path) -> None:
    read_page(path)
    notebook = nbformat.read(path, as_version=4)
    assert (notebook.nbformat, notebook.nbformat_minor >= 5) == (4, True)
    assert notebook.metadata.kernelspec.language == "python"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None
        lines = cell.source.splitlines()
        assert 0 < len(lines) <= MAX_CELL_LINES, cell.source
        assert "papermill" not in cell.metadata


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_can_fail(path: Path) -> None:
    """A comparison without `assert` passes whatever it compares."""
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    helpers = {f.name for f in functions if not f.name.startswith("test_") and can_fail(f)}
    for function in functions:
        if function.name.startswith("test_"):
            assert can_fail(function, helpers), f"{path.name}: {function.name} asserts nothing"


def can_fail(function: ast.FunctionDef, helpers: Collection[str] = ()) -> bool:
    """Return whether a test asserts or expects an error, by itself or in a helper beside it."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("raises", "warns", "fail"):
            return True
        if isinstance(node, ast.Attribute) and node.attr.startswith("assert_"):
            return True
        if isinstance(node, ast.keyword) and ast.unparse(node) == "check=True":  # of a process
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) in helpers:
            return True
    return False


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x == 1", False),
        ("f(x).shape == (1, 2)", False),
        ("assert x", True),
        ("with pytest.raises(E): f()", True),
        ("subprocess.run(command, check=True)", True),
        ("checked(x)", True),
        ("unchecked(x)", False),
        ("np.testing.assert_allclose(x, y)", True),
    ],
)
def test_tests_without_assertion_are_recognised(body: str, expected: bool) -> None:
    assert can_fail(ast.parse(f"def test_x():\n    {body}").body[0], {"checked"}) is expected


# --- rooms ----------------------------------------------------------------------------------------


def imported(code: str) -> set[str]:
    """Return the modules of the library that a source imports, those in functions included."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"a relative import: {ast.unparse(node)}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "ecgnet_lib"}


def room_of(module: str) -> str:
    """Return the room of a module; "top" for those that are in none."""
    part = f"{module}.".split(".")[1]
    return part if part in FLOOR else "top"


def check_imports(package: Path) -> None:
    """Fail where a room imports one above it, or modules import each other in a circle."""
    modules = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = file
    graph = {}
    for module, file in modules.items():
        names = imported(file.read_text())  # modules, or what is in one
        graph[module] = {n if n in modules else n.rpartition(".")[0] for n in names} - {module}
        for target in graph[module]:
            here, there = (room_of(name) for name in (module, target))
            assert there == here or FLOOR[there] < FLOOR[here], f"{module} imports {target}"
    TopologicalSorter(graph).prepare()  # CycleError


def test_rooms_import_only_what_lies_below_them() -> None:
    check_imports(PACKAGE)


@pytest.mark.parametrize(
    ("module", "line", "error"),
    [
        ("datasets/records.py", "from ecgnet_lib.network import cbam", AssertionError),
        ("simulation/heart.py", "import ecgnet_lib.datasets.labels", AssertionError),
        ("evaluation/risk.py", "from ecgnet_lib.press.record import record", AssertionError),
        ("evaluation/risk.py", "from ecgnet_lib import press", AssertionError),
        ("network/gat.py", "from ecgnet_lib.network.ecgnet import combine", CycleError),
        ("network/gat.py", "from ecgnet_lib.denoising import denoise", None),
    ],
)
def test_an_import_upwards_or_in_a_circle_is_found(tmp_path: Path, module, line, error) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "ecgnet_lib")
    with open(copy / module, "a") as file:
        file.write(f"\n\ndef late():\n    {line}\n")
    with pytest.raises(error) if error else contextlib.nullcontext():
        check_imports(copy)


def test_each_room_keeps_to_its_budget_of_lines() -> None:
    lines = dict.fromkeys(BUDGET, 0)
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0] if file.parent != PACKAGE else "top"
        lines[room] += len(file.read_text().splitlines())
    assert {room: (n, BUDGET[room]) for room, n in lines.items() if n > BUDGET[room]} == {}


def test_the_library_is_imported_in_no_time() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import ecgnet_lib"]
    taken_us = []
    for _ in range(3):  # the fastest counts, since other processes only ever add
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        taken_us.append(int(re.search(r"(\d+) \| ecgnet_lib$", report, re.MULTILINE)[1]))
    assert min(taken_us) < 50_000, taken_us


def test_denoising_and_simulation_need_no_torch() -> None:
    code = "import sys, ecgnet_lib as e; e.denoising.denoise, e.simulation.simulate; "
    subprocess.run([sys.executable, "-c", f"{code}assert 'torch' not in sys.modules"], check=True)


# --- the imports of pages -------------------------------------------------------------------------


def check_page_imports(code: str) -> None:
    """Fail where a page imports on more than eight lines, or the library on more than two."""
    nodes = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [ast.unparse(n) for n in nodes if isinstance(n, ast.Import) and len(n.names) > 1]
    ours = [n for n in nodes if isinstance(n, ast.ImportFrom) and "ecgnet_lib" in n.module]
    assert len(ours) <= 2 and sum(n.end_lineno - n.lineno + 1 for n in nodes) <= MAX_IMPORT_LINES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_few_import_lines(path: Path) -> None:
    check_page_imports(code := read_page(path).source)
    eight = code + "\nimport json" * (MAX_IMPORT_LINES + 1)
    for mutant in (eight, code + "\nimport os, sys", code + "\nfrom ecgnet_lib.files import x" * 2):
        with pytest.raises(AssertionError):
            check_page_imports(mutant)
