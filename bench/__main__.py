"""`make bench`: measures, prints a table, and writes it to bench/results.md. Ratios are of peers in the same run."""

import argparse
import tempfile
from pathlib import Path

from bench import load, measures
from bench.report import Report
from bench.service import database, service
from engine.store import embedded

_RESULTS = Path(__file__).parent / "results.md"
_RESULTS_LARGE = Path(__file__).parent / "results-large.md"
_HISTORY = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="10,000,000 customers with 50,000,000 journal rows")
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair of peers; the median stands")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "takt-bench")
    options = parser.parse_args()
    if not load.have_wrk():
        parser.exit(1, "make bench needs wrk to make load: apt-get install wrk redis-server\n")
    report = Report()
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
            measures.batches(report, one, customers, seconds)
            measures.hot(report, one, customers, seconds)
            measures.beside(report, one, customers, seconds)
            largest = measures.throughput(one, customers, seconds, rounds, "largest")
        with service(url, workers=2) as two:
            measures.warm(two, customers)
            measures.two_workers(report, two, customers, seconds)
    sizes: list[tuple[str, float]] = []
    for size, history in ((10_000, _HISTORY), (100_000, _HISTORY), (100_000, 10 * _HISTORY)):
        with database(server, size, history) as url, service(url) as one:
            measures.warm(one, size)
            rate = measures.throughput(one, size, seconds, rounds, f"{size}-{history}")
            sizes.append((f"{size:,} customers, {size * history:,} journal rows", rate))
    sizes.append((f"{customers:,} customers, {customers * _HISTORY:,} journal rows", largest))
    measures.growth(report, sizes)
    measures.screening(report, server, customers, options.scratch / "screen")


def large(server: embedded.Server, report: Report, options: argparse.Namespace) -> None:
    """The same asks at 10,000 and at 10,000,000 customers."""
    rates: list[tuple[str, float]] = []
    for size, history in ((10_000, 5), (10_000_000, 5)):
        with database(server, size, history) as url, service(url) as one:
            measures.warm(one, size)
            rate = measures.throughput(one, size, options.seconds, options.rounds, f"large-{size}")
            rates.append((f"{size:,} customers, {size * history:,} journal rows", rate))
            if size > 1_000_000:
                measures.footprint(report, one, url, size)
    measures.growth(report, rates)


if __name__ == "__main__":
    main()
