"""The press: strict pages, recorded values, keys that change when and only when they should."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ecgnet_lib.errors import PageError
from ecgnet_lib.press import build
from ecgnet_lib.press.book import ROOT, Book, contents, sweep
from ecgnet_lib.press.keys import data_manifest, listing
from ecgnet_lib.press.pages import read_page, read_parameters
from ecgnet_lib.press.record import record, recorded
from ecgnet_lib.press.run import code_state, executed, run

PARAMETERS = "seed: int = 0  # of everything random\nrate: float = 0.1  # learning rate"


def write_page(root: Path, name: str, *code: str, prose: str = "Text.", tag=(1,)) -> Path:
    """Write a page with a parameters cell, code cells and prose, as the book has them."""
    cells = [new_markdown_cell(f"# {name}\n\n{prose}", id="prose")]
    cells += [new_code_cell(source, id=f"c{i}") for i, source in enumerate(code)]
    for i in tag:
        cells[i].metadata["tags"] = ["parameters"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    path = root / "book" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def one_page(root: Path, *code: str, prose: str = "Text.") -> Book:
    """Return a book of a single page with a parameters cell and this code."""
    write_page(root, "01_a", PARAMETERS, *code, prose=prose)
    (root / "book/_toc.yml").write_text("format: jb-book\nroot: intro\nchapters: [{file: 01_a}]\n")
    return Book(root)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a small library and three pages."""
    files = {
        "requirements.lock": "numpy==2.3.5\n",
        "_config.yml": "title: Test\n",
        "book/_toc.yml": "format: jb-book\nroot: intro\nchapters:\n"
        "  - file: 01_a\n  - file: 02_b\n  - file: 03_c\n",
        "book/intro.md": "# Intro\n",
        "ecgnet_lib/__init__.py": "",
        "ecgnet_lib/errors.py": "",
        "ecgnet_lib/datasets/__init__.py": "from ecgnet_lib.datasets.labels import MAP\n",
        "ecgnet_lib/datasets/labels.py": "MAP = open('label_map.csv')\n",
        "ecgnet_lib/datasets/label_map.csv": "code,class\n",
        "ecgnet_lib/denoising/__init__.py": "",
        "ecgnet_lib/press/__init__.py": "",
        "ecgnet_lib/press/record.py": "from ecgnet_lib.errors import PageError\n",
        "ecgnet_lib/press/verify.py": "",
        "ecgnet_lib/experiments/__init__.py": "",
        "ecgnet_lib/__main__.py": "",
        "book/results/a.json": "{}",
        "book/results/c.json": "{}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_page(tmp_path, "01_a", PARAMETERS, "from ecgnet_lib import denoising\n%time x = 'a.json'")
    write_page(tmp_path, "02_b", PARAMETERS, "from ecgnet_lib.press.record import record")
    source = "from ecgnet_lib import datasets\ndatasets.load(dataset), open('c.json')"
    parameters = f"dataset: str = 'ludb'  # which\n{PARAMETERS}"
    write_page(tmp_path, "03_c", parameters, source)
    return tmp_path


def keys(root: Path, manifest: str = "data") -> dict[str, str]:
    """Return the key of every page, computed anew."""
    book = Book(root, lambda *_: manifest)
    return {name: book.job(name).key for name in book.pages}


def stale(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the pages whose key differs."""
    return {name for name in before if before[name] != after[name]}


# --- strict pages ---------------------------------------------------------------------------------


def test_parameters_are_read_with_type_default_and_help() -> None:
    found = read_parameters("# which\nn: int = -3  # how many\nlead: str = 'II'  # one lead")
    assert [(p.name, p.type, p.default, p.help) for p in found.values()] == [
        ("n", int, -3, "how many"),
        ("lead", str, "II", "one lead"),
    ]


@pytest.mark.parametrize(
    "cell",
    [
        "n = 3  # no type",
        "n: int = 3",  # no comment
        "n: int = 3.5  # how many",
        "n: int = True  # how many",
        "n: int = '3'  # how many",
        "n: int = len('a')  # no literal",
        "n: int  # how many",
        "n: int = None  # how many",
        "n: list = []  # how many",
        "n: int = 1  # how many\nn: int = 2  # again",
        "import os  # first",
        "n: int = (  # open",
    ],
)
def test_parameters_cell_is_refused(cell: str) -> None:
    with pytest.raises(PageError, match=r"cell cannot be used; expected only lines such as `name:"):
        read_parameters(cell)


PARSED = [
    (0, "12", 12),
    (0.0, "1e-3", 1e-3),
    (0.0, 2, 2.0),
    ("", "12", "12"),
    (True, "False", False),
    (False, "true", True),
]
REFUSED = [(0, "1.5"), (0, True), (0, "None"), (0.0, "nan"), (True, "maybe"), ("", 3)]


@pytest.mark.parametrize(("default", "text", "value"), PARSED)
def test_values_take_the_type_of_their_parameter(default, text: object, value: object) -> None:
    parameter = read_parameters(f"p: {type(default).__name__} = {default!r}  # what it does")["p"]
    parsed = parameter.parse(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(("default", "text"), REFUSED)
def test_values_of_another_type_are_refused(default, text: object) -> None:
    kind = type(default).__name__
    parameter = read_parameters(f"p: {kind} = {default!r}  # what it does")["p"]
    with pytest.raises(PageError, match=rf"p does not take.*expected {kind} \(what it does\)"):
        parameter.parse(text)


def test_unknown_parameter_is_refused_with_the_nearest_name(project: Path) -> None:
    page = read_page(project / "book/01_a.ipynb")
    with pytest.raises(PageError, match=r"no parameter 'sead'.*did you mean seed\?"):
        page.values({"sead": "1"})
    assert page.settings({"seed": "7"}) == {"seed": 7, "rate": 0.1}


@pytest.mark.parametrize(("tag", "found"), [((), "0"), ((1, 2), "2"), ((2,), "1")])
def test_page_needs_one_parameters_cell_and_it_comes_first(project: Path, tag, found: str) -> None:
    path = write_page(project, "bad", PARAMETERS, "x: int = 1  # what", tag=tag)
    message = rf"book/bad.ipynb: not exactly one.*or it is not the first.*found {found} such"
    with pytest.raises(PageError, match=message):
        read_page(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cells": 1}', "caf\udce9"])
def test_file_that_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.ipynb").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(PageError, match=r"x\.ipynb: the page is not a notebook"):
        read_page(tmp_path / "x.ipynb")
    with pytest.raises(PageError, match="does not exist"):
        read_page(tmp_path / "y.ipynb")


def test_contents_lists_documents_in_order_and_misses_none(project: Path) -> None:
    assert contents(project) == ["intro", "01_a", "02_b", "03_c"]
    assert [Book(project).page(n).name for n in ("02_b", "02", "b")] == ["02_b"] * 3
    (project / "book/intro.md").unlink()
    with pytest.raises(PageError, match=r"do not exist.*\['intro'\]"):
        contents(project)
    (project / "book/_toc.yml").write_text("chapters: 3")
    with pytest.raises(PageError, match="no table of contents"):
        contents(project)


# --- keys -----------------------------------------------------------------------------------------


THREE = {"01_a", "02_b", "03_c"}


@pytest.mark.parametrize(
    ("file", "pages"),
    [
        ("ecgnet_lib/denoising/__init__.py", THREE),  # any code that pages may run
        ("ecgnet_lib/datasets/label_map.csv", THREE),
        ("ecgnet_lib/errors.py", THREE),
        ("ecgnet_lib/press/record.py", THREE),
        ("ecgnet_lib/press/verify.py", set()),
        ("ecgnet_lib/experiments/__init__.py", set()),
        ("ecgnet_lib/__main__.py", set()),
        ("_config.yml", set()),
        ("book/intro.md", set()),
        ("book/results/a.json", {"01_a"}),  # named in its code
        ("book/results/c.json", {"03_c"}),
        ("requirements.lock", THREE),
    ],
)
def test_key_changes_for_just_the_pages_that_use_a_file(project: Path, file: str, pages) -> None:
    before = keys(project)
    with open(project / file, "a") as handle:
        handle.write("# changed\n")
    assert stale(before, keys(project)) == pages


def test_in_this_book_a_change_makes_just_its_pages_stale(tmp_path: Path) -> None:
    for name in ("ecgnet_lib", "book"):
        left_out = shutil.ignore_patterns("__pycache__", "weights", "*.part")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    before, book = keys(tmp_path), tmp_path / "book"
    assert stale(before, keys(tmp_path, "other recordings")) == before.keys() and len(before) > 10

    for path in (*book.glob("*.md"), book / "claims.yml"):
        path.write_text(path.read_text() + "\n")
    for path in book.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.source += "\n\nMore prose." if cell.cell_type == "markdown" else ""
        nbformat.write(notebook, path)
    assert stale(before, keys(tmp_path)) == set()

    for changed, page in (("leakage", "10_leakage"), ("denoising", "02_denoising")):
        result = book / "results" / f"{changed}.json"
        text = result.read_text()
        result.write_text(text + "\n")
        assert stale(before, keys(tmp_path)) == {page}
        result.write_text(text)
    page = book / "09_risk.ipynb"
    page.write_text(page.read_text().replace("bins: int = 15", "bins: int = 16"))
    assert stale(before, keys(tmp_path)) == {"09_risk"}


def test_key_changes_with_code_parameters_data_and_tags(project: Path) -> None:
    before = keys(project)
    assert stale(before, keys(project, "other data")) == {"03_c"}  # the one that reads any
    book = Book(project, lambda *_: "data")
    assert book.job("01_a", {"seed": "0"}).key == before["01_a"]
    assert book.job("01_a", {"seed": "1"}).key != before["01_a"]
    write_page(project, "02_b", PARAMETERS, "from ecgnet_lib.press.record import record  # x")
    assert stale(before, keys(project)) == {"02_b"}


def test_page_hands_its_dataset_and_named_sources_to_the_manifest(project: Path) -> None:
    asked = []
    parameters = "dataset: str = 'ptbxl-500'  # which"
    write_page(project, "03_c", parameters, "from ecgnet_lib import datasets; x = 'ludb', 'simul'")
    Book(project, lambda *given: asked.append(given) or "").job("03_c")
    assert asked == [("ptbxl-500", frozenset({"ptbxl-500", "ludb"}))]


def test_listing_sees_every_change_but_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/1.dat").write_bytes(b"12")
    first = listing(tmp_path)
    (tmp_path / "a/.cache").mkdir()
    (tmp_path / "a/.cache/x").write_bytes(b"1")
    assert listing(tmp_path) == first
    (tmp_path / "a/b/1.dat").write_bytes(b"123")
    longer = listing(tmp_path)
    (tmp_path / "a/b/1.dat").rename(tmp_path / "a/b/2.dat")
    assert len({first, longer, listing(tmp_path)}) == 3


def test_manifest_knows_simulated_and_absent_sources(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path))
    monkeypatch.setenv("ECGNET_OFFLINE", "1")
    nothing = {"simulated": None}
    assert json.loads(data_manifest("simulated")) == nothing
    with_mitdb = json.loads(data_manifest("simulated", frozenset({"mitdb"})))
    assert with_mitdb.keys() == {"simulated", "mitdb"}


def test_manifest_follows_a_copy(physionet: Path) -> None:
    assert json.loads(data_manifest("ludb")) == {"ludb": listing(physionet / "ludb")}


# --- recorded values ------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch) -> list[dict]:
    """Collect what display() is given, as outputs of a notebook."""
    import IPython.display

    outputs: list[dict] = []

    def display(data, metadata=None, raw=False):
        assert raw
        outputs.append(new_output("display_data", data, metadata=metadata or {}))

    monkeypatch.setattr(IPython.display, "display", display)
    return outputs


def test_recorded_values_come_back_in_full_precision(shown: list[dict]) -> None:
    record("f1.na", np.float64(1 / 3))
    record("n", np.int64(7))
    record("single", np.float32(0.1))
    record("word", "not estimable")
    record("yes", np.bool_(True))
    notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell("", outputs=shown)]))
    nbformat.validate(notebook)
    back = nbformat.reads(nbformat.writes(notebook), as_version=4)
    assert recorded(back) == {
        "f1.na": 1 / 3,
        "n": 7,
        "single": float(np.float32(0.1)),
        "word": "not estimable",
        "yes": True,
    }
    assert shown[0]["data"] == {"application/papermill.record/text/plain": repr(1 / 3)}
    assert shown[0]["metadata"]["scrapbook"]["name"] == "f1.na"


@pytest.mark.parametrize("value", [float("nan"), np.inf, [1], None, np.zeros(2), {"a": 1}])
def test_values_that_prose_cannot_quote_are_refused(shown: list[dict], value: object) -> None:
    with pytest.raises(PageError, match="x cannot be recorded"):
        record("x", value)
    assert shown == []


@pytest.mark.parametrize("name", ["", "a b", "a:b", "1a", "a::b"])
def test_names_that_glue_cannot_quote_are_refused(shown: list[dict], name: str) -> None:
    with pytest.raises(PageError, match="cannot be quoted"):
        record(name, 1)
    assert shown == []


def test_value_recorded_twice_is_refused(shown: list[dict]) -> None:
    record("auc", 0.5)
    record("auc", 0.6)
    with pytest.raises(PageError, match=r"a\.ipynb: the value 'auc' is recorded twice"):
        recorded(new_notebook(cells=[new_code_cell("", outputs=shown)]), "a.ipynb")


# --- execution ------------------------------------------------------------------------------------

RECORD = "from ecgnet_lib.press.record import record"


def test_pages_are_executed_once_and_a_failed_one_keeps_its_result(project: Path) -> None:
    code = (
        f"{RECORD}\nimport os, scipy, pandas\nrecord('value', 1 / (seed + 2))",
        "os.environ['OMP_NUM_THREADS']",
    )
    log: list[str] = []

    def states(*more: str, prose: str = "Text.") -> str:
        log.clear()
        one_page(project, *code, *more, prose=prose).refresh(log.append)
        return log[-1].split(maxsplit=1)[1]

    assert states().startswith("executed in")
    out = project / "build/book/01_a.ipynb"
    first = out.read_bytes()
    notebook = nbformat.reads(first, as_version=4)
    assert recorded(notebook) == {"value": 0.5}
    assert notebook.cells[4].outputs[0].data["text/plain"] == "'1'"
    job, about = Book(project).job("01_a"), notebook.metadata.ecgnet.about
    assert about.seconds > 0 and about.kernel.peak_mb > 10
    assert f"{about.seconds:.0f} s, with {about.kernel.peak_mb} MB" in notebook.cells[1].source
    provenance, python = notebook.cells[-1].source, ".".join(map(str, sys.version_info[:3]))
    for part in (job.key[:12], job.lock[:12], f"Python {python}", "`seed = 0`", "`rate = 0.1`"):
        assert part in provenance, part
    assert str(project) not in first.decode()  # no path of this machine goes public
    assert states() == "fresh"
    assert out.read_bytes() == first

    assert states(prose="New.") == "new text"
    merged = nbformat.read(out, as_version=4)
    assert merged.cells[0].source.endswith("New.")
    assert [c.get("outputs") for c in merged.cells] == [c.get("outputs") for c in notebook.cells]

    kept = out.read_bytes()
    with pytest.raises(PageError) as failure:
        states("1\n1 / seed")
    assert log[-1].endswith("FAILED")
    for part in ("book/01_a.ipynb", "In [4]", "ZeroDivisionError", "----> 2 1 / seed"):
        assert part in str(failure.value)
    assert out.read_bytes() == kept
    assert (project / "build/work/01_a.ipynb").is_file()
    assert executed(Book(project).job("01_a")) is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(1)", "its kernel stopped"),
        ("raise SystemExit(0)", "stopped before its end"),  # no error to Papermill
    ],
)
def test_a_page_whose_kernel_stops_is_refused(project: Path, code: str, message: str) -> None:
    with pytest.raises(PageError, match=rf"book/01_a\.ipynb: .*{message}"):
        run(one_page(project, code).job("01_a"))
    assert not (project / "build/book/01_a.ipynb").exists()


def test_the_provenance_says_whether_the_code_was_committed(tmp_path: Path) -> None:
    assert code_state(tmp_path).endswith("not in a git repository")
    (tmp_path / "file").write_text("one")
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "First")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert code_state(tmp_path).endswith(f"commit {commit[:12]}, tree clean")
    (tmp_path / "file").write_text("two")
    assert code_state(tmp_path).endswith(f"commit {commit[:12]}, with uncommitted changes")


def test_sweep_records_one_row_per_value_and_leaves_the_book_alone(project: Path) -> None:
    book = one_page(project, f"{RECORD}\nrecord('twice', 2 * seed)")
    with pytest.raises(PageError, match="does not take 'x'"):
        sweep(book, "01", {}, {"seed": ["1", "x"]}, lambda _: None)
    assert not (project / "build").exists()  # all combinations are checked before one is executed
    rows = sweep(book, "01", {"rate": "0.5"}, {"seed": ["1", "3"]}, lambda _: None)
    assert rows == [
        ({"rate": 0.5, "seed": 1}, {"twice": 2}),
        ({"rate": 0.5, "seed": 3}, {"twice": 6}),
    ]
    runs = project / "build/runs/01_a"
    assert (runs / "rate=0.5_seed=3.ipynb").is_file()
    assert not (project / "build/book").exists()
    log: list[str] = []
    assert sweep(book, "01", {"rate": "0.5"}, {"seed": ["3"]}, log.append) == rows[1:]
    assert log == ["  rate=0.5_seed=3  fresh"]


# --- the site -------------------------------------------------------------------------------------


def test_stage_copies_what_is_there_and_drops_what_went(project: Path) -> None:
    (project / "book/.hidden").write_text("x")
    (project / "build/book/_static").mkdir(parents=True)
    for old in ("gone.md", "01_a.ipynb", "gone.ipynb", "_static/gone.css"):
        (project / "build/book" / old).write_text("old")
    build.stage(Book(project))
    staged = {
        p.relative_to(project / "build/book").as_posix()
        for p in build.visible_files(project / "build/book")
    }
    results = {"results/a.json", "results/c.json"}
    assert staged == results | {"_toc.yml", "intro.md", "01_a.ipynb", "_static/mathjax/tex-svg.js"}
    assert (project / "build/book/01_a.ipynb").read_text() == "old"  # an executed page


def test_census_finds_missing_and_empty_pages(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    (tmp_path / "intro.html").write_text("x")
    (tmp_path / "01_a.html").write_text("")
    build.census_site(["intro"], tmp_path)
    with pytest.raises(PageError, match="found 01_a, 02_b"):
        build.census_site(["intro", "01_a", "02_b"], tmp_path)


def test_site_is_built_from_values_and_a_missing_value_fails_it(project: Path) -> None:
    config = "title: T\nexecute: {execute_notebooks: 'off'}\nonly_build_toc_files: true\n"
    (project / "_config.yml").write_text(config)
    one_page(project, f"{RECORD}\nrecord('auc', 0.98765)")
    glue = "# Intro\n\nArea {glue:text}`01_a.ipynb::auc:.3f`.\n"
    (project / "book/intro.md").write_text(glue)
    log: list[str] = []
    index = build.build(project, log.append)
    assert ">0.988<" in (project / "build/html/intro.html").read_text()
    log.clear()
    assert build.build(project, log.append) == index
    assert "Site: nothing changed" in log
    (project / "book/intro.md").write_text(glue.replace("::auc", "::aucc"))
    for _ in range(2):  # a second try must not pass for want of anything new
        with pytest.raises(PageError, match=r"(?s)not content.*aucc"):
            build.build(project, log.append)
    assert ">0.988<" in (project / "build/html/intro.html").read_text()  # the previous site
