"""
What must hold before a change lands: ``nox`` runs it all, ``nox -s unit`` one part of it.

Every part runs in the environment that nox is installed in (see CONTRIBUTING.rst), so a part
starts at once; only ``others`` and ``conditions`` make environments, one for each further Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from glob import glob

import nox

#: What ``nox`` and ``.ci/run`` run, in this order: the quickest to fail comes first.
nox.options.sessions = [
    "lint",
    "web-lint",
    "types",
    "docs",
    "unit",
    "others",
    "simulated-mac",
    "process",
    "agents",
    "coverage",
    "benchmarks",
]

#: The Pythons that are supported.
PYTHONS = ("3.11", "3.12", "3.13")

#: What the unit tests run under; together it is every condition of ``tools/conditions.py``.
CONDITIONS = ("root pid-namespace umask-0 locale-C", "ordinary umask-077 locale-latin-1")

#: What a simulated macOS runs: of the process tests only those that ask the kernel most, since
#: all of them take as long as on Linux.
SIMULATED = (
    "tests.unit",
    "tests.process.test_facts",
    "tests.process.test_live",
    "tests.process.test_owners",
    "tests.process.test_pidfile",
    "tests.process.test_start_stop",
)

#: Tests at once, on two cores: those of processes wait for half of their time.
JOBS = {"tests.unit": 2, "tests.process": 3}


def python(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run a module or a script by the Python that runs nox."""
    session.run(sys.executable, *arguments, external=True, env=variables or None)


def trial(session: nox.Session, suite: str) -> None:
    """Run tests with their coverage measured; arguments after ``--`` replace the suite."""
    # An absolute path: processes in other directories measure too.
    data = os.path.abspath(os.environ.get("COVERAGE_FILE", ".coverage"))
    # Not create_tmp(), which moves TMPDIR: the path of a socket must be short.
    temporary = session.cache_dir / suite
    # Once, and not in each of a thousand processes, which write nothing into the checkout.
    python(session, "-m", "compileall", "-q", "palingenesis", "tests")
    python(
        session,
        *("-m", "coverage", "run", "-m", "twisted.trial", f"--jobs={JOBS[suite]}"),
        f"--temp-directory={temporary}",
        *(session.posargs or [suite]),
        COVERAGE_FILE=data,
        PYTHONDONTWRITEBYTECODE="1",
    )


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Check style and format, and what the workflows may do."""
    python(session, "-m", "ruff", "check")
    python(session, "-m", "ruff", "format", "--check")
    zizmor = os.path.join(os.path.dirname(sys.executable), "zizmor")
    if not os.path.exists(zizmor):
        session.warn("zizmor is not installed: the workflows are not audited")
    elif os.path.isdir(".github"):
        session.run(zizmor, "--offline", "--quiet", ".github/workflows", external=True)


@nox.session(name="web-lint", python=False)
def web_lint(session: nox.Session) -> None:
    """Check style and format of the page's files, with pinned tools from npm."""
    if shutil.which("npm") is None:
        session.skip("there is no npm: the page's files are not checked")
    # Beside the tools, since a configuration reads its modules from where it is.
    base = session.cache_dir / "web"
    shutil.copytree("tools/web", base, dirs_exist_ok=True)
    shutil.rmtree(base / "page", ignore_errors=True)
    shutil.copytree("palingenesis/web/page", base / "page")
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund")
    with session.chdir(base):
        session.run("npm", "ci", *quiet, external=True)
        for command in (
            ("prettier", "--check", "page"),
            ("eslint", "page"),
            ("stylelint", "page/*.css"),
            ("html-validate", "page/index.html"),
        ):
            session.run("npm", "exec", "--offline", "--", *command, external=True)


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check the types."""
    python(session, "-m", "mypy", "--strict")
    # What runs on macOS alone; what runs on Linux alone cannot be reached then.
    mac = ("--platform=darwin", "--no-warn-unreachable", "--package=palingenesis")
    python(session, "-m", "mypy", "--strict", "--cache-dir=.mypy_cache/darwin", *mac)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the handbook, into the directory after ``--`` if one is given; check other pages."""
    built = os.path.abspath((session.posargs or [str(session.cache_dir / "handbook")])[0])
    python(session, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "docs", built)
    for page in sorted(glob("*.rst") + glob("benchmarks/*.rst")):
        python(session, "-m", "docutils", "--halt=2", "--syntax-highlight=none", page, os.devnull)
    python(session, "benchmarks/run.py", "--check")
    session.log(f"The handbook is at {built}/index.html")


