"""Bad nights.  Each ends with a word that helps, without half a backup, and the next run is as good as any."""

import os
import random
import signal
import subprocess
import threading
import time

import pytest
from lib.agent import DATABASE, FAILED, LOCKED, OK, STORE, USAGE, WARNINGS, Agent
from lib.cluster import Cluster
from lib.repository import Folder
from lib.wrapped import WAITS_FOR_DATA, bin_dir

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system: root only")


@pytest.fixture
def ready(agent, database):
    agent.configure(source={"databases": [database]})
    agent.init()
    return agent


def no_backup_and_the_next_one_works(agent):
    assert agent.list() == [], "half a backup is listed"
    agent.configure(source={"bin_dir": None})
    assert agent.backup()["rows"] > 0
    assert agent("verify", "--data").code in (OK, WARNINGS)


@pytest.mark.parametrize("what, script, says", [
    ("killed", '$REAL "$@" | head -c 2000; kill -KILL $$', "signal 9"),
    ("fails_late", '$REAL "$@"; echo "pg_dump: error: canary of the last second" >&2; exit 1', "canary of the last second"),
    ("fails_at_once", 'echo "pg_dump: error: canary at once" >&2; exit 3', "canary at once"),
    ("silent", "exit 0", "archive"),
    ("cut_short", '$REAL "$@" | head -c 1500; exit 0', "archive"),
])
def test_pg_dump_that_fails_is_no_backup(ready, what, script, says):
    """R4, R7: the end of a pipe is not success."""
    ready.configure(source={"bin_dir": bin_dir(ready.work, what, pg_dump=script)})
    ready.fails(FAILED, "backup", says=["pg_dump", says])
    no_backup_and_the_next_one_works(ready)


def test_pg_dumpall_that_fails_is_no_backup(ready):
    """R32: without globals a set is not complete."""
    ready.configure(source={"bin_dir": bin_dir(ready.work, "bin", pg_dumpall='echo "canary globals" >&2; exit 1')})
    ready.fails(FAILED, "backup", says="canary globals")
    no_backup_and_the_next_one_works(ready)


def test_pg_dump_that_hangs_is_ended(ready):
    """R12."""
    ready.configure(source={"bin_dir": bin_dir(ready.work, "bin", pg_dump="exec sleep 1000")}, backup={"idle_timeout": "2s"})
    started = time.monotonic()
    ready.fails(FAILED, "backup", says="pg_dump")
    assert time.monotonic() - started < 60
    no_backup_and_the_next_one_works(ready)


def test_missing_pg_dump_is_said_with_what_to_do(ready):
    ready.configure(source={"bin_dir": bin_dir(ready.work, "bin", pg_dump=None)})
    result = ready("backup")
    assert result.code in (FAILED, USAGE) and "pg_dump" in result.err and "hint" in result.err, str(result)
    no_backup_and_the_next_one_works(ready)


def test_pg_dump_that_is_too_old_is_refused_by_versions(ready):
    """R39: two weeks without a backup, because pg_dump was one major behind."""
    ready.configure(source={"bin_dir": bin_dir(ready.work, "bin", pg_dump=': ; echo "pg_dump (PostgreSQL) 14.9"')})
    result = ready("backup")
    assert result.code in (FAILED, USAGE) and "14" in result.err and "15" in result.err, str(result)
    no_backup_and_the_next_one_works(ready)


def waits(agent):
    until = time.monotonic() + 60
    while not os.path.exists(os.path.join(agent.work, "waiting")):
        assert time.monotonic() < until, "pg_dump was never started"
        time.sleep(0.02)


