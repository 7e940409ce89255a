"""Sources: the real download code against a server on loopback, copies, choices and checks."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from datasets.loopback import Loopback

from ecgnet_lib.datasets import download, sources
from ecgnet_lib.datasets.download import fetch, read_sums
from ecgnet_lib.errors import SourceError

PTB, FILE = "ptb-xl/1.0.1", "records100/00000/00002_lr.dat"
N = 3  # recordings of the small PTB-XL


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def list_of(files: dict[str, bytes]) -> str:
    return "".join(f"{digest(data)}  {name}\n" for name, data in files.items())


def small_ptbxl() -> dict[str, bytes]:
    """PTB-XL as published, with N recordings of two rates."""
    files = {"scp_statements.csv": b",description\nNORM,normal ECG\n"}
    rows = [["ecg_id", "patient_id", "filename_lr", "filename_hr"]]
    for i in range(1, N + 1):
        pair = [f"records100/00000/{i:05}_lr", f"records500/00000/{i:05}_hr"]
        rows.append([str(i), str(100 + i), *pair])
        for k, name in enumerate(pair):
            files[f"{name}.dat"] = bytes(range(i, i + 50)) * 40 * (k + 1)
            files[f"{name}.hea"] = f"{name[-8:]} 12 {(100, 500)[k]} 1000\n".encode()
    files[sources.TABLE] = "".join(",".join(row) + "\n" for row in rows).encode()
    return files


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A small PhysioNet on loopback, an empty data/, and no copy: as on a reader's machine."""
    ptbxl = small_ptbxl()
    noise = {"bw.dat": b"wander" * 99, "bw.hea": b"bw 2 360 198\n", "old/bw.dat": b"older"}
    published = tmp_path / "published"
    write(published / PTB, ptbxl)
    write(published / "nstdb/1.0.0", noise | {"SHA256SUMS.txt": list_of(noise).encode()})
    lists = tmp_path / "lists"
    write(lists, {"ptbxl-500.sha256": list_of(ptbxl).encode()})
    few = replace(sources.SOURCES["ptbxl-500"], recordings=N)
    monkeypatch.setitem(sources.SOURCES, "ptbxl-500", few)
    monkeypatch.setattr(sources, "DATA", tmp_path / "data")
    monkeypatch.setattr(sources, "LISTS", lists)
    for name in ("ECGNET_DATA", "ECGNET_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "ATTEMPTS", 3)
    monkeypatch.setattr(download, "TIMEOUT_S", (5.0, 0.5))  # some stall on purpose
    with Loopback(published) as running:
        running.waits = []
        monkeypatch.setattr("time.sleep", running.waits.append)
        monkeypatch.setenv("ECGNET_PHYSIONET", running.url)
        yield running


def at_100_hz() -> dict[str, bytes]:
    return {name: data for name, data in small_ptbxl().items() if "records500" not in name}


def test_get_brings_every_file_once_and_a_second_get_asks_for_nothing(server):
    wanted = at_100_hz()
    assert sources.get("ptbxl-500") == (len(wanted), len(wanted))
    assert files_in(sources.DATA / PTB) == wanted  # equal names: no temporary file is left either
    assert Counter(server.asked) == Counter(f"{PTB}/{name}" for name in wanted)
    server.asked.clear()
    assert sources.get("ptbxl-500") == (len(wanted), 0)
    assert server.asked == []


def test_only_what_is_wrong_is_fetched_again(server):
    sources.get("ptbxl-500")
    (sources.DATA / PTB / FILE).write_bytes(b"damaged")
    server.asked.clear()
    sources.get("ptbxl-500")
    assert server.asked == [f"{PTB}/{FILE}"]
    assert files_in(sources.DATA / PTB) == at_100_hz()


def test_several_files_are_fetched_at_once(server):
    together = threading.Barrier(3)  # breaks, and the request fails, if files come one by one
    first = {f"{PTB}/records100/00000/{i:05}_lr.dat" for i in (1, 2, 3)}
    server.before = lambda path: together.wait(10) if path in first else None
    assert sources.get("ptbxl-500") == (len(at_100_hz()), len(at_100_hz()))


def test_headers_come_after_all_that_they_announce(server):
    sources.get("ptbxl-500")
    kinds = [path.endswith(".hea") for path in server.asked]
    assert kinds == sorted(kinds) and any(kinds)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_fetched_files_have_ordinary_permissions(server, tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    sources.get("ptbxl-500")
    path = sources.DATA / PTB / sources.TABLE
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_the_rest_is_checked_against_the_published_list(server):
    sources.get("nstdb")
    assert server.asked[0] == "nstdb/1.0.0/SHA256SUMS.txt"
    assert files_in(sources.DATA / "nstdb") == files_in(server.root / "nstdb")
    server.asked.clear()
    assert sources.get("nstdb") == (3, 0)
    assert server.asked == []
    assert sources.verify("nstdb").passed


@pytest.mark.parametrize("fault", ["cut", "stall", "corrupt", 500, 503])
def test_a_passing_fault_is_overcome(server, fault):
    server.faults[f"{PTB}/{FILE}"] = [fault, "ok"]
    sources.get("ptbxl-500")
    assert files_in(sources.DATA / PTB) == at_100_hz()
    assert server.asked.count(f"{PTB}/{FILE}") == 2


@pytest.mark.parametrize(
    ("fault", "requests", "found"),
    [
        ("cut", 3, "Connection broken"),
        ("stall", 3, "nothing came for 0.5 s"),
        ("corrupt", 3, "does not match the known hash"),
        (404, 1, "HTTP status 404"),
        (204, 1, "HTTP status 204"),
        (503, 3, "HTTP status 503"),
    ],
)
def test_a_lasting_fault_is_told_and_leaves_no_file(server, fault, requests, found):
    server.faults[f"{PTB}/{FILE}"] = [fault]
    with pytest.raises(SourceError) as caught:
        sources.get("ptbxl-500")
    error, wanted = caught.value, at_100_hz()
    assert error.file == FILE and digest(wanted[FILE]) in str(error.expected)
    assert f"{server.url}{PTB}/{FILE}" in str(error)
    assert found in error.found and "again" in error.remedy
    assert server.asked.count(f"{PTB}/{FILE}") == requests
    server.faults.clear()
    assert_goes_on(server)


def assert_goes_on(server):
    """What is there is whole, and the next `get` asks for the rest only."""
    wanted, here = at_100_hz(), files_in(sources.DATA / PTB)
    assert here.items() < wanted.items()
    server.asked.clear()
    sources.get("ptbxl-500")
    assert files_in(sources.DATA / PTB) == wanted
    assert Counter(server.asked) == Counter(f"{PTB}/{name}" for name in wanted.keys() - here.keys())


def test_waits_double_and_obey_retry_after_within_a_minute(server, tmp_path, monkeypatch):
    name = f"{PTB}/scp_statements.csv"
    after = [(429, {"Retry-After": seconds}) for seconds in ("30", "3600")]
    server.faults[name] = [503, 503, 503, *after, "ok"]
    sums = {name: digest((server.root / name).read_bytes())}
    assert fetch(sums, server.url, tmp_path, label="", attempts=6) == 1
    assert server.waits == [2, 4, 30, 60]  # the second attempt follows at once


def test_a_login_page_in_place_of_the_list_of_checksums(server):
    server.faults["nstdb/1.0.0/SHA256SUMS.txt"] = [b"<html>Please log in</html>"]
    with pytest.raises(SourceError, match=r"SHA256SUMS.txt, line 1: .*delete the file"):
        sources.get("nstdb")


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", f"{'0' * 63} short\n"),
        *(f"{'0' * 64}  {name}\n" for name in ("../b", "/etc/b", "a/../../b", "a\\..\\b")),
    ],
)
def test_a_list_of_checksums_names_files_inside_the_folder(tmp_path, text):
    (tmp_path / "sums").write_text(text)
    with pytest.raises(SourceError, match="sums, line 1"):
        read_sums(tmp_path / "sums")


