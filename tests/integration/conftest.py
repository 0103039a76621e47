"""Fixtures for tests of the real program against a real PostgreSQL and, where a test asks for it, a real S3 server.

HOLDFAST_BIN names the program.  HOLDFAST_NO_SKIP=1 makes a failure of what would be skipped: in CI nothing is."""

import os
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.agent import Agent, program            # noqa: E402
from lib.cluster import SQL, Cluster            # noqa: E402
from lib.repository import S3, Folder           # noqa: E402

NO_SKIP = os.environ.get("HOLDFAST_NO_SKIP") == "1"
SHARED = os.path.normpath(os.path.join(SQL, "../../../../shared"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"{why}, and HOLDFAST_NO_SKIP=1 forbids to skip"


def pytest_configure(config):
    # Whoever is told to end (by a time limit, by tests/with-s3) still stops the servers that it started.
    def end(signo, _):
        signal.signal(signo, signal.SIG_IGN)
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, end)


@pytest.fixture(scope="session")
def session_folder():
    # Short, since a unix socket's path has 107 bytes; open for the unprivileged user to pass through; not below /tmp, since
    # what runs in a cage has a /tmp of its own.
    folder = tempfile.mkdtemp(prefix="hft", dir="/var/tmp")
    os.chmod(folder, 0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def source(session_folder):
    """The server to back up.  Its database "everything" is a template: a test takes a copy by the fixture `database`."""
    cluster = Cluster(os.path.join(session_folder, "source"))
    cluster.create("everything")
    cluster.file("everything", os.path.join(SQL, "everything.sql"))
    yield cluster
    cluster.destroy()


@pytest.fixture(scope="session")
def elsewhere(session_folder):
    """Another server, to restore to."""
    cluster = Cluster(os.path.join(session_folder, "elsewhere"), port=5433)
    yield cluster
    cluster.destroy()


@pytest.fixture
def new_database(source):
    """Makes databases that end with the test: new_database("name", template="everything")."""
    made = []

    def make(name, template="template0"):
        source.create(name, template)
        made.append(name)
        return name
    yield make
    for name in made:
        source.drop(name)


@pytest.fixture
def restored(elsewhere):
    """Names for databases to restore into, dropped afterwards."""
    before = elsewhere.databases()
    yield elsewhere
    for name in elsewhere.databases() - before:
        elsewhere.drop(name)


@pytest.fixture
def database(new_database):
    """A database with one of everything, small."""
    return new_database("all of it", "everything")


@pytest.fixture
def langfuse(source, new_database):
    """A small Langfuse database, as it lies beside the clone."""
    dump = os.path.join(SHARED, "data/langfuse-small.dump")
    if not os.path.exists(dump):
        pytest.skip("no Langfuse data beside the clone (../shared/data/langfuse-small.dump)")
    name = new_database("langfuse")
    with open(dump, "rb") as f:
        source.client("pg_restore", "--exit-on-error", "--no-owner", "-d", name, stdin=f)
    return name


@pytest.fixture
def work(session_folder):
    """A folder for one test.  After it nothing of what holdfast made to work in may be left: no scratch, no process."""
    folder = tempfile.mkdtemp(prefix="t", dir=session_folder)
    os.chmod(folder, 0o711)
    yield folder
    left = leftovers(folder)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, "left behind: " + ", ".join(left)


def leftovers(folder):
    found = []
    scratch = os.path.join(folder, "scratch")
    if os.path.isdir(scratch):
        found += [os.path.join(scratch, n) for n in os.listdir(scratch)]
    vault = os.path.join(folder, "vault")
    for place, _, files in os.walk(vault):
        found += [os.path.join(place, n) for n in files if n.startswith(".tmp-")]
    # A process that has our folder as its own, or names it.
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if folder in words or where.startswith(folder):
            found.append(f"process {pid} ({words[:120]})")
    return found


@pytest.fixture
def s3(work):
    """A repository on a real S3 server (run the tests by tests/with-s3)."""
    if "HOLDFAST_TEST_S3_ENDPOINT" not in os.environ:
        pytest.skip("no S3 server: run by tests/with-s3")
    repository = S3(work)
    yield repository
    repository.destroy()


@pytest.fixture
def folder(work):
    return Folder(work)


@pytest.fixture(params=["folder", "s3"])
def repository(request):
    """Each kind of store in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def agent(work, source, folder):
    """holdfast with a folder repository that is not made yet, everything in `source` to back up."""
    made = Agent(work, source, folder)
    yield made
    made.end()


@pytest.fixture
def make_agent(work, source):
    """holdfast with a repository of the test's choice: make_agent(repository, databases=["x"])."""
    made = []

    def make(repository, **more):
        made.append(Agent(work, source, repository, **more))
        return made[-1]
    yield make
    for each in made:
        each.end()


def pytest_report_header(config):
    return f"holdfast: {program()}"