def test_server_that_restarts_in_the_middle(work, session_folder):
    server = Cluster(os.path.join(session_folder, "restarts"))
    try:
        server.create("d")
        server.sql("d", "create table t as select n from generate_series(1, 1000) n")
        agent = Agent(work, server, Folder(work), databases=["d"])
        agent.configure(source={"bin_dir": bin_dir(work, "bin", pg_dump=WAITS_FOR_DATA)})
        agent.init()
        running = agent.start("backup")
        waits(agent)
        server.restart("immediate")
        open(os.path.join(work, "go"), "w", encoding="ascii").close()
        _, err = running.communicate(timeout=120)
        assert running.returncode in (FAILED, DATABASE), err.decode()
        no_backup_and_the_next_one_works(agent)
        server.stop()
        agent.fails(DATABASE, "backup", says=server.host)
        assert len(agent.list()) == 1
    finally:
        server.destroy()


def test_kill_9_at_any_moment_harms_nothing(ready, source, database, restored):
    """The next run finishes, finds again what was stored, and the repository is sound throughout."""
    ready.backup()
    started = time.monotonic()
    ready.backup()
    whole = time.monotonic() - started
    dice = random.Random(20260111)
    done = len(ready.list())
    for n in range(50):
        source.sql(database, f"insert into app.empty select {n}; insert into app.events values (date '2026-05-01' + {n}, 'a', repeat('{n} ', 5000))")
        running = ready.start("backup")
        time.sleep(dice.random() * whole)
        running.kill()
        running.communicate(timeout=30)
        if n % 10 == 9:
            assert ready("verify", "--data").code in (OK, WARNINGS)
    # Only what was committed before it was killed is listed.
    assert done <= len(ready.list()) <= done + 50
    last = ready.backup()
    assert ready("verify", "--data").code in (OK, WARNINGS)
    ready.restored(restored, "after", backup=last["id"])
    assert restored.text_of("after") == source.text_of(database)
    forgive_temporaries(ready)


def forgive_temporaries(agent):
    """Whoever is killed cannot clean up: temporaries in the folder are swept later, by age."""
    for place, _, files in os.walk(agent.repository.path):
        for name in files:
            if name.startswith(".tmp-"):
                os.unlink(os.path.join(place, name))


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_a_backup_without_a_trace(ready, signo):
    ready.configure(source={"bin_dir": bin_dir(ready.work, "bin", pg_dump=WAITS_FOR_DATA)})
    running = ready.start("backup")
    waits(ready)
    running.send_signal(signo)
    running.communicate(timeout=60)
    assert running.returncode == 128 + signo
    no_backup_and_the_next_one_works(ready)


def test_two_backups_at_once_do_no_harm(ready, source, database, restored):
    both = [ready.start("backup") for _ in range(2)]
    errors = [p.communicate(timeout=120)[1].decode() for p in both]
    codes = [p.returncode for p in both]
    assert all(c in (OK, WARNINGS, LOCKED) for c in codes) and codes.count(LOCKED) < 2, errors
    assert len(ready.list()) == 2 - codes.count(LOCKED)
    assert ready("verify", "--data").code in (OK, WARNINGS)
    for backup in ready.list():
        ready.restored(restored, "back", backup=backup["id"])
        assert restored.text_of("back") == source.text_of(database)
        restored.drop("back")


def test_server_that_ends_idle_sessions_lets_one_backup_at_a_time(ready, source):
    """R27: the lock is held by a session that has nothing else to do."""
    ready.configure(source={"bin_dir": bin_dir(ready.work, "bin", pg_dump=WAITS_FOR_DATA)})
    source.sql("postgres", "alter system set idle_session_timeout = '300ms'")
    source.sql("postgres", "select pg_reload_conf()")
    try:
        running = ready.start("backup")
        waits(ready)
        time.sleep(1.5)
        ready.fails(LOCKED, "backup")
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)
    finally:
        source.sql("postgres", "alter system reset idle_session_timeout")
        source.sql("postgres", "select pg_reload_conf()")


