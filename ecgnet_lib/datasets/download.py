"""Fetch files over HTTP and check them: many at once, in whole files, or an error that says why.

A file stands under its own name only when all of it has arrived and its SHA-256 is right: pooch
writes to a temporary file in the same folder, hashes it and renames it. What is there already and
matches is never asked for again, so an interrupted download goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath

from ecgnet_lib import __version__
from ecgnet_lib.errors import SourceError

SUMS = "SHA256SUMS.txt"  # the name under which PhysioNet publishes a database's checksums
JOBS = 8  # files at once
_CHUNK = 1 << 16
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # the server may answer otherwise later
_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S.*)")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server: attempts per file, and times in seconds."""

    attempts: int = 6
    connect_s: float = 10.0
    read_s: float = 30.0  # without a single byte: then the download counts as stalled
    first_wait_s: float = 1.0  # before the second attempt; doubles after each failure
    longest_wait_s: float = 120.0  # a server that asks for more is not waited for


class _Stopped(Exception):
    """Another file failed, or the reader pressed Ctrl-C: leave the thread."""


def offline() -> bool:
    """Whether ECGNET_OFFLINE forbids every request (set to anything but 0)."""
    return os.environ.get("ECGNET_OFFLINE", "0") not in ("", "0")


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file; SourceError if it cannot be read."""
    import pooch

    try:
        return pooch.file_hash(str(path), alg="sha256")
    except OSError as error:
        raise SourceError(
            "the file cannot be read",
            file=path.name,
            found=error.strerror,
            remedy="check the permissions of the folder and the disk",
        ) from error


def read_sums(path: Path, called: str = "") -> dict[str, str]:
    """File name -> hex SHA-256, from a list in the format of sha256sum (`called` in messages).

    Raises SourceError where a line is no checksum or names a file outside the folder: a list that
    came over the network must not decide where files are written.
    """
    sums: dict[str, str] = {}
    called = called or path.name
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUMS_LINE.fullmatch(line.rstrip())
        name = PurePosixPath(match[2].removeprefix("./")) if match else PurePosixPath("/")
        if match is None or name.is_absolute() or ".." in name.parts or "\\" in match[2]:
            raise SourceError(
                "this is no list of checksums",
                file=f"{called}, line {number}",
                expected="64 hexadecimal digits and a file name inside the folder",
                found=repr(line[:60]),
                remedy="delete the file and get the source again; a page that asks for a login "
                "in place of the file is a common cause",
            )
        sums[name.as_posix()] = match[1].lower()
    if not sums:
        raise SourceError(
            "the list of checksums is empty",
            file=called,
            remedy="delete the file and get the source again",
        )
    return sums


def fetch(
    sums: Mapping[str, str | None],
    base_url: str,
    folder: Path,
    *,
    label: str,
    patience: Patience | None = None,
) -> tuple[int, int]:
    """Bring the files named in `sums` from `base_url` into `folder`; (files, bytes) fetched.

    sums : file name (with `/`, relative to both) -> hex SHA-256. None stands for the list of
        checksums itself, which nothing vouches for: it is only required to be such a list.
    label : what the progress bar says.

    One attempt follows another after 1, 2, 4, ... seconds, or after as long as the server's
    Retry-After asks. The first file that fails for good ends the whole. Raises SourceError; on
    that, on Ctrl-C and on a crash, all files that had arrived stay, and no others have a name.
    Headers (.hea) come last: where one stands, all that it announces stands too.
    """
    import pooch
    import requests
    from tqdm import tqdm

    pooch.get_logger().setLevel("WARNING")  # else one line per file, over the progress bar
    hub = pooch.create(path=folder, base_url=base_url, registry=dict(sums))
    fetched = total = 0
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=JOBS))
        session.headers["User-Agent"] = f"ecgnet-lib/{__version__} (pooch {pooch.__version__})"
        session.headers["Accept-Encoding"] = "identity"  # the checksum is that of the plain file
        job = _Job(hub, session, folder, patience or Patience())
        pool = ThreadPoolExecutor(JOBS)
        try:
            with tqdm(total=len(sums), desc=label, unit="file", mininterval=0.5) as bar:
                for headers in (False, True):
                    names = [name for name in sums if name.endswith(".hea") == headers]
                    for future in as_completed([pool.submit(job.bring, name) for name in names]):
                        size = future.result()
                        fetched, total = fetched + (size is not None), total + (size or 0)
                        bar.set_postfix_str(f"{total / 1e6:.1f} MB fetched", refresh=False)
                        bar.update()
        finally:
            job.stop.set()  # on an error or Ctrl-C the other threads leave at their next chunk
            pool.shutdown(wait=True, cancel_futures=True)
    return fetched, total


class _Job:
    """The state that the threads of one `fetch` share."""

    def __init__(self, hub, session, folder: Path, patience: Patience) -> None:
        self.hub, self.session, self.folder, self.patience = hub, session, folder, patience
        self.stop = threading.Event()
        self.hold_until = 0.0  # a 429 to one thread is meant for all of them
        self.arrived: dict[str, str] = {}  # url -> SHA-256 of what came

    def bring(self, name: str) -> int | None:
        """Size of the file in bytes once it is fetched, or None if it was there and right."""
        import requests

        target, digest = self.folder / name, self.hub.registry[name]
        if target.is_file() and (digest is None or sha256(target) == digest):
            return None
        url = self.hub.get_url(name)
        if offline():
            raise SourceError(
                "the file is not at hand, and ECGNET_OFFLINE forbids every request",
                file=name,
                expected=f"a copy of {url}",
                remedy="unset ECGNET_OFFLINE, or name a copy with ECGNET_DATA",
            )
        wait_s, mismatches = self.patience.first_wait_s, 0
        for left in reversed(range(self.patience.attempts)):
            try:
                # pooch makes this folder too, but two threads that do so at once collide there
                target.parent.mkdir(parents=True, exist_ok=True)
                self.hub.fetch(name, downloader=self.stream)
                return target.stat().st_size
            except requests.HTTPError as error:
                status = error.response.status_code
                found, asked_s = f"HTTP status {status}", _retry_after_s(error.response)
                final = status not in _TRY_AGAIN or asked_s > self.patience.longest_wait_s
                if asked_s:
                    found += f", and the server asks to wait {asked_s:.0f} s"
                    wait_s = max(wait_s, asked_s)
                if status == 429 and not final:
                    self.hold_until = max(self.hold_until, time.monotonic() + wait_s)
            except requests.RequestException as error:
                found, final = _reason(error, self.patience), isinstance(error, ValueError)
            except ValueError:  # pooch: the checksum does not match
                # The network guards its packets, so the same wrong file twice is no accident.
                mismatches += 1
                found, final = f"SHA-256 {self.arrived[url]}", mismatches == 2
            except OSError as error:
                raise SourceError(
                    "the file cannot be written",
                    file=name,
                    found=error.strerror or str(error),
                    remedy="make room on the disk, or check the permissions of the folder",
                ) from error
            if final or not left:
                break
            self.pause(wait_s)
            wait_s = min(2 * wait_s, self.patience.longest_wait_s)
        raise SourceError(
            f"the file could not be fetched from {url}",
            file=name,
            expected="the file" if digest is None else f"SHA-256 {digest}",
            found=found,
            remedy="get the source again, later or on another connection: files that have "
            "arrived are kept",
        )

    def stream(self, url: str, output_file: str, hub) -> None:
        """The downloader that pooch calls: `url` into the temporary file `output_file`."""
        import requests

        self.pause(self.hold_until - time.monotonic())
        times = (self.patience.connect_s, self.patience.read_s)
        with self.session.get(url, stream=True, timeout=times) as response:
            if response.status_code != 200:  # 204 and 206 are no files either
                raise requests.HTTPError(response=response)
            os.remove(output_file)  # made anew: pooch's own is readable by its owner alone
            digest = hashlib.sha256()
            with open(output_file, "xb") as file:
                for chunk in response.iter_content(_CHUNK):
                    if self.stop.is_set():
                        raise _Stopped
                    file.write(chunk)
                    digest.update(chunk)
        self.arrived[url] = digest.hexdigest()
        if url.endswith(f"/{SUMS}"):
            read_sums(Path(output_file), SUMS)

    def pause(self, seconds: float) -> None:
        """Wait, unless the whole job ends meanwhile."""
        if self.stop.wait(max(0.0, seconds)):
            raise _Stopped


def _retry_after_s(response) -> float:
    """Seconds that the Retry-After header asks for: a number or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):  # absent, no date, or a date without a zone
        return 0.0


def _reason(error: Exception, patience: Patience) -> str:
    """Why no answer came, in words; what requests says holds pools, ports and reprs."""
    from requests import exceptions

    if isinstance(error, exceptions.ConnectTimeout):
        return f"no connection within {patience.connect_s:g} s"
    if isinstance(error, exceptions.ReadTimeout) or "Read timed out" in str(error):
        return f"a stalled server: no data for {patience.read_s:g} s"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "a connection that broke off in the middle of the file"
    if isinstance(error, exceptions.SSLError):
        return f"no secure connection ({error})"
    if isinstance(error, exceptions.ConnectionError):
        return "no connection"
    return f"{type(error).__name__}: {error}"