def test_lists_with_one_space_a_star_or_capitals_are_read(tmp_path):
    (tmp_path / "sums").write_text(f"{'A' * 64} a\n{'b' * 64} *./dir/b\n")
    assert read_sums(tmp_path / "sums") == {"a": "a" * 64, "dir/b": "b" * 64}


def test_a_folder_that_cannot_be_written_is_told(server):
    write(sources.DATA, {"ptb-xl": b"a file where the folder should be"})
    with pytest.raises(SourceError, match="cannot be written"):
        sources.get("ptbxl-500")


@pytest.fixture
def ctrl_c_works():
    """A process that was started in the background may ignore SIGINT; here it is heard."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.usefixtures("ctrl_c_works")
def test_ctrl_c_leaves_whole_files_and_the_next_get_goes_on(server):
    def press(path: str) -> None:
        if path == f"{PTB}/records100/00000/00002_lr.hea":  # the bulk has arrived by then
            os.kill(os.getpid(), signal.SIGINT)

    server.before = press
    server.faults[f"{PTB}/records100/00000/00002_lr.hea"] = ["stall"]
    with pytest.raises(KeyboardInterrupt):
        sources.get("ptbxl-500")
    assert FILE in files_in(sources.DATA / PTB)
    server.before, server.faults = lambda path: None, {}
    assert_goes_on(server)


def test_offline_forbids_every_request(server, monkeypatch):
    monkeypatch.setenv("ECGNET_OFFLINE", "1")
    for name in ("ptbxl-500", "nstdb"):
        for use in (sources.get, sources.choose):
            with pytest.raises(SourceError, match="ECGNET_OFFLINE"):
                use(name)
    choice = sources.choose("auto")
    assert (choice.name, choice.root) == ("simulated", None)
    assert "SIMULATED" in choice.note and "ECGNET_OFFLINE" in choice.note
    assert server.asked == [] and not sources.DATA.exists()


def test_offline_reads_what_is_there(server, monkeypatch):
    sources.get("ptbxl-500")
    monkeypatch.setenv("ECGNET_OFFLINE", "1")
    assert sources.get("ptbxl-500") == (len(at_100_hz()), 0)
    assert sources.choose("auto").name == sources.choose("ptbxl-500").name == "ptbxl-500"


def test_auto_falls_to_simulated_where_nothing_answers(server, monkeypatch):
    monkeypatch.setenv("ECGNET_PHYSIONET", "http://127.0.0.1:1/")
    choice = sources.choose("auto")
    assert (choice.name, choice.root) == ("simulated", None)
    assert "SIMULATED" in choice.note and "no connection" in choice.note
    with pytest.raises(SourceError, match="no connection"):
        sources.get("ptbxl-500")
    assert files_in(sources.DATA) == {}


def test_auto_tells_a_failure_after_the_server_has_answered(server, monkeypatch):
    server.faults[f"{PTB}/{FILE}"] = [404]
    with pytest.raises(SourceError, match="404"):
        sources.choose("auto")


def test_auto_downloads_ptbxl_500_once(server):
    choice = sources.choose("auto")
    assert (choice.name, choice.root) == ("ptbxl-500", sources.DATA / PTB)
    assert choice.note == "PTB-XL recordings 1-500, complete, read from data/"
    assert files_in(choice.root) == at_100_hz()
    server.asked.clear()
    assert sources.choose("auto") == choice == sources.choose("ptbxl-500")
    assert server.asked == []
    sources.choose("auto", fs_hz=500)  # another rate is another download
    assert files_in(choice.root) == small_ptbxl()


def test_auto_uses_an_interrupted_download_if_it_must_and_says_so(server, monkeypatch):
    sources.get("ptbxl-500")
    folder = sources.DATA / PTB
    (folder / FILE).with_suffix(".hea").unlink()
    monkeypatch.setenv("ECGNET_OFFLINE", "1")
    choice = sources.choose("auto")
    assert choice.name == "ptbxl-500" and f"{N - 1} of {N} recordings" in choice.note
    monkeypatch.delenv("ECGNET_OFFLINE")
    assert "complete" in sources.choose("auto").note
    assert files_in(folder) == at_100_hz()


LAYOUTS = ["ptb-xl", "ptb-xl/1.0.3", "ptb-xl/1.0.2", "physionet.org/files/ptb-xl/1.0.3"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_is_read_in_place_before_anything_else(server, tmp_path, monkeypatch, layout):
    sources.get("ptbxl-500")
    server.asked.clear()
    copy = tmp_path / "copy"
    write(copy / layout, small_ptbxl())
    (copy / layout / "records100/00000/00002_lr.hea").unlink()  # its 500 Hz version is there
    for path in (copy / layout).glob("*/*/00003_*"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    monkeypatch.setenv("ECGNET_DATA", str(copy))
    assert sources.data_root() == copy
    choice = sources.choose("auto")
    assert (choice.name, choice.root) == ("ptbxl", copy / layout)
    assert choice.note == "PTB-XL, 2 of 21,799 recordings, read from ECGNET_DATA"
    assert sources.choose("ptbxl-500").root == sources.locate("ptbxl-500") == copy / layout
    assert sources.state("ptbxl") == choice.note and str(tmp_path) not in choice.note
    sources.verify("ptbxl-500")
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert server.asked == []


def test_a_whole_ptbxl_in_data_comes_before_ptbxl_500(server):
    sources.get("ptbxl-500")
    write(sources.DATA / "ptb-xl/1.0.3", small_ptbxl())
    choice = sources.choose("auto")
    assert (choice.name, choice.root) == ("ptbxl", sources.DATA / "ptb-xl/1.0.3")


def test_what_ptbxl_500_holds_is_never_called_the_whole(server):
    sources.get("ptbxl-500")
    with pytest.raises(SourceError, match=r"data get ptbxl"):
        sources.choose("ptbxl")  # 540 MB are not fetched unasked
    assert sources.state("ptbxl") == ""


def test_a_small_source_that_is_named_is_downloaded(server):
    choice = sources.choose("nstdb")
    assert choice.root == sources.DATA / "nstdb/1.0.0"
    assert choice.note == (
        "MIT-BIH Noise Stress Test Database, 1 of 15 recordings, read from data/"
    )


def test_a_copy_without_ptbxl_is_named_as_the_reason(server, tmp_path, monkeypatch):
    (tmp_path / "copy").mkdir()
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path / "copy"))
    monkeypatch.setenv("ECGNET_OFFLINE", "1")
    assert "ECGNET_DATA holds no PTB-XL" in sources.choose("auto").note
    monkeypatch.delenv("ECGNET_OFFLINE")
    sources.get("ptbxl-500")
    choice = sources.choose("auto")
    assert choice.root == sources.DATA / PTB and choice.note.endswith("read from data/")


def test_a_copy_that_does_not_exist_is_refused(server, monkeypatch):
    monkeypatch.setenv("ECGNET_DATA", "/no/such/folder")
    with pytest.raises(SourceError, match="ECGNET_DATA does not name a folder"):
        sources.choose("auto")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("ptbxl500", "ptbxl-500"), ("PTBXL", "ptbxl"), ("lubd", "ludb"), ("simulate", "simulated")],
)
def test_an_unknown_name_is_refused_with_the_nearest(server, name, nearest):
    for use in (sources.choose, sources.get, sources.verify, sources.locate):
        with pytest.raises(SourceError, match=rf"did you mean '{nearest}'"):
            use(name)


def test_simulated_is_never_fetched_or_found(server):
    assert sources.choose("simulated").root is None
    for use in (sources.get, sources.verify, sources.locate):
        with pytest.raises(SourceError, match="is made"):
            use("simulated")


@pytest.fixture
def copy(server, tmp_path, monkeypatch) -> Path:
    """A whole small copy in ECGNET_DATA, with its own list of checksums."""
    files = small_ptbxl() | {"LICENSE.txt": b"some\r\nlicence\r\n"}
    files["SHA256SUMS.txt"] = list_of(files).encode()
    write(tmp_path / "copy/ptb-xl", files)
    monkeypatch.setenv("ECGNET_DATA", str(tmp_path / "copy"))
    return tmp_path / "copy/ptb-xl"


def test_verify_finds_what_is_wrong_and_what_is_missing(copy):
    report = sources.verify("ptbxl-500")
    assert report.passed and set(report.right) == set(small_ptbxl())
    assert not (report.wrong or report.missing)
    (copy / FILE).write_bytes(data := b"damaged")
    (copy / "scp_statements.csv").unlink()
    report = sources.verify("ptbxl-500")
    assert not report.passed and [file for file, _ in report.wrong] == [FILE]
    assert digest(data) in report.wrong[0][1]
    assert report.missing == ["scp_statements.csv"]
    assert str(report) == "ptbxl-500: 12 right, 1 wrong, 1 missing"


def test_verify_tells_the_table_of_a_partial_copy_from_one_cut_short(copy):
    lines = (copy / sources.TABLE).read_bytes().splitlines(keepends=True)
    (copy / sources.TABLE).write_bytes(b"".join(lines[:-1]))  # recording 3 has no row
    report = sources.verify("ptbxl")
    assert not report.passed and [file for file, _ in report.wrong] == [sources.TABLE]
    for path in copy.glob("*/*/00003_*"):
        path.unlink()
    report = sources.verify("ptbxl")
    assert report.passed and len(report.missing) == 5 and sources.TABLE in report.missing


def test_a_file_of_another_release_is_right_if_its_own_list_says_so(copy):
    write(copy, {FILE: b"corrected"})
    assert not sources.verify("ptbxl-500").passed
    corrected = {name: (copy / name).read_bytes() for name in small_ptbxl()}
    (copy / "SHA256SUMS.txt").write_text(list_of(corrected))
    report = sources.verify("ptbxl-500")
    assert report.passed and FILE in report.right


def test_verify_needs_a_list_and_a_source(copy):
    (copy / "SHA256SUMS.txt").unlink()
    with pytest.raises(SourceError, match=r"SHA256SUMS.txt: no list of checksums"):
        sources.verify("ptbxl")
    with pytest.raises(SourceError, match="data get ludb"):
        sources.verify("ludb")


def test_every_source_says_where_it_is_from(monkeypatch):
    monkeypatch.delenv("ECGNET_PHYSIONET", raising=False)
    for name, source in sources.SOURCES.items():
        assert source.name == name and source.title and source.licence and source.citation
        if name != "simulated":
            assert re.fullmatch(r"https://physionet\.org/files/[\w-]+/1\.0\.[013]/", source.url)
            assert re.fullmatch(r"10\.13026/[\w-]+", source.doi)
            assert source.size_mb > 0 and source.recordings > 0
    parts = [s.recordings for s in sources.SOURCES.values() if s.name.startswith("challenge-2021/")]
    assert len(parts) == 8 and sum(parts) == sources.SOURCES["challenge-2021"].recordings


def test_the_committed_lists_cover_their_sources():
    sums = read_sums(sources.LISTS / "ptbxl-500.sha256")
    wanted = {"ptbxl_database.csv", "scp_statements.csv"}
    for i in range(1, 501):
        for rate, tail in ((100, "lr"), (500, "hr")):
            wanted |= {f"records{rate}/00000/{i:05}_{tail}.{kind}" for kind in ("dat", "hea")}
    assert sums.keys() == wanted
    # the whole table of release 1.0.1, as published, not its first 500 rows
    assert sums["ptbxl_database.csv"] == (
        "cd9bf4e6445c5e022605857c4d6f90c90ff0e62df847da52efaebe94de786156"
    )
    ludb = read_sums(sources.LISTS / "ludb.sha256")
    leads = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
    wanted = {f"data/{i}.{kind}" for i in range(1, 201) for kind in ("dat", "hea", *leads)}
    assert ludb.keys() == wanted | {"ludb.csv", "RECORDS"}


def test_importing_sources_is_cheap():
    code = (
        "import sys, ecgnet_lib.datasets.sources; "
        "print(sorted({'torch', 'pooch', 'requests', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_real_copy_is_counted_and_verified(physionet, monkeypatch):
    monkeypatch.setenv("ECGNET_DATA", str(physionet))
    choice = sources.choose("auto")
    with open(choice.root / sources.TABLE, encoding="utf-8", newline="") as file:
        n = len(list(csv.DictReader(file)))
    part = "complete" if n >= 21_799 else f"{n:,} of 21,799 recordings"
    assert choice.name == "ptbxl" and choice.note == f"PTB-XL, {part}, read from ECGNET_DATA"
    report = sources.verify("ptbxl-500")
    assert report.passed, (report.wrong[:3], str(report))