def test_restore_that_is_stopped_in_an_index_leaves_no_database(agent, source, new_database, restored):
    """A session that builds an index does not end with the program that asked for it."""
    name = new_database("indexed")
    source.sql(name, """create function slow(a int) returns int immutable language plpgsql as
        $f$ begin if current_database() = 'back' then perform pg_sleep(600); end if; return a; end $f$;
        create table t as select 1 as a; create index on t (slow(a))""")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    running = agent.start("restore", "latest", "--host", restored.host, "--port", restored.port, "--user", restored.user, "--into", "back")
    restored.wait_for("postgres", "select count(*) = 1 from pg_stat_activity where query like 'CREATE INDEX%' and state = 'active'")
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert "back" not in restored.databases()


# What a backup finds again of one that ended for want of room, at least: most of a pack, before it was sealed and packed.
TAKEN_UP = 16 << 20


@pytest.fixture
def small_disk(agent):
    """The repository's folder on a file system of its own, of 44 MiB: room for one pack, not for two."""
    path = agent.repository.path
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=44m,mode=700", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@ROOT
def test_disk_that_is_full_is_said_so(agent, small_disk, source, new_database):
    name = new_database("big")
    for k in range(6):
        source.sql(name, f"create table t{k} as select n, (select string_agg(md5(random()::text), '') from generate_series(1, 20) k where n > 0) "
                         "from generate_series(1, 30000) n")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.fails(FAILED, "backup", says=["o space left", small_disk])
    assert agent.list() == []
    # The same run again, once there is room: what was stored before the disk was full is found again.
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    done = agent.backup()
    assert done["new_bytes"] < done["bytes"] - TAKEN_UP
    agent.ok("verify", "--data")


@ROOT
def test_repository_that_is_read_only_can_still_be_read(agent, small_disk, source, database, restored):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        result = agent("backup")
        assert result.code == FAILED and "ead-only" in result.err, str(result)
        assert len(agent.list()) == 1
        agent.restored(restored, "back")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)


def test_repository_that_is_gone(ready):
    os.rename(ready.repository.path, ready.repository.path + ".away")
    result = ready("backup")
    assert result.code in (FAILED, USAGE, STORE) and ready.repository.path in result.err, str(result)
    assert not os.path.exists(ready.repository.path), "a repository that is not mounted was made anew, empty"
    os.rename(ready.repository.path + ".away", ready.repository.path)
    no_backup_and_the_next_one_works(ready)


def gateway(signo):
    with open(os.path.join(os.environ["HOLDFAST_TEST_S3_DIR"], "rgw.pid"), encoding="ascii") as f:
        os.kill(int(f.read()), signo)


def test_s3_that_hangs_is_given_up(make_agent, s3, database):
    """R12."""
    agent = make_agent(s3, databases=[database])
    agent.configure(repository={"attempts": 2, "s3": {"connect_timeout": "2s", "stall_timeout": "2s", "request_timeout": "5s"}})
    agent.init()
    gateway(signal.SIGSTOP)
    try:
        started = time.monotonic()
        agent.fails(STORE, "backup", says=s3.bucket)
        assert time.monotonic() - started < 60
    finally:
        gateway(signal.SIGCONT)
    assert agent.list() == []
    agent.backup()


def test_s3_that_dies_and_returns_is_waited_for(make_agent, s3, source, database, restored):
    """A gateway that is restarted in the middle of a night, by the settings as they come."""
    agent = make_agent(s3, databases=[database])
    agent.init()
    begun = os.path.join(agent.work, "begun")
    script = f'case "$*" in *--snapshot*) touch {begun}; sleep 1;; esac; exec $REAL "$@"'
    agent.configure(source={"bin_dir": bin_dir(agent.work, "bin", pg_dump=script)})
    running = agent.start("backup")
    until = time.monotonic() + 60
    while not os.path.exists(begun):
        assert time.monotonic() < until and running.poll() is None, "the backup never came to its dump"
        time.sleep(0.02)
    gateway(signal.SIGKILL)
    back = threading.Timer(6, lambda: subprocess.run(["sh", "-c", os.environ["HOLDFAST_TEST_S3_UP"]], check=True))
    back.start()
    try:
        said = running.communicate(timeout=300)[1].decode()
    finally:
        back.join()
    assert running.returncode in (OK, WARNINGS), said
    agent.configure(source={"bin_dir": None})
    agent.ok("verify", "--data")
    agent.restored(restored, "back")
    assert restored.text_of("back") == source.text_of(database)


