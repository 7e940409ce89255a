"""Fetch files over HTTP and check them: many at once, in whole files, or an error that says why.

pooch writes a file under a temporary name, compares its SHA-256 and renames it: a file that stands
under its own name is whole and right. It is never asked for again, so that an interrupted download
goes on where it stopped. urllib3 asks again where a server is busy or cannot be reached.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecgnet_lib import __version__
from ecgnet_lib.errors import SourceError

SUMS = "SHA256SUMS.txt"  # the name under which PhysioNet publishes a database's checksums
JOBS = 8  # files at once
_BODIES = 3  # times that a file is asked for which breaks off, stalls or arrives damaged
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # the server may answer otherwise later
_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S.*)")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server: attempts per answer, and times in seconds."""

    attempts: int = 6
    connect_s: float = 10.0
    read_s: float = 30.0  # without a single byte: then the download counts as stalled
    first_wait_s: float = 1.0  # before the second attempt; doubles with each attempt
    longest_wait_s: float = 120.0  # a server that asks for more is not waited for


class _NoFileError(Exception):
    """The server's answer is not a file, or another thread has ended the whole download."""


def offline() -> bool:
    """Whether ECGNET_OFFLINE forbids every request (set to anything but 0)."""
    return os.environ.get("ECGNET_OFFLINE", "0") not in ("", "0")


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file; SourceError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        remedy = "check the permissions of the folder and the disk"
        raise SourceError(
            "the file cannot be read", file=path.name, found=error.strerror, remedy=remedy
        ) from error


def read_sums(path: Path, called: str = "") -> dict[str, str]:
    """File name -> hex SHA-256, from a list in the format of sha256sum (`called` in messages).

    Raises SourceError where a line is no checksum or names a file outside the folder: a list that
    came over the network must not decide where files are written.
    """
    sums: dict[str, str] = {}
    called = called or path.name
    remedy = "delete the file and get the source again; a page that asks for a login in place of "
    remedy += "the file is a common cause"
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
                remedy=remedy,
            )
        sums[name.as_posix()] = match[1].lower()
    if not sums:
        raise SourceError("the list of checksums is empty", file=called, remedy=remedy)
    return sums


def fetch(
    sums: Mapping[str, str | None],
    base_url: str,
    folder: Path,
    *,
    label: str,
    patience: Patience | None = None,
) -> int:
    """Download the files named in `sums` from `base_url` into `folder`; how many it fetched.

    sums : file name (with `/`, relative to both) -> hex SHA-256. None stands for the list of
        checksums itself, which nothing vouches for: it is only required to be such a list.
    label : text of the progress bar.

    One attempt follows another after 1, 2, 4, ... seconds, or after as long as the server's
    Retry-After asks. The first file that fails for good ends the whole. Raises SourceError; on
    that, on Ctrl-C and on a crash, all files that had arrived stay, and no others have a name.
    Headers (.hea) come last: where one stands, all that it announces stands too.
    """
    import pooch
    import requests
    from tqdm import tqdm
    from urllib3.util import Retry

    patience, stop = patience or Patience(), threading.Event()

    class PoliteRetry(Retry):
        def sleep(self, response=None) -> None:
            wait_s = self.get_retry_after(response) if response else None
            if wait_s and wait_s > patience.longest_wait_s:
                asked = f"and the server asks to wait {wait_s:.0f} s"
                raise _NoFileError(f"HTTP status {response.status}, {asked}")
            doubled_s = patience.first_wait_s * 2 ** (len(self.history) - 1)
            if stop.wait(wait_s or min(doubled_s, patience.longest_wait_s)):
                raise _NoFileError

    def stream(url: str, output_file: str, hub: pooch.Pooch) -> None:
        """Write `url` into pooch's temporary file; what breaks off here, pooch asks for again."""
        times = (patience.connect_s, patience.read_s)
        try:
            if stop.is_set():
                raise _NoFileError
            response = session.get(url, stream=True, timeout=times)
        except requests.RequestException as error:
            raise _NoFileError(_reason(error, patience)) from error
        with response:
            if response.status_code != 200:  # 204 and 206 are no files either
                raise _NoFileError(f"HTTP status {response.status_code}")
            os.remove(output_file)  # made anew: pooch's own is readable by its owner alone
            with open(output_file, "xb") as file:
                for chunk in response.iter_content(1 << 16):
                    if stop.is_set():
                        raise _NoFileError
                    file.write(chunk)
        if url.endswith(f"/{SUMS}"):
            read_sums(Path(output_file), SUMS)

    def download(name: str) -> bool:
        """Fetch a file, unless it is there and right; whether it was fetched."""
        target, digest, url = folder / name, sums[name], hub.get_url(name)
        if target.is_file() and digest in (None, sha256(target)):
            return False
        if offline():
            raise SourceError(
                "the file is not at hand, and ECGNET_OFFLINE forbids every request",
                file=name,
                expected=f"a copy of {url}",
                remedy="unset ECGNET_OFFLINE, or name a copy with ECGNET_DATA",
            )
        try:
            # pooch makes this folder too, but two threads that do so at once collide there
            target.parent.mkdir(parents=True, exist_ok=True)
            hub.fetch(name, downloader=stream)
        except (_NoFileError, requests.RequestException, ValueError) as error:
            raise SourceError(
                f"the file could not be fetched from {url}",
                file=name,
                expected="the file" if digest is None else f"SHA-256 {digest}",
                found=_reason(error, patience),
                remedy="get the source again, later or on another connection: files that have "
                "arrived are kept",
            ) from error
        except OSError as error:
            remedy = "make room on the disk, or check the permissions of the folder"
            raise SourceError(
                "the file cannot be written", file=name, found=error.strerror, remedy=remedy
            ) from error
        return True

    pooch.get_logger().setLevel("WARNING")  # else one line per file, over the progress bar
    hub = pooch.create(folder, base_url, registry=dict(sums))
    hub.retry_if_failed = min(_BODIES, patience.attempts) - 1
    retry = PoliteRetry(patience.attempts - 1, status_forcelist=_BUSY, raise_on_status=False)
    fetched, pool = 0, ThreadPoolExecutor(JOBS)
    with requests.Session() as session, tqdm(total=len(sums), desc=label, unit="file") as bar:
        for scheme in ("https://", "http://"):
            adapter = requests.adapters.HTTPAdapter(pool_maxsize=JOBS, max_retries=retry)
            session.mount(scheme, adapter)
        session.headers["User-Agent"] = f"ecgnet-lib/{__version__} (pooch {pooch.__version__})"
        session.headers["Accept-Encoding"] = "identity"  # the checksum is that of the plain file
        try:
            for headers in (False, True):
                names = [name for name in sums if name.endswith(".hea") == headers]
                for new in pool.map(download, names):
                    fetched += new
                    bar.update()
        finally:
            stop.set()  # on an error or Ctrl-C the other threads leave at their next chunk
            pool.shutdown(cancel_futures=True)
    return fetched


def _reason(error: Exception, patience: Patience) -> str:
    """Why no file came, in words; what requests says holds pools, ports and reprs."""
    from requests import exceptions

    if "Read timed out" in str(error):
        return f"a stalled server: no data for {patience.read_s:g} s"
    if isinstance(error, exceptions.ConnectTimeout):
        return f"no connection within {patience.connect_s:g} s"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "a connection that broke off in the middle of the file"
    if isinstance(error, exceptions.ConnectionError) and not isinstance(error, exceptions.SSLError):
        return "no connection"
    return str(error).partition(" Deleted")[0]  # pooch: both checksums, and that it cleaned up
