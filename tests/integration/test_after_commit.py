"""What goes wrong behind the commit: the backup is there, and whoever took it is told so, with its id, and told what is not there."""

import json
import os
import shutil
import signal
import time

import pytest
from lib.agent import FAILED, OK, WARNINGS
from lib.wrapped import WAITS_FOR_DATA, bin_dir

# The session that holds the lock for the whole of a backup (R27); it is asked once more when all that comes before the commit is done.
LOCKER = "select pid from pg_locks where locktype = 'advisory' and granted"
OTHERS_ARE_GONE = ("select count(*) = 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() "
                   "and application_name in ('holdfast', 'pg_dump', 'pg_dumpall')")


@pytest.fixture
def breaks_at_the_commit(agent, source, new_database):
    """breaks_at_the_commit(name, "--hold"): a backup, where the store puts and lists nothing below `name` from its commit on."""
    database = new_database("committed")
    source.sql(database, "create table t as select 1 as a")
    agent.configure(source={"databases": [database], "bin_dir": bin_dir(agent.work, "bin", pg_dump=WAITS_FOR_DATA)})
    agent.init()
    broken = []

    def run(name, *words):
        running = agent.start("backup", "--json", *words)
        until = time.monotonic() + 60
        while not os.path.exists(os.path.join(agent.work, "waiting")):
            assert time.monotonic() < until and running.poll() is None, "pg_dump was never started"
            time.sleep(0.02)
        locker = int(source.value("postgres", LOCKER))
        os.kill(locker, signal.SIGSTOP)
        try:
            open(os.path.join(agent.work, "go"), "w", encoding="ascii").close()
            source.wait_for("postgres", OTHERS_ARE_GONE)
            time.sleep(2)               # a few small files are read before it waits for the one that was stopped
            assert running.poll() is None and agent.list() == []
            # A link that leads to itself: neither a folder nor nothing.
            path = os.path.join(agent.repository.path, name)
            shutil.rmtree(path, ignore_errors=True)
            os.symlink(name, path)
            broken.append(path)
        finally:
            os.kill(locker, signal.SIGCONT)
        out, err = running.communicate(timeout=120)
        err = err.decode()
        assert "Sanitizer" not in err, err
        outcome = json.loads(out)
        os.unlink(broken.pop())
        assert [b["id"] for b in agent.list()] == [outcome.get("backup", {}).get("id")], f"the outcome does not name what is listed\n{err}"
        return running.returncode, outcome, err
    yield run
    for path in broken:
        os.unlink(path)


def test_a_backup_whose_hold_fails_stands_and_is_said_to(agent, breaks_at_the_commit):
    code, outcome, said = breaks_at_the_commit("holds", "--hold")
    done = outcome["backup"]
    assert code == FAILED and outcome["error"]["kind"] == "failed", said
    assert "failed:" not in said and "is committed" in said and "hold" in said and done["id"][:12] in said, said
    assert f"holdfast hold {done['id'][:12]}" in outcome["error"]["hint"]
    assert done["hold"] is False and done["databases"] == ["committed"] and done["bytes"] > 0 and len(outcome["streams"]) >= 4
    # What the hint says is what helps.
    assert agent("hold", done["id"][:12]).code in (OK, WARNINGS)
    assert agent.list()[0]["hold"] is True
    agent.ok("verify", "--data")


def test_a_backup_that_is_not_read_back_is_a_backup_with_a_warning(agent, breaks_at_the_commit):
    code, outcome, said = breaks_at_the_commit("reports", "--hold")
    done = outcome["backup"]
    assert code == WARNINGS and "error" not in outcome, said
    assert [w for w in outcome["warnings"] if done["id"][:12] in w and "reports" in w], outcome["warnings"]
    assert done["hold"] is True and agent.list()[0]["hold"] is True
    assert done["bytes"] == agent.list()[0]["bytes"] and done["proven"] is None and done["last_verdict"] is None
    agent.ok("verify", "--data")
