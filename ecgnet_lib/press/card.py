"""The card at the end of a page: what made its results, told by the execution itself.

After the last cell of a page its kernel is asked for the libraries it imported, its device and its
peak memory. The rest is known outside: code, lock, data, parameters, seconds. The card is prose of
the executed page only; it is in no key.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from ecgnet_lib.bench import high_water_mb

MIME = "application/vnd.ecgnet.kernel+json"
ASK = "from ecgnet_lib.press.card import tell\n\ntell()"  # in the page's kernel, at its end
LIBRARIES = {
    "torch": "torch", "torch_geometric": "torch-geometric", "numpy": "numpy", "scipy": "scipy",
    "sklearn": "scikit-learn", "pandas": "pandas", "pywt": "pywavelets", "wfdb": "wfdb",
    "captum": "captum", "matplotlib": "matplotlib",
}  # fmt: skip


def tell() -> None:
    """Leave in the page what only its kernel knows."""
    from IPython.display import display

    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_available()
    told = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "libraries": {
            name: metadata.version(name) for key, name in LIBRARIES.items() if key in sys.modules
        },
        "device": torch.cuda.get_device_name() if gpu else "CPU, one thread",
        "peak_mb": round(high_water_mb()),
    }
    display({MIME: told}, raw=True)


def kernel_of(executed: dict) -> dict:
    """Return what the kernel of a page that was just executed told in its last cell."""
    outputs = (o.get("data", {}) for o in executed["cells"][-1].get("outputs", ()))
    return next((dict(data[MIME]) for data in outputs if MIME in data), {})


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


def card(about: dict, settings: dict[str, object], key: str) -> str:
    """Return the card. about: as `run.about` makes it; settings: every parameter's value."""
    kernel = about["kernel"]
    libraries = ", ".join(f"{name} {version}" for name, version in kernel["libraries"].items())
    rows = {
        "code": about["code"],
        "environment": f"`requirements.lock` {about['lock'][:12]}; Python {kernel['python']}, "
                       f"{libraries}",
        "data": about["data"][:12] if about["data"] else "none read",
        "parameters": ", ".join(f"`{name} = {value!r}`" for name, value in settings.items()),
        "device": kernel["device"],
        "cost": f"{about['seconds']:.0f} s, {kernel['peak_mb']:,} MB at most",
        "key": f"{key[:12]}",
    }  # fmt: skip
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        "```{admonition} What made this page\n:class: dropdown provenance\n\n"
        f"| what | which |\n|---|---|\n{table}\n\n"
        "Lock, data and key are the first digits of SHA-256. The page is executed again when its "
        "key changes.\n```"
    )
