"""Execute one page with Papermill, in a kernel of its own; keep it only if no cell failed.

An executed page begins with a line of its cost and ends with a table of its provenance: code,
environment, data, parameters, device. Both are prose of the executed page only, and in no key.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ecgnet_lib.errors import PageError
from ecgnet_lib.files import write_if_new
from ecgnet_lib.press.pages import Page, code_cells, tags
from ecgnet_lib.press.record import recorded

KERNEL = "ecgnet"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
WIDGET = "application/vnd.jupyter.widget-view+json"
REPORT = "from ecgnet_lib.press.run import kernel_report\n\nkernel_report()"
LIBRARIES = {  # how they are imported, how they are installed
    "torch": "torch",
    "torch_geometric": "torch-geometric",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "pandas": "pandas",
    "pywt": "pywavelets",
    "wfdb": "wfdb",
    "captum": "captum",
    "matplotlib": "matplotlib",
}


@dataclass(frozen=True)
class Job:
    """A page to bring up to date: what to execute, with which settings, where the result goes."""

    page: Page
    given: dict[str, object]  # the parameters that are set from outside; the rest are defaults
    key: str
    out: Path
    root: Path
    lock: str = ""  # SHA-256 of the lock of the environment
    data: str = ""  # SHA-256 that identifies the recordings of the page; "" if it reads none


def executed(job: Job) -> dict | None:
    """Return the executed page if it is there and its key is the job's, else None."""
    import nbformat

    notebook = nbformat.read(job.out, as_version=4) if job.out.is_file() else None
    fresh = notebook is not None and notebook.metadata.get("ecgnet", {}).get("key") == job.key
    return notebook if fresh else None


def ensure_executed(job: Job, log: Callable[[str], None]) -> None:
    """Execute a page if its key changed; else bring its prose up to date. PageError if it fails."""
    name, notebook = f"  {job.out.stem:<16}", executed(job)
    if notebook is None:
        log(f"{name} executing ...")
        log(f"{name} executed in {run(job):.0f} s")
    else:
        new = write_page(job, notebook, notebook["metadata"]["ecgnet"]["about"])
        log(f"{name} {'new text' if new else 'fresh'}")


def run(job: Job) -> float:
    """Execute the page, write the result, return the seconds that it took.

    Raises PageError naming page, cell and error when a cell fails; then the previous result stays
    as it was and the page up to the error is left in build/work.
    """
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from nbformat.v4 import new_code_cell
    from papermill import PapermillExecutionError, execute_notebook

    use_kernel(job.root)
    work = job.root / "build" / "work" / job.out.name
    for folder in (work.parent, job.out.parent):
        folder.mkdir(parents=True, exist_ok=True)
    page = without_outputs(job.page.notebook)
    page["cells"].append(new_code_cell(REPORT))
    try:
        notebook = execute_notebook(
            page,
            str(work),
            parameters=job.given,
            kernel_name=KERNEL,
            language="python",
            progress_bar=False,
            start_timeout=120,
            # The kernel's folder; cwd= would move this whole process.
            resources={"metadata": {"path": str(job.out.parent)}},
        )
    except PapermillExecutionError as error:
        place = f"  the page up to that cell: build/work/{work.name}"
        raise PageError(f"a cell failed\n{error}\n{place}", file=job.page.file) from None
    except (CellTimeoutError, DeadKernelError, RuntimeError) as error:
        found = str(error).strip().splitlines()[-1:]
        raise PageError("its kernel stopped", file=job.page.file, found=found) from None
    recorded(notebook, job.page.file)
    if not (report := notebook.cells[-1].outputs):  # sys.exit() is no error to Papermill
        raise PageError("the page stopped before its end", file=job.page.file)
    about = {
        "code": code_state(job.root),
        "lock": job.lock,
        "data": job.data,
        "seconds": round(notebook.metadata.papermill.duration, 1),
        "kernel": report[0].data["application/json"],
    }
    write_page(job, notebook, about)
    work.unlink()
    return about["seconds"]


