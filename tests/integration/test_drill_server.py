"""A drill on a server that the operator named, reached as one is in a network: over TCP, with a password from a file."""

import os
import signal
import socket
import threading
import time

import pytest
from lib.agent import FAILED, NOT_PROVEN, OK, REFUSED, USAGE, WARNINGS, Agent
from lib.cluster import Cluster
from lib.wrapped import bin_dir

PASSWORD = "canary p:a\\ss'word of the drill server"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def remote(session_folder):
    """Lets nobody in over TCP without the password."""
    cluster = Cluster(os.path.join(session_folder, "remote"), port=free_port(), options=["listen_addresses='127.0.0.1'"])
    cluster.sql("postgres", "create role driller superuser login password '" + PASSWORD.replace("'", "''") + "'")
    with open(os.path.join(cluster.data, "pg_hba.conf"), "w", encoding="ascii") as f:
        f.write("local all all trust\nhost all driller 127.0.0.1/32 scram-sha-256\n")
    cluster.sql("postgres", "select pg_reload_conf()")
    yield cluster
    cluster.destroy()


def by_tcp(agent, remote, password=PASSWORD):
    path = os.path.join(agent.work, "password")
    with open(path, "w", encoding="utf-8", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(password + "\n")
    agent.secrets.append(password)
    agent.configure(drill={"server": {"host": "127.0.0.1", "port": int(remote.port), "user": "driller", "password_file": path,
                                      "sslmode": "disable"}})


@pytest.fixture
def ready(agent, database, remote):
    before = remote.databases()
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    by_tcp(agent, remote)
    yield agent
    assert remote.databases() == before, "a database of the drill was left behind"


class Spy(threading.Thread):
    """Reads arguments and environment of every process, again and again, as anybody on the host could."""

    def __init__(self, secret):
        super().__init__()
        self.secret, self.found, self.seen, self.done = secret.encode(), set(), set(), threading.Event()

    def run(self):
        while not self.done.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for name in ("cmdline", "environ"):
                    try:
                        with open(f"/proc/{pid}/{name}", "rb") as f:
                            text = f.read()
                    except OSError:
                        continue
                    if name == "cmdline":
                        self.seen.add(os.path.basename(text.split(b"\0")[0]).decode(errors="replace"))
                    if self.secret in text and int(pid) != os.getpid():
                        self.found.add((pid, name, text[:60]))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()


def test_drill_over_tcp_is_proven_and_tells_nobody_the_password(ready):
    with Spy(PASSWORD) as spy:
        result = ready("drill", "--json")
    assert result.code in (OK, WARNINGS), str(result)
    assert result.json["verdict"] == "proven" and result.json["scratch"]["kind"] == "server"
    measures = {m["measure"]: m for m in result.json["scratch"]["cage"]}
    assert measures["no network"]["enforced"] is False and "over the network" in measures["no network"]["note"]
    assert {"pg_restore", "pg_dump"} <= spy.seen and spy.found == set()
    for place, _, files in os.walk(ready.work):
        for name in files:
            if name != "password" and not name.startswith("."):
                with open(os.path.join(place, name), "rb") as f:
                    assert PASSWORD.encode() not in f.read(), f"{place}/{name} holds the password"


def test_wrong_password_is_no_verdict_about_the_backup(ready, remote):
    by_tcp(ready, remote, "canary of another password")
    ready.fails(FAILED, "drill", says="password")
    assert ready.list()[0]["last_verdict"] is None


def test_source_behind_another_address_is_refused(work, remote, folder):
    """R37, R48: the source is known by its system identifier, and not by how it is reached."""
    remote.create("produce")
    agent = Agent(work, remote, folder, databases=["produce"])
    try:
        agent.init()
        agent.backup()
        before = remote.databases()
        by_tcp(agent, remote)
        result = agent("drill")
        assert result.code in (USAGE, REFUSED) and "is the source itself" in result.err, str(result)
        assert remote.databases() == before
    finally:
        agent.end()
        remote.drop("produce")


def test_restore_that_fails_leaves_no_database_there(ready):
    script = 'case "$*" in *archive-*) echo "pg_restore: error: canary" >&2; exit 1;; esac; exec $REAL "$@"'
    ready.configure(drill={"bin_dir": bin_dir(ready.work, "bin", pg_restore=script)})
    result = ready("drill", "--json")
    assert result.code == NOT_PROVEN and result.json["verdict"] == "failed" and "canary" in result.json["reason"], str(result)
    # Half a restore has no time, and amcheck a reason.
    assert result.json["rto_ms"] is None and result.json["amcheck"]["why_not"]


def test_session_that_the_server_ends_is_no_verdict_about_the_backup(ready):
    """R10.  A throw-away cluster is nobody's but the backup's; this one may be restarted by its owner."""
    ready.configure(drill={"checks": [{"name": "owner", "sql": "select pg_terminate_backend(pg_backend_pid())", "expect": "t"}]})
    result = ready("drill")
    assert result.code not in (OK, WARNINGS, NOT_PROVEN), str(result)
    assert ready.list()[0]["last_verdict"] is None


def waits_in_restore(agent, remote):
    """Starts a drill whose last pg_restore never ends; returns when its database is there."""
    before = remote.databases()
    agent.configure(drill={"bin_dir": bin_dir(agent.work, "bin", pg_restore='case "$*" in *archive-*) sleep 300;; esac; exec $REAL "$@"')})
    running = agent.start("drill")
    until = time.monotonic() + 60
    while "sleep\x00300\x00" not in all_commands() or remote.databases() == before:
        assert time.monotonic() < until and running.poll() is None, "the drill never came to its last pg_restore"
        time.sleep(0.05)
    return running


def all_commands():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                found.append(f.read())
        except OSError:
            pass
    return "\n".join(found)


def test_drill_that_is_told_to_stop_drops_its_database_there(ready, remote):
    running = waits_in_restore(ready, remote)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM


def test_database_of_a_killed_drill_is_dropped_by_the_next(ready, remote):
    before = remote.databases()
    running = waits_in_restore(ready, remote)
    running.kill()
    running.communicate(timeout=60)
    left = remote.databases() - before
    assert len(left) == 1
    # One that only bears such a name belongs to somebody.
    remote.create("holdfast_drill_of_mine")
    try:
        ready.configure(drill={"bin_dir": bin_dir(ready.work, "bin2")})
        assert ready("drill").code in (OK, WARNINGS)
        assert remote.databases() == before | {"holdfast_drill_of_mine"}
    finally:
        remote.drop("holdfast_drill_of_mine")
