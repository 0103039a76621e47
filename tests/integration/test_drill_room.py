"""The disk of the host outlives a drill: what is restored may write as long as there is room, so somebody watches."""

import os
import subprocess
import threading
import time

import pytest
from lib.agent import FAILED, NOT_PROVEN, OK, WARNINGS

MIB = 1 << 20


@pytest.fixture
def small_disk(agent):
    """drill.dir on a file system of 360 MiB, of which 64 are to stay free."""
    if os.getuid() != 0:
        pytest.skip("mounts a small file system: root only")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=360m,mode=711", "holdfast-test", agent.scratch], check=True)
    agent.configure(drill={"min_free": 64 * MIB, "amcheck": False})
    yield agent.scratch
    # Nothing of a cage may hold it: then this fails.
    subprocess.run(["umount", agent.scratch], check=True)


class Least(threading.Thread):
    """The least free space that anybody saw."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.free, self.done = folder, 1 << 60, threading.Event()

    def run(self):
        while not self.done.wait(0.01):
            v = os.statvfs(self.folder)
            self.free = min(self.free, v.f_bavail * v.f_frsize)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()


def backed_up(agent, source, database, sql):
    source.sql(database, sql)
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()


def test_dump_that_fills_the_disk_is_stopped_and_has_failed(agent, source, new_database, small_disk):
    # A function that an index calls, and that minds its manners at the source.
    name = new_database("greedy")
    backed_up(agent, source, name, """
        create function fill() returns void language plpgsql as $f$
        begin
            if current_setting('autovacuum') = 'off' then
                copy (select repeat('x', 100000) from generate_series(1, 100000)) to program 'head -c 3G /dev/zero >fill; sleep 600';
            end if;
        end $f$;
        create function innocent(a int) returns int language plpgsql immutable as $f$ begin perform public.fill(); return a; end $f$;
        create table t (a int); insert into t values (1); create index on t (innocent(a))""")
    with Least(small_disk) as least:
        result = agent("drill", "--json", timeout=120)
    assert result.code == NOT_PROVEN, str(result)
    assert result.json["verdict"] == "failed" and "fills the disk" in result.json["reason"], result.json["reason"]
    assert agent.list()[0]["last_verdict"] == "failed" and agent.list()[0]["proven"] is None
    assert os.listdir(small_disk) == []
    assert least.free < 64 * MIB


def test_room_that_others_take_says_nothing_about_the_backup(agent, source, new_database, small_disk):
    """R10: an environment that fails is an error, and no verdict."""
    name = new_database("modest")
    # A check gives the others time.
    backed_up(agent, source, name, "create table t as select 1 as a; create table u (a int)")
    agent.configure(drill={"checks": [{"name": "slow", "sql": "select count(*) from pg_sleep(60)", "expect": "1"}]})

    def others():
        while not any(os.path.exists(os.path.join(small_disk, d, "work/data/postmaster.pid")) for d in os.listdir(small_disk)):
            time.sleep(0.05)
        time.sleep(1)
        with open(os.path.join(small_disk, "others"), "wb") as f:
            v = os.statvfs(small_disk)
            f.write(bytes(v.f_bavail * v.f_frsize - 40 * MIB))
    thread = threading.Thread(target=others)
    thread.start()
    result = agent("drill", "--json", timeout=120)
    thread.join()
    os.unlink(os.path.join(small_disk, "others"))
    assert result.code == FAILED and "free space" in result.err and "drill.dir" in result.err, str(result)
    assert agent.list()[0]["last_verdict"] is None
    assert os.listdir(small_disk) == []


def test_drill_begins_only_where_it_leaves_room(agent, source, new_database, small_disk):
    name = new_database("modest")
    backed_up(agent, source, name, "create table t as select 1 as a")
    agent.configure(drill={"min_free": 400 * MIB})
    agent.fails(FAILED, "drill", says="free")
    assert agent.list()[0]["last_verdict"] is None
    agent.configure(drill={"min_free": 200 * MIB})
    result = agent("drill")
    assert result.code in (OK, WARNINGS), str(result)
