"""The command line: python -m ecgnet_lib. Thin: every command is one call into the library."""

from __future__ import annotations

from pathlib import Path

import click

from ecgnet_lib import __version__
from ecgnet_lib.errors import EcgnetError, PageError

JSON = click.Path(dir_okay=False, path_type=Path)


class Cli(click.Group):
    """Commands whose errors are one clear message on stderr and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; turn this library's errors into click's."""
        try:
            return super().invoke(ctx)
        except EcgnetError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ecgnet_lib")
def main() -> None:
    """Rebuild FoundationalECGNet: data, pages, predictions. Not a medical device.

    \b
    Examples
      python -m ecgnet_lib data list                 which databases there are
      python -m ecgnet_lib data get ptbxl-500        fetch the small one
      python -m ecgnet_lib run 07 --sweep seed=0,1   execute one page, twice
      python -m ecgnet_lib build                     execute all, make the site
      python -m ecgnet_lib predict my_ecg.hea        classify a recording

    \b
    Environment
      ECGNET_DATA=DIR     read recordings from a copy of PhysioNet, in place
      ECGNET_OFFLINE=1    make no request to the network
    """


@main.group()
def data() -> None:
    """List, fetch and check the databases."""


@data.command("list")
def data_list() -> None:
    """List the databases and how much of each is at hand."""
    from ecgnet_lib.datasets.sources import SOURCES, state

    rows = []
    for s in SOURCES.values():
        size, there = f"{s.size_mb:,} MB" if s.folder else "-", state(s.name)
        rows.append((s.name, s.title, size, s.licence, there.removeprefix(f"{s.title}, ") or "-"))
    print_table(("name", "what", "download", "licence", "at hand"), rows)


@data.command("get")
@click.argument("name")
@click.option("--fs-hz", default=100, show_default=True, help="PTB-XL: which rate, 100 or 500.")
def data_get(name: str, fs_hz: int) -> None:
    """Download the database NAME into data/ and check it; files that are there are kept."""
    from ecgnet_lib.datasets.sources import get

    files, fetched = get(name, fs_hz)
    click.echo(f"{name}: {files:,} files at hand, {fetched:,} fetched now")


@data.command("verify")
@click.argument("name")
def data_verify(name: str) -> None:
    """Compare the files of database NAME that are at hand with the published checksums."""
    from ecgnet_lib.datasets.sources import verify

    report = verify(name)
    click.echo(report)
    for file, found in report.wrong:
        click.echo(f"  WRONG: {file}: {found}")
    if not report.passed:
        raise click.ClickException(f"{name} is not what was published")


def pairs(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Turn ("key=value", ...) into a dictionary."""
    if bad := [text for text in texts if not text.partition("=")[0] or "=" not in text]:
        raise click.BadParameter(f"{bad[0]!r} is not of the form key=value")
    found = dict(text.split("=", 1) for text in texts)
    if len(found) < len(texts):
        raise click.BadParameter("a key is given twice")
    return found


@main.command("run")
@click.argument("page")
@click.option("--set", "given", multiple=True, callback=pairs, metavar="KEY=VALUE")
@click.option("--sweep", "axes", multiple=True, callback=pairs, metavar="KEY=A,B,...")
def run_page(page: str, given: dict[str, str], axes: dict[str, str]) -> None:
    """Execute PAGE with other parameters, print its values.

    --set gives a parameter another value; --sweep executes the page once for every value in the
    list (several sweeps: for every combination). The executed notebooks lie in build/runs/PAGE/,
    and the book itself stays as it is. Without either, the page's parameters are shown as well.
    """
    from ecgnet_lib.press.book import Book, sweep

    if twice := given.keys() & axes.keys():
        raise PageError(f"{min(twice)} is both set and swept")
    book = Book()
    if not given and not axes:
        parameters = book.page(page).parameters.values()
        rows = [(p.name, p.type.__name__, p.default, p.help) for p in parameters]
        print_table(("parameter", "type", "default", "what it does"), rows)
    lists = {key: text.split(",") for key, text in axes.items()}
    results = sweep(book, page, given, lists, click.echo)
    if lists:
        names = list(dict.fromkeys(key for _, values in results for key in values))
        rows = [[s[key] for key in lists] + [v.get(key, "-") for key in names] for s, v in results]
        print_table((*lists, *names), rows)
    else:
        print_table(("value", ""), list(results[0][1].items()))


@main.command()
@click.option("--lite", is_flag=True, help="With pages that run in a browser; see make lite.")
def build(lite: bool) -> None:
    """Execute stale pages and make the site."""
    from ecgnet_lib.press.build import build as build_book

    build_book(log=click.echo, browser=lite)


@main.command()
@click.option("--record", is_flag=True, help="Store what the pages hold now.")
def verify(record: bool) -> None:
    """Execute all pages, recompute all metrics, report what differs.

    Writes build/verify/index.html and manifest.json. The exit status is 1 when a value moved beyond
    its tolerance, or a file, a weight, a label or a page differs from the stored one.
    """
    from ecgnet_lib.press.verify import verify as verify_all

    wrong = verify_all(record=record, say=click.echo)
    for finding in wrong:
        click.echo(f"  WRONG  {finding.subject}: {finding.old} stored, {finding.new} now")
    click.echo("Report: build/verify/index.html")
    if wrong:
        raise click.ClickException(f"{len(wrong)} things differ from what is stored")


@main.command()
@click.argument("name", type=click.Choice(["denoise", "model", "records"]))
@click.option("--json", "out", type=JSON, metavar="FILE")
def bench(name: str, out: Path | None) -> None:
    """Measure a speed and compare with its targets."""
    import importlib
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported
    from ecgnet_lib import bench as benches

    rows = importlib.import_module(f"ecgnet_lib.bench.{name}").run()
    click.echo(benches.table(rows))
    if out:
        benches.write(rows, out)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "out", type=JSON, metavar="OUT")
def predict(files: tuple[Path, ...], out: Path | None) -> None:
    """Classify recordings with the shipped network.

    FILES are headers or folders. Prints the probability of "abnormal", of the five classes together
    with it, and the triage level; or why a recording was refused. The exit status is 1 only if no
    recording could be read. Not a medical device.
    """
    from ecgnet_lib.datasets.labels import DISEASES
    from ecgnet_lib.evaluation.predict import predict_files
    from ecgnet_lib.files import write_json

    answers = predict_files(list(files))
    rows = []
    for answer in answers:
        cells, triage = ["-"] * 6, f"refused: {answer.get('refused')}"
        if "refused" not in answer:
            p = answer["abnormal"], *(answer["classes"][name] for name in DISEASES)
            cells, triage = [f"{one:.2f}" for one in p], answer["triage"]
        rows.append([answer["file"], *cells, triage])
    print_table(("file", "abnormal", *DISEASES, "triage"), rows)
    if out:
        write_json(out, answers)
    if all("refused" in answer for answer in answers):
        raise click.ClickException("no recording could be read")


@main.command()
@click.argument("name", required=False)
def experiment(name: str | None) -> None:
    """Make the stored result NAME again; without a name, list them."""
    from ecgnet_lib.experiments import EXPERIMENTS, run

    if name is None:
        rows = [(n, make.__doc__.partition("\n")[0]) for n, make in EXPERIMENTS.items()]
        print_table(("experiment", "what it does"), rows)
    else:
        run(name)


def print_table(head: tuple[str, ...], rows: list) -> None:
    """Print rows below a head, in columns as wide as they need, floats to four digits."""
    lines = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


if __name__ == "__main__":
    main(prog_name="python -m ecgnet_lib")