def test_s3_that_denies_is_not_asked_again_and_again(make_agent, s3, database, work):
    agent = make_agent(s3, databases=[database])
    agent.init()
    wrong = os.path.join(work, "wrong")
    with open(os.open(wrong, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write("canary-wrong-secret\n")
    agent.secrets.append("canary-wrong-secret")
    agent.configure(repository={"s3": {"secret_key_file": wrong}})
    started = time.monotonic()
    agent.fails(FAILED, "backup", says=s3.bucket)
    assert time.monotonic() - started < 10


@pytest.fixture
def quota(s3):
    """quota(bytes): no more than that in the bucket from now on, by the word of the store's operator; quota(None): no bound."""
    def bound(size):
        admin = ["radosgw-admin", "-c", os.path.join(os.environ["HOLDFAST_TEST_S3_DIR"], "ceph.conf"), "quota"]
        where = ["--quota-scope=bucket", f"--bucket={s3.bucket}"]
        if size is not None:
            subprocess.run([*admin, "set", f"--max-size={size}", *where], check=True)
        subprocess.run([*admin, "enable" if size is not None else "disable", *where], check=True)
    yield bound
    bound(None)


def test_s3_that_is_full_is_said_so_and_what_it_holds_stays_good(make_agent, s3, quota, source, database, new_database, restored):
    """R4, R7: a real gateway refuses a put for want of room, in the midst of a backup and before its first byte."""
    agent = make_agent(s3, databases=[database])
    agent.init()
    first = agent.backup()
    big = new_database("big")
    for k in range(6):
        source.sql(big, f"create table t{k} as select n, (select string_agg(md5(random()::text), '') from generate_series(1, 20) k where n > 0) "
                        "from generate_series(1, 30000) n")
    agent.configure(source={"databases": [database, big]})

    def refused():
        started = time.monotonic()
        result = agent.fails(FAILED, "backup", says=["quota", s3.bucket])
        assert result.err.count("QuotaExceeded") == 1 and result.err.count(" failed: ") == 1, f"one fault, one error\n{result}"
        assert time.monotonic() - started < 60
        assert [b["id"] for b in agent.list()] == [first["id"]]

    # Room for one pack, not for two; then for nothing at all.
    before = s3.objects()
    quota(sum(before.values()) + (24 << 20))
    refused()
    stored = s3.objects()
    packs = {name for name in stored if name.startswith("packs/") and name not in before}
    assert packs, "the store was full before it had taken a pack: this shows nothing"
    quota(1)
    refused()
    assert {name for name in s3.objects() if name.startswith(("packs/", "backups/"))} == {
        name for name in stored if name.startswith(("packs/", "backups/"))}, "something was put into a full store"
    # What was there before is as good as ever, without a byte of room.
    agent.ok("verify", "--data")
    agent.restored(restored, "back", "--database", database)
    assert restored.text_of("back") == source.text_of(database)
    # With room again, the next backup takes up what the first try had stored: at least a pack's worth of the big database, whose rows
    # are random and equal to nothing else, is not stored once more.
    quota(None)
    done = agent.backup()
    alone = sum(s["bytes"] for s in agent.ok("show", "latest", "--json").json["streams"] if s["database"] == big)
    assert done["new_bytes"] < alone - TAKEN_UP, f"{done['new_bytes']} of the {alone} bytes of the big database were stored again"
    assert packs <= set(s3.objects())
    agent.ok("verify", "--data")
    assert [b["id"] for b in agent.list()] == [done["id"], first["id"]]


def test_source_that_denies_is_said_without_the_password(ready, source, database, work):
    secret = os.path.join(work, "password")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write("canary-password\n")
    ready.secrets.append("canary-password")
    ready.configure(source={"user": "nobody_known", "password_file": secret})
    result = ready("backup")
    assert result.code in (FAILED, DATABASE) and "nobody_known" in result.err, str(result)


def test_pg_restore_that_is_too_new_for_the_server_is_refused_before_anything(ready, source, restored):
    """From 17 on it sets transaction_timeout, which no older server knows."""
    if int(source.value("postgres", "show server_version_num")) >= 170000:
        pytest.skip("this server knows transaction_timeout")
    ready.backup()
    newer = {program: f': ; echo "{program} (PostgreSQL) 17.12"' for program in ("pg_dump", "pg_dumpall", "pg_restore")}
    ready.configure(source={"bin_dir": bin_dir(ready.work, "newer", **newer)})
    assert "cannot be restored into a server before 17" in ready("check").out.decode()
    result = ready.restore(restored, "back")
    assert result.code == FAILED and "install postgresql-client-" in result.err, str(result)
    assert "back" not in restored.databases()


def resident(pid):
    """Bytes of memory that the process has had at most."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return sum(int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM:"))


def test_largest_row_that_copy_can_give(agent, source, new_database, restored):
    """A field of COPY's text has less than 1 GiB, and a bytea of n bytes takes 2n + 3 of it: a row of 500 MiB is about the largest
    that pg_dump can read.  It passes through holdfast with memory bounded, which pg_dump's own is not."""
    name = new_database("large")
    source.sql(name, "create table blob as select decode(repeat(md5('x'), 32768000), 'hex') as b")
    source.sql(name, "alter table blob add column n int; update blob set n = length(b)")
    agent.configure(source={"databases": [name]})
    agent.init()
    running, most = agent.start("backup"), 0
    while running.poll() is None:
        most = max(most, resident(running.pid))
        time.sleep(0.1)
    assert running.returncode in (OK, WARNINGS)
    assert 0 < most < 1 << 29, f"{most >> 20} MiB were resident"
    agent.restored(restored, "large")
    query = "select md5(b) || n from blob"
    assert restored.value("large", query) == source.value(name, query)
    assert restored.value("large", "select n from blob") == str(500 << 20)


def test_row_that_copy_cannot_give_fails_the_backup_by_name(agent, source, new_database):
    """A bytea of 600 MiB has more than 1 GiB of text: the server can keep it, and gives it to no pg_dump."""
    name = new_database("too large")
    source.sql(name, "create table \"The blob\" as select b || b as b from (select decode(repeat(md5('x'), 19660800), 'hex') as b offset 0) half;"
                     "create table small as select 1 as a")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.fails(FAILED, "backup", says=['public."The blob"', "pg_dump", name, "exclude_table_data"])
    assert agent.list() == []
    # Nothing but the rows of that table stand in the way.
    agent.configure(source={"exclude_table_data": ['public."The blob"']})
    assert agent.backup()["rows"] == 1


def test_ten_thousand_tables_on_a_server_as_it_comes(agent, session_folder, restored):
    """A plain pg_dump just fits into the lock table of a server with default settings, and so does a backup (R38)."""
    server = Cluster(os.path.join(session_folder, "tables"), options=["max_connections=100"])
    try:
        server.create("many")
        server.sql("many", "do $$ begin for n in 1..10000 loop execute format('create table t%s as select %s as a', n, n); "
                           "if n % 1000 = 0 then commit; end if; end loop; end $$")
        agent.configure(source={"host": server.host, "databases": ["many"]}, backup={"jobs": 2})
        agent.init()
        said = agent("check").out.decode()
        assert "10000 relations" in said and "max_locks_per_transaction = 128" in said, said
        assert agent.backup()["rows"] == 10000
    finally:
        server.destroy()
    agent.restored(restored, "many")
    assert restored.value("many", "select count(*) from pg_tables where schemaname = 'public'") == "10000"
    assert restored.value("many", "select a from t9999") == "9999"
