"""The reviewer's page: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from html import escape

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


def report(manifest: dict) -> str:
    """Return the page that shows a manifest of `verify`: what is wrong first."""
    found = manifest["findings"]
    wrong = [finding for finding in found if not finding["good"]]
    total, bad = Counter(f["check"] for f in found), Counter(f["check"] for f in wrong)
    word = "Everything agrees" if manifest["passed"] else f"{len(wrong)} things do not agree"
    parts = [
        f'<h1 class="{"good" if manifest["passed"] else "bad"}">{word}</h1>',
        f"<p>{len(found):,} things checked in {manifest['seconds']:.0f} s.</p>",
    ]
    if wrong:
        parts += ["<h2>What does not agree</h2>", values(wrong)]
    rows = [[name, f"{count:,}", f"{bad[name]:,}"] for name, count in total.items()]
    parts += ["<h2>What was checked</h2>", table(["check", "things", "wrong"], rows)]
    claims = [
        [c["title"], c["sentence"], shown(c["paper"]), ours(c["ours"]), c["verdict"]]
        for c in manifest["claims"]
    ]
    parts += [
        "<h2>The claims</h2>",
        table(["claim", "sentence", "paper", "ours", "verdict"], claims),
    ]
    rows = [[name, shown(value)] for name, value in manifest["environment"].items()]
    parts += ["<h2>Environment</h2>", table(["", ""], rows)]
    parts += ["<h2>All values, old and new</h2>"]
    for name in total:
        inside = values([f for f in found if f["check"] == name])
        head = f"<summary>{escape(name)} ({total[name]:,})</summary>"
        parts.append(f"<details>{head}{inside}</details>")
    files = [[name, digest] for name, digest in manifest["files"].items()]
    parts.append(f"<details><summary>Files</summary>{table(['file', 'SHA-256'], files)}</details>")
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Verification</title>'
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def values(findings: list[dict]) -> str:
    """Return findings as a table."""
    rows = [
        [f["subject"], shown(f["old"]), shown(f["new"]), shown(f["difference"]),
         "agrees" if f["good"] else "WRONG"]
        for f in findings
    ]  # fmt: skip
    return table(["what", "of record", "now", "difference", ""], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return an HTML table of plain texts."""
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def ours(found: dict | None) -> str:
    """Return what we measured for a claim, with its interval."""
    if found is None:
        return ""
    ends = [found[end] for end in ("value", "low", "high") if found[end] is not None]
    first, *rest = (format(end, found["form"]) for end in ends)
    return f"{first} [{', '.join(rest)}]" if rest else first


def shown(value: object) -> str:
    """Return a value as text, floats to six digits."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
