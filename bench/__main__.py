"""`make bench`: measures, prints a table, and writes it to bench/results.md. Ratios are of peers in the same run."""

import argparse
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import (
    analyze_bench,
    assign_bench,
    events_bench,
    experiments_bench,
    load,
    measures,
    pages_bench,
    readout_bench,
)
from bench.report import Report
from bench.service import Service, database, service
from engine.store import embedded

_RESULTS = Path(__file__).parent / "results.md"
_RESULTS_LARGE = Path(__file__).parent / "results-large.md"
_RESULTS_EXPERIMENTS = Path(__file__).parent / "results-experiments.md"
_RESULTS_PAGES = Path(__file__).parent / "results-pages.md"
_HISTORY = 8
_MANY = 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="10,000,000 customers with 50,000,000 journal rows")
    parser.add_argument("--experiments", action="store_true", help="assignment and readouts, of 10,000,000 customers")
    parser.add_argument("--pages", action="store_true", help="every page of the demo, which needs nothing installed")
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair of peers; the median stands")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "takt-bench")
    options = parser.parse_args()
    if options.pages:
        pages(options.scratch / "pages")
        return
    if not load.have_wrk():
        parser.exit(1, "make bench needs wrk to make load: apt-get install wrk redis-server\n")
    report = Report(
        "make bench-experiments" if options.experiments else "make bench-large" if options.large else "make bench"
    )
    if options.experiments:
        experiments(report, options)
        return
    with embedded.attach(options.scratch) as server:
        if options.large:
            large(server, report, options)
        else:
            usual(server, report, options)
    results = _RESULTS_LARGE if options.large else _RESULTS
    results.write_text(report.markdown())
    print(f"\nwritten to {results}")


def usual(server: embedded.Server, report: Report, options: argparse.Namespace) -> None:
    """Everything at one size, then the growth from the smallest to it."""
    customers, seconds, rounds = options.customers, options.seconds, options.rounds
    with database(server, customers, _HISTORY) as url:
        with service(url) as one:
            measures.warm(one, customers)
            measures.singles(report, one, customers, seconds, rounds)
            measures.peer(report, one, customers, seconds, rounds)
            measures.footprint(report, one, url, customers)
            measures.batches(report, one, customers, seconds, server.pid)
            measures.hot(report, one, customers, seconds)
            measures.beside(report, one, customers, seconds)
            experiments_bench.measure(report, one, url, customers, seconds, rounds)
            events_bench.measure(report, one, seconds, server.pid, options.scratch / "events")
        with service(url, workers=2) as two:
            measures.warm(two, customers)
            measures.two_workers(report, two, customers, seconds)
        with ExitStack() as stack:
            peers = [
                measures.Peer(size, history, recent, stack.enter_context(_asked(server, size, history, recent)))
                for size, history, recent in (
                    (10_000, _HISTORY, _HISTORY),
                    (100_000, _HISTORY, _HISTORY),
                    (100_000, 10 * _HISTORY, _HISTORY),
                    (100_000, 10 * _HISTORY, 30),
                )
            ]
            peers.append(measures.Peer(customers, _HISTORY, _HISTORY, stack.enter_context(service(url))))
            measures.growth(report, peers, seconds, rounds)
    measures.screening(report, customers, options.scratch / "screen")


def experiments(report: Report, options: argparse.Namespace) -> None:
    """Assignment and readouts, of files and in the service's database, which need no service."""
    assign_bench.measure(report, 100_000, 3 * options.rounds)
    analyze_bench.measure(report, _MANY, options.rounds, options.scratch / "experiments")
    with embedded.attach(options.scratch) as server:
        readout_bench.measure(report, server, options.customers, options.rounds)
    _RESULTS_EXPERIMENTS.write_text(report.markdown())
    print(f"\nwritten to {_RESULTS_EXPERIMENTS}")


def pages(scratch: Path) -> None:
    """Pages as a person waits for them."""
    report = Report("make bench-pages")
    pages_bench.measure(report, scratch)
    _RESULTS_PAGES.write_text(report.markdown())
    print(f"\nwritten to {_RESULTS_PAGES}")


def large(server: embedded.Server, report: Report, options: argparse.Namespace) -> None:
    """The same asks at 10,000 and at 10,000,000 customers."""
    size = _MANY
    with database(server, size, 5) as url, service(url) as one, _asked(server, 10_000, 5, 5) as small:
        peers = [measures.Peer(10_000, 5, 5, small), measures.Peer(size, 5, 5, one)]
        measures.growth(report, peers, options.seconds, options.rounds)
        measures.footprint(report, one, url, size)


@contextmanager
def _asked(server: embedded.Server, customers: int, history: int, recent: int) -> Generator[Service]:
    """A service before a database of its own."""
    with database(server, customers, history, recent) as url, service(url) as one:
        yield one


if __name__ == "__main__":
    main()
