"""Fetch files over HTTP and check them: many at once, in whole files, or an error that says why.

pooch writes a file under a temporary name, compares its SHA-256 and renames it: under its own name
it is whole, and never asked for again, so an interrupted download goes on where it stopped.
urllib3 waits for a busy server; pooch asks again for a file that breaks off, stalls or is damaged.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from ecgnet_lib import __version__
from ecgnet_lib.errors import SourceError

SUMS = "SHA256SUMS.txt"  # the name under which PhysioNet publishes a database's checksums
JOBS = 8  # files at once
ATTEMPTS = 6  # times that a file is asked for, a second or more apart
TIMEOUT_S = (10.0, 30.0)  # to connect, and without a single byte
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # the server may answer otherwise later
_LONGEST_WAIT_S = 60  # a server that asks for more is asked again after this
_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S.*)")


class _NoFileError(Exception):
    """The server's answer is not a file, or another thread has ended the whole download."""


def offline() -> bool:
    """Whether ECGNET_OFFLINE forbids every request (set to anything but 0)."""
    return os.environ.get("ECGNET_OFFLINE", "0") not in ("", "0")


def read_sums(path: Path) -> dict[str, str]:
    """File name -> hex SHA-256, from a list in the format of sha256sum.

    Raises SourceError where a line is no checksum or names a file outside the folder: a list that
    came over the network must not decide where files are written.
    """
    sums: dict[str, str] = {}
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines() or [""], 1):
        match = _SUMS_LINE.fullmatch(line.rstrip())
        name = PurePosixPath(match[2].removeprefix("./") if match else "/")
        if name.is_absolute() or ".." in name.parts or "\\" in str(name):
            what = "this is no list of checksums"
            where, found = f"{path}, line {number}", repr(line[:60])
            expected = "64 hexadecimal digits and a file name inside the folder"
            remedy = "delete the file, which may be a login page, and get the source again"
            raise SourceError(what, file=where, expected=expected, found=found, remedy=remedy)
        sums[name.as_posix()] = match[1].lower()
    return sums


def fetch(
    sums: Mapping[str, str | None], base_url: str, folder: Path, *, label: str, attempts: int = 0
) -> int:
    """Download the files named in `sums` from `base_url` into `folder`; how many it fetched.

    sums: file name (with `/`, relative to both) -> hex SHA-256; None where nothing vouches for it.
    label: text of the progress bar. attempts: ATTEMPTS unless given.

    The first file that fails for good ends the whole with a SourceError; all that had arrived stay,
    as after Ctrl-C. Headers (.hea) come last: where one stands, all that it announces stands too.
    """
    import pooch
    import requests
    from tqdm import tqdm
    from urllib3.util import Retry

    stop = threading.Event()

    def stream(url: str, output_file: str, hub: pooch.Pooch) -> None:
        """Write `url` into pooch's temporary file; pooch asks again after a RequestException."""
        if stop.is_set():
            raise _NoFileError
        with session.get(url, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code != 200:  # 204 and 206 are no files either
                raise _NoFileError(f"HTTP status {response.status_code}")
            os.remove(output_file)  # made anew: pooch's own is readable by its owner alone
            with open(output_file, "xb") as file:
                file.writelines(response.iter_content(1 << 16))

    def download(name: str) -> bool:
        """Fetch a file, unless it is there and right; whether it was fetched."""
        target, digest, url = folder / name, sums[name], hub.get_url(name)
        if target.is_file() and digest in (None, pooch.file_hash(target)):
            return False
        if offline():
            what = "the file is not at hand, and ECGNET_OFFLINE forbids every request"
            expected, remedy = (
                f"a copy of {url}",
                "unset ECGNET_OFFLINE, or set ECGNET_DATA to a copy",
            )
            raise SourceError(what, file=name, expected=expected, remedy=remedy)
        try:
            # pooch makes this folder too, but two threads that do so at once collide there
            target.parent.mkdir(parents=True, exist_ok=True)
            hub.fetch(name, downloader=stream)
        except (_NoFileError, requests.RequestException, ValueError) as error:
            what = f"the file could not be fetched from {url}"
            about = {
                "expected": f"SHA-256 {digest}" if digest else "the file",
                "found": _reason(error),
            }
            remedy = "get the source again later: files that have arrived are kept"
            raise SourceError(what, file=name, **about, remedy=remedy) from error
        except OSError as error:
            remedy = "make room on the disk, or check the permissions of the folder"
            raise SourceError(
                "the file cannot be written", file=name, found=error.strerror, remedy=remedy
            ) from error
        return True

    attempts = attempts or ATTEMPTS
    pooch.get_logger().setLevel("WARNING")  # else one line per file, over the progress bar
    hub = pooch.create(folder, base_url, registry=dict(sums), retry_if_failed=attempts - 1)
    settings = {"status_forcelist": _BUSY, "backoff_factor": 1, "retry_after_max": _LONGEST_WAIT_S}
    # pooch asks again where no connection is made or one breaks off
    busy = Retry(attempts - 1, connect=0, read=0, raise_on_status=False, **settings)
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=JOBS, max_retries=busy)
    fetched = 0
    with requests.Session() as session, tqdm(total=len(sums), desc=label, unit="file") as bar:
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.headers["User-Agent"] = f"ecgnet-lib/{__version__} (pooch {pooch.__version__})"
        session.headers["Accept-Encoding"] = "identity"  # the checksum is that of the plain file
        with ThreadPoolExecutor(JOBS) as pool:
            try:
                for headers in (False, True):
                    names = [name for name in sums if name.endswith(".hea") == headers]
                    for new in pool.map(download, names):
                        fetched += new
                        bar.update()
            finally:
                stop.set()  # on an error or Ctrl-C the other threads end with the file at hand
    return fetched


def _reason(error: Exception) -> str:
    """Why no file came, in words; what requests says holds pools, ports and reprs."""
    from requests import exceptions

    if "timed out" in str(error):
        return f"a stalled server: nothing came for {TIMEOUT_S[1]:g} s"
    if type(error) is exceptions.ConnectionError:  # its subclasses tell of certificates, proxies
        return "no connection"
    return str(error).partition(" Deleted")[0]  # pooch: both checksums, and that it cleaned up