def use_kernel(root: Path) -> None:
    """Make a private kernel the one that Papermill finds: this Python, one thread, this data."""
    folder = root / "build" / "jupyter"
    # The log level hides the messages of a kernel at every start (TCP) and end (the interrupt).
    argv = ["-m", "ipykernel_launcher", "-f", "{connection_file}", "--IPKernelApp.log_level=50"]
    spec = {
        "argv": [sys.executable, *argv],
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


def without_outputs(notebook: dict) -> dict:
    """Return a copy of a notebook without outputs."""
    notebook = copy.deepcopy(notebook)
    for cell in code_cells(notebook):
        cell["outputs"], cell["execution_count"] = [], None
    return notebook


def write_page(job: Job, executed: dict, about: dict) -> bool:
    """Write the page as it stands in book/ with the outputs of an execution; True if it changed.

    about: what `run` reports of the execution.
    """
    import nbformat

    notebook = without_outputs(job.page.notebook)
    injected = [c for c in code_cells(executed) if "injected-parameters" in tags(c)]
    results = [c for c in code_cells(executed) if "injected-parameters" not in tags(c)]
    for cell, result in zip(code_cells(notebook), results, strict=False):
        # Widgets load scripts from elsewhere; a progress bar's text is on stderr anyway.
        cell["outputs"] = [o for o in result["outputs"] if WIDGET not in o.get("data", {})]
        cell["execution_count"] = result["execution_count"]
    cells, settings = notebook["cells"], job.page.settings(job.given)
    after_parameters = cells.index(code_cells(notebook)[0]) + 1
    cells[after_parameters:after_parameters] = injected
    cells.insert(1, prose("cost", cost(about)))
    cells.append(prose("provenance", provenance(about, settings, job.key)))
    notebook["metadata"]["language_info"] = executed["metadata"]["language_info"]
    notebook["metadata"]["ecgnet"] = {"key": job.key, "settings": settings, "about": about}
    return write_if_new(job.out, (nbformat.writes(notebook) + "\n").encode())


def prose(name: str, text: str) -> dict:
    """Return a cell of prose. Its name is its id, so that the same page is made the same again."""
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(text, id=name)


def kernel_report() -> None:
    """Leave in the page what only its kernel knows: library versions, device, peak memory."""
    from IPython.display import display

    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_available()
    report = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "libraries": {
            name: metadata.version(name) for key, name in LIBRARIES.items() if key in sys.modules
        },
        "device": torch.cuda.get_device_name() if gpu else "CPU, one thread",
        "peak_mb": round(high_water_mb()),
    }
    display({"application/json": report}, raw=True)


def high_water_mb() -> float:
    """Return the most resident memory that this process ever had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: there `getrusage` also counts the process that started this one
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024 / 1e6
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def code_state(root: Path) -> str:
    """Return version and commit of the code, and whether the tree held changes beside it."""
    version = metadata.version("ecgnet_lib")

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        state = "with uncommitted changes" if git("status", "--porcelain") else "tree clean"
        return f"version {version}, commit {git('rev-parse', '--short=12', 'HEAD')}, {state}"
    except (OSError, subprocess.CalledProcessError):
        return f"version {version}, not in a git repository"


def cost(about: dict) -> str:
    """Return the line at the top of an executed page."""
    return (
        f"*Executed in {about['seconds']:.0f} s, with {about['kernel']['peak_mb']:,} MB of memory "
        "at most.*"
    )


def provenance(about: dict, settings: dict[str, object], key: str) -> str:
    """Return the table at the end of an executed page. settings: every parameter's value."""
    kernel, lock = about["kernel"], about["lock"][:12]
    libraries = ", ".join(" ".join(item) for item in sorted(kernel["libraries"].items()))
    rows = {
        "code": about["code"],
        "environment": f"`requirements.lock` {lock}; Python {kernel['python']}, {libraries}",
        "data": about["data"][:12] or "none read",
        "parameters": ", ".join(f"`{name} = {value!r}`" for name, value in settings.items()),
        "device": kernel["device"],
        "cost": f"{about['seconds']:.0f} s, {kernel['peak_mb']:,} MB at most",
        "key": key[:12],
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        "```{admonition} What made this page\n:class: dropdown provenance\n\n"
        f"| what | which |\n|---|---|\n{table}\n\n"
        "Lock, data and key are the first digits of SHA-256. The page is executed again when its "
        "key changes.\n```"
    )
