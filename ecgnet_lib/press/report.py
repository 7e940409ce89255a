"""The report of `verify`: one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape

import pandas as pd

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;
color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%;font-size:.85rem;margin:.5rem 0 1.5rem}
th,td{border-bottom:1px solid #ccc;padding:.25rem .5rem;text-align:left;vertical-align:top;
overflow-wrap:anywhere}
.good{color:#00614a}.bad{color:#a51200}
@media(prefers-color-scheme:dark){body{color:#eee;background:#14181e}.good{color:#4fd1a5}
.bad{color:#ff8f7d}}
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Verification</title>
<style>{style}</style></head><body><main>
<h1 class="{grade}">{word}</h1>
<p>{n:,} things checked in {seconds:.0f} s.</p>
{parts}
</main></body></html>
"""


def report(manifest: dict) -> str:
    """Return the page that shows a manifest of `verify`: what is wrong first."""
    found = pd.DataFrame(manifest["findings"]).fillna({"difference": ""})
    found.insert(5, "agrees", found.pop("good").map({True: "yes", False: "NO"}))
    wrong = found[found["agrees"] == "NO"]
    checks = found.groupby("check", sort=False)["agrees"]
    counts = pd.DataFrame({"things": checks.size(), "wrong": checks.agg(lambda c: sum(c == "NO"))})
    claims = pd.DataFrame(manifest["claims"])
    claims["ours"] = claims["ours"].map(lambda ours: ours["text"] if ours else "")
    environment = pd.Series(manifest["environment"], dtype=object).to_frame("value")
    files = pd.Series(manifest["files"], dtype=object).to_frame("SHA-256")
    parts = ["<h2>What does not agree</h2>", table(wrong)] if len(wrong) else []
    parts += ["<h2>What was checked</h2>", table(counts.reset_index())]
    parts += ["<h2>The claims</h2>"]
    parts += [table(claims[["title", "sentence", "paper", "ours", "verdict"]].fillna(""))]
    parts += ["<h2>Environment</h2>", table(environment.reset_index(names="what"))]
    parts += ["<h2>All values, stored and now</h2>"]
    parts += [folded(f"{name} ({len(rows)})", rows) for name, rows in found.groupby("check")]
    parts += [folded("Files", files.reset_index(names="file"))]
    passed = manifest["passed"]
    return PAGE.format(
        style=STYLE, grade="good" if passed else "bad", n=len(found), parts="\n".join(parts),
        word="Everything agrees" if passed else f"{len(wrong)} things do not agree",
        seconds=manifest["seconds"],
    )  # fmt: skip


def table(rows: pd.DataFrame) -> str:
    """Return an HTML table of texts, floats to six digits."""
    rows = rows.drop(columns="check", errors="ignore").rename(
        columns={"old": "stored", "new": "now"}
    )
    texts = rows.map(lambda value: f"{value:.6g}" if isinstance(value, float) else str(value))
    return texts.to_html(index=False, border=0)


def folded(title: str, rows: pd.DataFrame) -> str:
    """Return a table below a title that opens it."""
    return f"<details><summary>{escape(title)}</summary>{table(rows)}</details>"
