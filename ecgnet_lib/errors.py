"""Errors that name the file, what was expected, what was found, and the remedy."""

from __future__ import annotations

from pathlib import Path


class EcgnetError(Exception):
    """Base of every error that this library raises on purpose.

    The message is one sentence of what went wrong, followed by whichever of file, expected, found
    and remedy are known; the same parts are attributes.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.file, self.remedy = what, file, remedy
        self.expected, self.found = expected, found
        parts = [what if file is None else f"{file}: {what}"]
        parts += [f"expected {expected}"] if expected is not None else []
        parts += [f"found {found}"] if found is not None else []
        super().__init__("; ".join(parts) + (f". To fix: {remedy}" if remedy else ""))


class SourceError(EcgnetError):
    """A database cannot be fetched, is not at hand, or does not match its checksums."""


class RecordingError(EcgnetError):
    """A recording cannot be read, or its content is not plausible."""


class LabelError(EcgnetError):
    """A statement or a metadata row cannot be understood."""


class SplitError(EcgnetError):
    """A split has the same patient, recording or signal in two sets."""


class SignalError(EcgnetError):
    """An array is not a signal that the function can process."""


class ConfigError(EcgnetError):
    """A configuration or a checkpoint does not fit."""


class PageError(EcgnetError):
    """A page of the book cannot be executed, or must not reach the site."""
