"""Pages that run in the reader's browser: JupyterLite beside the site, made by `make lite`.

Python in the browser (Pyodide) has NumPy, SciPy and PyWavelets, but no PyTorch and no wfdb: only
pages that need neither can run there, on simulated recordings. They are the pages of the book with
one cell more, beside them the rooms of the library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.files import write_if_new
from ecgnet_lib.press.book import Book, sweep
from ecgnet_lib.press.pages import tags

LITE = "ECGNET_LITE"  # set for Sphinx where the site has these pages
PAGES = ("02_denoising", "virtual_patient")
PACKAGES = (
    *("numpy", "scipy", "pandas", "matplotlib", "seaborn", "pywavelets", "scikit-learn"),
    *("jinja2", "tqdm", "lazy-loader"),  # tables of pandas, progress, the rooms of the library
)
ROLE = re.compile(r"\{(?P<name>doc|term|cite|glue:text)\}`(?P<text>[^`<]*?)(?: <[^`>]*>)?`")
SIMULATED = 'dataset = "simulated"  # recordings of patients are not at hand in a browser'
FIRST = f"""\
# In the browser: the packages that Python needs here. Loading them takes a minute.
%pip install -q {" ".join(PACKAGES)}"""


def plain(text: str, values: dict[str, object]) -> str:
    """Return prose without MyST's roles, which a notebook alone does not know.

    values: what the page recorded; a quoted one stands in the text with the format that it names.
    """

    def quoted(role: re.Match) -> str:
        if role["name"] != "glue:text":
            return role["text"]
        name, _, form = role["text"].rpartition("::")[2].partition(":")
        return format(values[name], form)

    return ROLE.sub(quoted, text)


def contents(book: Book, log: Callable[[str], None]) -> dict[str, bytes]:
    """Return {path: content} of the files there: pages, library, stored results.

    Each page is executed on simulated recordings first, so that its prose quotes what they give.
    """
    import nbformat
    from nbformat.v4 import new_code_cell

    found = {}
    for name in PAGES:
        page = book.pages[name]
        ((_, values),) = sweep(book, name, {"dataset": "simulated"}, {}, log)
        notebook = nbformat.from_dict(page.notebook)
        for cell in notebook.cells:
            if cell["cell_type"] == "markdown":
                cell["source"] = plain(cell["source"], values)
        at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in tags(cell))
        notebook.cells.insert(at + 1, new_code_cell(SIMULATED, id="simulated"))
        notebook.cells.insert(at, new_code_cell(FIRST, id="packages"))
        notebook.metadata = {
            "kernelspec": {"name": "python", "display_name": "Python (Pyodide)"},
            "language_info": {"name": "python"},
        }
        found[f"{name}.ipynb"] = nbformat.writes(notebook).encode()
        for file in book.files(page.source):
            found[file] = (book.root / file).read_bytes()
    return found


def lite(book: Book, log: Callable[[str], None]) -> Path:
    """Make build/lite/site/ and return it; PageError where JupyterLite is not there, or fails."""
    work = book.root / "build" / "lite"
    shutil.rmtree(work, ignore_errors=True)
    for file, content in contents(book, log).items():
        write_if_new(work / "contents" / file, content)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "jupyterlite_core", "build", "--apps", "notebooks"),
            *("--contents", "contents", "--output-dir", "site"),
            *("--no-sourcemaps", "--no-unused-shared-packages"),
        ],
        cwd=work,
        env=os.environ | {"NO_COLOR": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode or not (work / "site" / "notebooks" / "index.html").is_file():
        last = done.stdout.strip().splitlines()[-3:]
        raise PageError("JupyterLite made no site", found=" / ".join(last), remedy="make lite")
    return work / "site"
