"""
Measure the control socket against what a user would pick instead; print tables of ratios.

Whatever is compared is measured in one run, in turns, in an order that rotates. A ratio is
taken within each round; a table shows the median of the rounds, the least and the greatest.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from dataclasses import replace

import command_line
import control
import figures
import footprint
import monitor
import report
import scans
import web
from bench import Bench
from figures import QUICK, Figures, Scale
from harness import BenchmarkError

#: Each module has its sections in `SECTIONS`; a further one is added here, and nowhere else.
MODULES = (control, command_line, footprint, monitor, scans, web)
SECTIONS = {section.name: section for module in MODULES for section in module.SECTIONS}


def measure(names: list[str], scale: Scale) -> dict[str, Figures]:
    """Measure some sections, and print the table of each as soon as it is there."""
    measured = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bench = Bench(directory, scale)
        print("\n".join(f":{name}: {value}" for name, value in bench.machine.items()))
        for name in names:
            section = SECTIONS[name]
            measured[name] = section.measure(bench)
            print(f"\n{report.table(section, measured[name]).text()}", flush=True)
    return measured


def check() -> None:
    """
    Compare the pages with what the kept figures give.

    :raises BenchmarkError: a page differs.
    """
    differing = []
    for path, text in report.pages(SECTIONS.values(), figures.load()).items():
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                differing.append(path)
    if differing:
        raise BenchmarkError(
            f"{' and '.join(differing)}: not what {figures.FILE} gives; run this with --render"
        )


def render() -> None:
    """Make the pages from the kept figures."""
    for path, text in report.pages(SECTIONS.values(), figures.load()).items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def keep(measured: dict[str, Figures]) -> None:
    """Put figures in place of the kept ones of the same sections, and make the pages."""
    kept = figures.load() if os.path.exists(figures.FILE) else {}
    kept |= measured
    figures.save({name: kept[name] for name in SECTIONS if name in kept})
    render()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n\n")[0])
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"what to measure: {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, help=f"default: {Scale.rounds}")
    parser.add_argument("--quick", action="store_true", help="only see that everything works")
    then = parser.add_mutually_exclusive_group()
    then.add_argument(
        "--write", action="store_true", help="keep the figures, and make the pages from them"
    )
    then.add_argument(
        "--render", action="store_true", help="measure nothing; make the pages from kept figures"
    )
    then.add_argument(
        "--check", action="store_true", help="measure nothing; fail if --render would change a page"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    scale = QUICK if arguments.quick else Scale()
    if arguments.rounds is not None:
        if arguments.rounds < 1:
            parser.error("--rounds is at least 1")
        scale = replace(scale, rounds=arguments.rounds)

    # So that children and the temporary directory go as they do on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.render:
            render()
        elif arguments.check:
            check()
        else:
            measured = measure(arguments.sections or list(SECTIONS), scale)
            if arguments.write:
                keep(measured)
    except BenchmarkError as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