@nox.session(python=False)
def unit(session: nox.Session) -> None:
    """Run the tests that start no process."""
    trial(session, "tests.unit")


@nox.session(python=False)
def process(session: nox.Session) -> None:
    """Run the tests of the real programs."""
    trial(session, "tests.process")


@nox.session(name="simulated-mac", python=False)
def simulated_mac(session: nox.Session) -> None:
    """Run the unit tests and some of real programs, or those after ``--``, on a simulated macOS."""
    python(
        session,
        *("-m", "twisted.trial", f"--jobs={JOBS['tests.unit']}"),
        f"--temp-directory={session.cache_dir / 'simulated-mac'}",
        *(session.posargs or SIMULATED),
        PYTHONPATH=os.path.abspath("tests/simulated_mac"),
        PYTHONDONTWRITEBYTECODE="1",
    )


@nox.session(python=False)
def agents(session: nox.Session) -> None:
    """Run the tests of the real agents: the newest of each, or every pinned one by ``-- all``."""
    # Their processes have an environment of their own, so they measure no coverage.
    few = ["few"] if os.environ.get("PALINGENESIS_AGENTS_FEW") else []
    python(session, "-m", "tests.agents.run", *(session.posargs or few))


@nox.session(python=False)
def coverage(session: nox.Session) -> None:
    """Report how much of the package the tests have run since the last time."""
    python(session, "-m", "coverage", "combine", "--quiet")
    python(session, "-m", "coverage", "report")


def interpreter(version: str) -> str | None:
    """Find a Python that runs, on the ``PATH`` or among pyenv's, whose shims may not run."""
    kept = glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python{version}"))
    for candidate in (f"python{version}", *sorted(kept)):
        try:
            subprocess.run([candidate, "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


def under_conditions(session: nox.Session, pythons: Sequence[tuple[str, str]]) -> None:
    """Run the unit tests by several Pythons, side by side: each under its own conditions."""
    runs = []
    for number, (own, conditions) in enumerate(pythons):
        log = session.cache_dir / f"conditions-{number}.log"
        command = [own, "tools/conditions.py", *conditions.split()]
        with log.open("wb") as output:
            runs.append((subprocess.Popen(command, stdout=output, stderr=output), log))
    statuses = [run.wait() for run, _ in runs]
    for _, log in runs:
        print(log.read_text(encoding="utf-8", errors="replace"), flush=True)
    if any(statuses):
        session.error("The unit tests fail under these conditions")


def prepared(session: nox.Session, version: str) -> str | None:
    """Return a Python of a version with the package and what its tests need; None if none is."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    found = interpreter(version)
    if found is None:
        session.warn(f"Python {version} is not installed: the unit tests are not run on it")
        return None
    base = str(session.cache_dir / version)
    own = os.path.join(base, "bin", "python")
    session.run(found, "-m", "venv", base, external=True)
    session.run(own, "-m", "pip", "install", "--quiet", ".[test]", external=True)
    return own


@nox.session(python=False)
def others(session: nox.Session) -> None:
    """Run the unit tests on the other supported Pythons, each under half of the conditions."""
    versions = [each for each in PYTHONS if each != "{}.{}".format(*sys.version_info)]
    pythons = filter(None, (prepared(session, version) for version in versions))
    under_conditions(session, list(zip(pythons, CONDITIONS, strict=False)))


@nox.session(python=False)
def conditions(session: nox.Session) -> None:
    """Run the unit tests on every supported Python under all conditions."""
    pythons = list(filter(None, (prepared(session, version) for version in PYTHONS)))
    for each in CONDITIONS:
        under_conditions(session, [(own, each) for own in pythons])


@nox.session(python=False)
def mutants(session: nox.Session) -> None:
    """Break the monitor and the server on purpose; arguments after ``--`` are the tool's."""
    results = session.cache_dir / "mutants.jsonl"
    python(session, "tools/mutants.py", f"--results={results}", *session.posargs)


@nox.session(python=False)
def benchmarks(session: nox.Session) -> None:
    """Take every benchmark once, shortly, to see that each of them works."""
    python(session, "benchmarks/run.py", "--quick")
