"""The command line: help that helps, errors in one message, right tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from ecgnet_lib.__main__ import main
from ecgnet_lib.datasets import sources
from ecgnet_lib.errors import SourceError
from ecgnet_lib.evaluation import predict as predict_module
from ecgnet_lib.press import book as book_module
from ecgnet_lib.press.pages import read_parameters

COMMANDS = ("data", "run", "build", "predict", "bench")


def call(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, list(arguments))


def failed(result: Result) -> str:
    """Return the message of a command that failed as it should: on stderr, no traceback."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output
    return result.stderr


def test_help_names_every_command_with_examples() -> None:
    result = call("--help")
    assert result.exit_code == 0
    assert "python -m ecgnet_lib build" in result.output
    assert "ECGNET_DATA" in result.output and "Not a medical device" in result.output
    listed = result.output.split("Commands:")[1]
    assert all(f"  {name} " in listed for name in COMMANDS)
    assert "..." not in listed  # no command's summary is cut off


def test_every_command_explains_itself() -> None:
    def walk(command, path: tuple[str, ...] = ()) -> None:
        result = call(*path, "--help")
        assert result.exit_code == 0 and command.help, path
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*path, name))

    walk(main)


def test_data_list_names_every_source_with_its_licence() -> None:
    result = call("data", "list")
    assert result.exit_code == 0
    lines = result.output.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(sources.SOURCES)
    for line, source in zip(lines, sources.SOURCES.values(), strict=True):
        assert source.title in line and source.licence in line


def test_unknown_source_is_one_message_with_the_nearest_name() -> None:
    message = failed(call("data", "get", "ludx"))
    assert message.count("\n") == 1 and "did you mean 'ludb'" in message


def test_get_passes_the_rate_on(monkeypatch) -> None:
    asked = []

    def get(name: str, fs_hz: float):
        asked.append((name, fs_hz))
        return 1500, 3

    monkeypatch.setattr(sources, "get", get)
    assert "1,500 files at hand, 3 fetched" in call("data", "get", "ptbxl", "--fs-hz", "500").output
    call("data", "get", "ludb")
    assert asked == [("ptbxl", 500), ("ludb", 100)]


def test_verify_fails_when_a_file_is_wrong(monkeypatch) -> None:
    report = sources.Report("ludb", right=["a.dat"])
    monkeypatch.setattr(sources, "verify", lambda _: report)
    assert call("data", "verify", "ludb").exit_code == 0
    report.wrong.append(("b.dat", "SHA-256 1, expected 2"))
    result = call("data", "verify", "ludb")
    assert "ludb is not what was published" in failed(result)
    assert "WRONG: b.dat: SHA-256 1, expected 2" in result.stdout


@pytest.fixture
def page(monkeypatch) -> list[tuple]:
    """Replace the book by one page, and its execution by a sum; return what was swept."""
    parameters = read_parameters("a: int = 1  # first\nb: int = 2  # second")
    asked: list[tuple] = []

    def sweep(_book, name, given, axes, _log):
        asked.append((name, given, axes))
        return [({**given, "a": a}, {"third": int(a) / 3}) for a in axes.get("a", ["1"])]

    fake = SimpleNamespace(page=lambda _: SimpleNamespace(name="07_x", parameters=parameters))
    monkeypatch.setattr(book_module, "Book", lambda: fake)
    monkeypatch.setattr(book_module, "sweep", sweep)
    return asked


def test_run_prints_a_row_per_swept_value(page: list[tuple]) -> None:
    result = call("run", "07", "--set", "b=x=y", "--sweep", "a=1,2")
    assert page == [("07", {"b": "x=y"}, {"a": ["1", "2"]})]
    rows = [line.split() for line in result.output.splitlines()]
    assert rows == [["a", "third"], ["1", "0.3333"], ["2", "0.6667"]]


def test_run_alone_shows_parameters_and_values(page: list[tuple]) -> None:
    lines = call("run", "07").output.splitlines()
    assert lines[1].split() == ["a", "int", "1", "first"]
    assert lines[-1].split() == ["third", "0.3333"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--set", "a"], 2, "'a' is not of the form key=value"),
        (["--set", "a=1", "--set", "a=2"], 2, "given twice"),
        (["--set", "a=1", "--sweep", "a=2,3"], 1, "a is both set and swept"),
    ],
)
def test_run_refuses_unclear_settings(page, options: list[str], code: int, message: str) -> None:
    result = call("run", "07", *options)
    assert result.exit_code == code and message in result.stderr
    assert page == []


ANSWERS = [
    {
        "file": "a.hea",
        "abnormal": 0.876,
        "classes": {"ARR": 0.1, "CD": 0.2, "MI": 0.3, "QT": 0.04, "HYP": 0.5},
        "triage": "high",
    },
    {"file": "b.hea", "refused": "leads are missing"},
]


def test_predict_prints_a_table_and_writes_json(monkeypatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr(predict_module, "predict_files", lambda p: asked.append(p) or ANSWERS)
    out = tmp_path / "new/answers.json"
    result = call("predict", "a.hea", "folder", "--json", str(out))
    assert result.exit_code == 0
    assert asked == [[Path("a.hea"), Path("folder")]]
    head, first, second = (line.split() for line in result.output.splitlines())
    assert head == ["file", "abnormal", "ARR", "CD", "MI", "QT", "HYP", "triage"]
    assert first == ["a.hea", "0.88", "0.10", "0.20", "0.30", "0.04", "0.50", "high"]
    assert second[-4:] == ["refused:", "leads", "are", "missing"]
    assert json.loads(out.read_text()) == ANSWERS
    assert [path.name for path in out.parent.iterdir()] == ["answers.json"]


def test_predict_fails_when_nothing_could_be_read(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(predict_module, "predict_files", lambda _: ANSWERS[1:])
    out = tmp_path / "answers.json"
    assert "no recording could be read" in failed(call("predict", "b.hea", "--json", str(out)))
    assert json.loads(out.read_text()) == ANSWERS[1:]  # the answers are written all the same


def test_json_that_cannot_be_written_is_one_message(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(predict_module, "predict_files", lambda _: ANSWERS)
    (tmp_path / "file").write_text("kept")
    message = failed(call("predict", "a.hea", "--json", str(tmp_path / "file/x.json")))
    assert "cannot be written" in message
    assert (tmp_path / "file").read_text() == "kept"


def test_error_of_the_library_keeps_file_and_remedy(monkeypatch) -> None:
    def verify(_name: str):
        raise SourceError("is not at hand", file="ptb-xl", remedy="get it")

    monkeypatch.setattr(sources, "verify", verify)
    assert failed(call("data", "verify", "ptbxl")) == (
        "Error: ptb-xl: is not at hand. To fix: get it\n"
    )


def test_unknown_bench_lists_the_known_ones() -> None:
    assert "records" in failed(call("bench", "nothing"))
