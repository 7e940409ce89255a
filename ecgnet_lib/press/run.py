"""Execute one page with Papermill, in a kernel of its own; keep it only if nothing failed."""

from __future__ import annotations

import copy
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.files import write_if_new
from ecgnet_lib.press.card import ASK, card, code_state, cost, kernel_of
from ecgnet_lib.press.pages import Page, code_cells, tags, write_notebook
from ecgnet_lib.press.record import recorded

KERNEL = "ecgnet"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Job:
    """A page to bring up to date: what to execute, with which settings, where the result goes."""

    page: Page
    given: dict[str, object]  # the parameters that are set from outside; the rest are defaults
    key: str
    out: Path
    root: Path
    lock: str = ""  # SHA-256 of the lock of the environment
    data: str = ""  # SHA-256 of what tells the page's recordings apart; "" if it reads none


def executed(job: Job) -> dict | None:
    """Return the executed page if it is there and its key is the job's, else None."""
    import nbformat

    if not job.out.is_file():
        return None
    notebook = nbformat.read(job.out, as_version=4)
    about = notebook.metadata.get("ecgnet", {})
    return notebook if about.get("key") == job.key and "about" in about else None


def refresh(job: Job) -> str | None:
    """Bring new prose into a page whose results still hold; None if it must be executed."""
    notebook = executed(job)
    if notebook is None:
        return None
    return "new text" if write_notebook(merge(job, notebook), job.out) else "fresh"


STARTS = 3  # how often a kernel that dies before its first cell is started


def run(job: Job) -> str:
    """Execute the page and write the result; return what happened, for people.

    Raises PageError naming page, cell and error when a cell fails; then the previous result stays
    as it was and the page up to the error is left in build/work for a look.
    """
    import nbformat
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill import PapermillExecutionError, execute_notebook

    use_kernel(job.root)
    work = job.root / "build" / "work" / job.out.name
    for folder in (work.parent, job.out.parent):
        folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        for attempt in range(STARTS):
            try:
                execute_notebook(
                    nbformat.from_dict(asking(job.page.notebook)),
                    str(work),
                    parameters=job.given,
                    kernel_name=KERNEL,
                    language="python",
                    progress_bar=False,
                    start_timeout=120,
                    # The kernel's folder; cwd= would move this whole process.
                    resources={"metadata": {"path": str(job.out.parent)}},
                )
                break
            except RuntimeError as error:
                # Two kernels that start at once may choose the same port; one dies, unused.
                if "before replying" not in str(error) or attempt == STARTS - 1:
                    raise
    except PapermillExecutionError as error:
        raise PageError(failure(error, work), file=job.page.file) from None
    except (CellTimeoutError, DeadKernelError, RuntimeError) as error:
        found = str(error).strip().splitlines()[-1:]
        raise PageError("its kernel stopped", file=job.page.file, found=found) from None
    notebook = nbformat.read(work, as_version=4)
    recorded_in(notebook, job.page.file)
    about = {
        "code": code_state(job.root),
        "lock": job.lock,
        "data": job.data,
        "seconds": round(notebook.metadata.papermill.duration, 1),
        "kernel": kernel_of(notebook),
    }
    notebook.metadata["ecgnet"] = {"about": about}
    write_notebook(merge(job, notebook), job.out)
    work.unlink()
    return f"executed in {time.monotonic() - start:.0f} s"


def bring(job: Job) -> str:
    """Bring a page up to date, whatever it takes; return what happened."""
    return refresh(job) or run(job)


def use_kernel(root: Path) -> None:
    """Make a private kernel the one that Papermill finds: this Python, one thread, this data."""
    folder = root / "build" / "jupyter"
    # The log level hides what a kernel says at every start (TCP) and end (the interrupt).
    spec = {
        "argv": [
            *(sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            "--IPKernelApp.log_level=CRITICAL",
        ],
        "display_name": "Python 3 (book)",
        "language": "python",
        "env": ONE_THREAD,
    }
    text = json.dumps(spec, indent=1)
    write_if_new(folder / "kernels" / KERNEL / "kernel.json", text.encode())
    paths = [str(folder), *filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep))]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys(paths))
    if data := os.environ.get("ECGNET_DATA"):  # a kernel runs in another folder
        os.environ["ECGNET_DATA"] = str(Path(data).resolve())


def stripped(notebook: dict) -> dict:
    """Return a copy of a notebook without outputs."""
    notebook = copy.deepcopy(notebook)
    for cell in code_cells(notebook):
        cell["outputs"], cell["execution_count"] = [], None
    return notebook


def asking(notebook: dict) -> dict:
    """Return a page without outputs, with a last cell that asks the kernel about itself."""
    notebook = stripped(notebook)
    ask = {"cell_type": "code", "id": "ask", "metadata": {}, "source": ASK}
    notebook["cells"].append(ask | {"outputs": [], "execution_count": None})
    return notebook


def prose(name: str, text: str) -> dict:
    """Return a cell of prose. Its name is its id, so that the same page is made the same again."""
    from nbformat import from_dict

    return from_dict({"cell_type": "markdown", "id": name, "metadata": {}, "source": text})


def merge(job: Job, executed: dict) -> dict:
    """Return the page as it stands in book/, with the outputs and the record of an execution.

    A line of its cost stands below the title, a card of what made it at the end.
    """
    notebook = stripped(job.page.notebook)
    injected = [c for c in code_cells(executed) if "injected-parameters" in tags(c)]
    results = iter([c for c in code_cells(executed) if "injected-parameters" not in tags(c)])
    cells = []
    for cell in notebook["cells"]:
        cells.append(cell)
        if cell["cell_type"] != "code":
            continue
        result = next(results)
        # Widgets load scripts from elsewhere; a progress bar's text is on stderr anyway.
        cell["outputs"] = [o for o in result["outputs"] if WIDGET not in o.get("data", {})]
        cell["execution_count"] = result["execution_count"]
        if "papermill" in result["metadata"]:
            cell["metadata"]["papermill"] = result["metadata"]["papermill"]
        if "parameters" in tags(cell):
            cells += injected
    notebook["cells"] = cells
    for key in ("papermill", "language_info"):
        notebook["metadata"][key] = executed["metadata"][key]
    about = notebook["metadata"]["papermill"]
    about.pop("input_path", None), about.pop("output_path", None)  # paths of this machine
    settings, made = job.page.settings(job.given), executed["metadata"]["ecgnet"]["about"]
    cells.insert(1, prose("cost", cost(made)))
    cells.append(prose("card", card(made, settings, job.key)))
    notebook["metadata"]["ecgnet"] = {
        **notebook["metadata"].get("ecgnet", {}),
        "key": job.key,
        "settings": settings,
        "about": made,
    }
    return notebook


def recorded_in(notebook: dict, file: str) -> dict[str, object]:
    """Return the recorded values of an executed page, or say which page has them wrong."""
    try:
        return recorded(notebook)
    except PageError as error:
        raise PageError(error.what, file=file, remedy=error.remedy) from None


def failure(error, work: Path) -> str:
    """Return what failed in a cell (a PapermillExecutionError): the cell, the traceback's tail."""
    trace = ANSI.sub("", "\n".join(error.traceback)).splitlines()
    source = error.source.splitlines()
    return "\n".join(
        [
            f"cell [{error.exec_count}] failed with {error.ename}: {ANSI.sub('', error.evalue)}",
            *(f"    {line}" for line in source[:6]),
            *["    ..."] * (len(source) > 6),
            "  the end of the traceback:",
            *(f"    {line}" for line in trace[-12:]),
            f"  the page up to that cell: build/work/{work.name}",
        ]
    )
