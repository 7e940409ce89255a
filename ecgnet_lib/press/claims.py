"""The claims of the paper: what was claimed, what we measured, and the verdict between them.

`book/claims.yml` holds the claims and no result. A claim names a function of `evidence`, which
reads the stored results; `verdict` compares it with the paper's figure, or with a bound where
the paper gives none. No verdict is typed, except that a claim may be untestable, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from ecgnet_lib.errors import ConfigError
from ecgnet_lib.paths import ROOT
from ecgnet_lib.press.evidence import MEASURES, Found

FILE = ROOT / "book" / "claims.yml"
VERDICTS = (
    "reproduced",
    "exceeded",
    "not reproduced",
    "reproduced only with leakage",
    "untestable as stated",
    "not run on this data",
)
ENDS = ("value", "low", "high")


@dataclass(frozen=True)
class Claim:
    """One claim, as `book/claims.yml` explains its fields."""

    id: str
    title: str
    sentence: str
    where: str
    metric: str
    page: str
    cell: str
    measure: str = ""
    of: object = None
    paper: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    end: str = "value"
    tolerance: float = 0.0
    why: str = ""
    untestable: str = ""
    result: str = ""


def read_claims(path: Path = FILE) -> list[Claim]:
    """Return the claims in order; ConfigError for one that has no verdict."""
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
        claims = [Claim(**row) for row in rows]
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise ConfigError("the claims cannot be read", file=path, found=error) from None
    seen: set[str] = set()
    for claim in claims:
        bounds = sum(x is not None for x in (claim.paper, claim.at_least, claim.at_most))
        if bounds != (not claim.untestable) or not (claim.measure or claim.untestable):
            what = "a claim needs a measure and one of paper, at_least, at_most, or why it has none"
            raise ConfigError(what, file=path, found=claim.id)
        if claim.id in seen or claim.end not in ENDS:
            raise ConfigError("a claim stands twice or names no end", file=path, found=claim.id)
        seen.add(claim.id)
    return claims


def evidence_for(claim: Claim) -> Found | None:
    """Return what the stored results hold for a claim; None where they hold nothing."""
    if not claim.measure:
        return None
    if claim.measure not in MEASURES:
        raise ConfigError("there is no such measure", expected=list(MEASURES), found=claim.measure)
    return MEASURES[claim.measure](claim.of)


def verdict(claim: Claim, found: Found | None) -> str:
    """Return one of VERDICTS.

    With a figure of the paper: reproduced within the tolerance, exceeded above it; below it, what
    only an unsound protocol reaches is reproduced only with leakage. Without one: reproduced when
    the value, or the end of its interval that the claim names, keeps the bound.
    """
    if claim.untestable:
        return "untestable as stated"
    if found is None:
        return "not run on this data"
    ours = getattr(found, claim.end)
    if claim.paper is not None:
        if abs(ours - claim.paper) <= claim.tolerance:
            return "reproduced"
        if ours > claim.paper:
            return "exceeded"
        if found.leaky is not None and found.leaky >= claim.paper - claim.tolerance:
            return "reproduced only with leakage"
        return "not reproduced"
    if claim.at_least is not None:
        kept = ours >= claim.at_least - claim.tolerance
    else:
        kept = ours <= claim.at_most + claim.tolerance
    return "reproduced" if kept else "not reproduced"
