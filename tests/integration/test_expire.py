"""expire with the real program: what is left is the newest, whatever its id, and nothing goes without proof (R5, R6, R22)."""
import os

import pytest

from lib.agent import FAILED, OK, WARNINGS
from lib.wrapped import bin_dir


@pytest.fixture
def five(agent, tiny):
    """Five backups of a small database, oldest first, each with a row more than the one before."""
    agent.configure(source={"databases": [tiny.name]}, keep={"last": 2, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "grace": "0"})
    agent.init()
    ids = []
    for n in range(5):
        tiny.sql(f"insert into t select {n}")
        ids.append(agent.backup()["id"])
    return agent, ids


class Tiny:
    def __init__(self, source, name):
        self.source, self.name = source, name

    def sql(self, text):
        return self.source.sql(self.name, text)


@pytest.fixture
def tiny(source):
    name = "tiny_expire"
    source.sql("postgres", f"drop database if exists {name}")
    source.sql("postgres", f"create database {name}")
    t = Tiny(source, name)
    t.sql("create table t as select g as a from generate_series(1, 1000) g")
    yield t
    source.sql("postgres", f"drop database {name} with (force)")


def ids_of(agent):
    return [b["id"] for b in agent.list()]


def expire(agent, *words):
    result = agent("expire", "--json", *words)
    assert result.code in (OK, WARNINGS), str(result)
    return result.json


def test_nothing_goes_while_nothing_is_proven(five):
    agent, ids = five
    expire(agent)
    assert sorted(ids_of(agent)) == sorted(ids)


def test_the_newest_stay_and_can_be_restored(five):
    agent, ids = five
    result = agent("drill", "--json")
    assert result.code in (OK, WARNINGS), str(result)
    plan = {row["backup"]: row["action"] for row in expire(agent, "--plan")["plan"]}
    assert plan == {**{i: "delete" for i in ids[:3]}, **{i: "keep" for i in ids[3:]}}
    assert len(ids_of(agent)) == 5
    expire(agent)
    assert ids_of(agent) == [ids[4], ids[3]]
    second = expire(agent)
    assert second["deleted_packs"] > 0 or second["waiting_packs"] == 0
    result = agent("verify", "--data", "--json")
    assert result.code in (OK, WARNINGS) and result.json["problems"] == [], str(result)
    result = agent("drill", "--json")
    assert result.json["verdict"] == "proven", str(result)


def test_a_hold_outlasts_the_rule(five):
    agent, ids = five
    assert agent("hold", ids[0]).code in (OK, WARNINGS)
    assert agent("drill").code in (OK, WARNINGS)
    expire(agent)
    assert ids_of(agent) == [ids[4], ids[3], ids[0]]
    assert agent("hold", "--release", ids[0]).code in (OK, WARNINGS)
    expire(agent)
    assert ids_of(agent) == [ids[4], ids[3]]


def test_a_backup_whose_rows_were_emptied_is_suspect(agent, source, new_database):
    """R6: as many rows, and nothing in them."""
    name = new_database("emptied")
    source.sql(name, "create table t as select n, repeat(md5(n::text), 30) as body from generate_series(1, 500) n")
    agent.configure(source={"databases": [name]})
    agent.init()
    assert agent.backup()["suspect"] is None
    source.sql(name, "update t set body = ''")
    assert "bytes" in agent.backup()["suspect"]


def test_a_night_that_shrank_is_suspect_after_a_second_try_too(agent, source, new_database):
    """R6, R38: the try that a lock in the way ended had all of the rows as well; what it read is no part of the backup."""
    name = new_database("shrank")
    source.sql(name, "create table t as select n, repeat(md5(n::text), 30) as body from generate_series(1, 20000) n")
    agent.configure(source={"databases": [name]}, backup={"lock_attempts": 2, "large_table": 1 << 30})
    agent.init()
    assert agent.backup()["suspect"] is None
    source.sql(name, "update t set body = left(body, 300)")
    once = ('case " $* " in *section=data*) $REAL "$@" || exit; [ -e $HERE/tried ] && exit 0; touch $HERE/tried; '
            'echo "pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout" >&2; '
            'echo "pg_dump: detail: Query was: LOCK TABLE public.t IN ACCESS SHARE MODE" >&2; exit 1;; esac; exec $REAL "$@"')
    agent.configure(source={"bin_dir": bin_dir(agent.work, "bin", pg_dump=once)})
    result = agent("backup", "--json")
    assert result.code == WARNINGS and "trying again" in result.err, str(result)
    assert "bytes" in (result.json["backup"]["suspect"] or ""), str(result)


def test_damage_among_the_holds_is_named(five):
    """What may be on hold is deleted by nobody; what can be listed is."""
    agent, ids = five
    name = "holds/" + "ab" * 16
    agent.repository.write(name, b"junk")
    result = agent("list", "--json")
    assert result.code == WARNINGS and [b["id"] for b in result.json["backups"]] == ids[::-1], str(result)
    assert any(name in w for w in result.json["warnings"]), str(result)
    for words in ([], ["--plan"]):
        agent.fails(FAILED, "expire", *words, says=name)
    agent.repository.remove(name)
    assert ids_of(agent) == ids[::-1]


@pytest.mark.parametrize("below", ["holds", "reports", "backups"])
def test_a_folder_that_cannot_be_listed_is_named(five, below):
    agent, ids = five
    path = os.path.join(agent.repository.path, below)
    if os.path.isdir(path):
        os.rename(path, path + ".away")
    os.symlink(below, path)             # leads to itself: neither a folder nor nothing
    for command in ("list", "expire", "report"):
        result = agent(command, "--json")
        assert result.code == FAILED and below in result.err, str(result)
    os.unlink(path)
    if os.path.isdir(path + ".away"):
        os.rename(path + ".away", path)
    assert ids_of(agent) == ids[::-1]


def test_a_backup_that_shrank_freezes_deletion(five, tiny):
    agent, ids = five
    assert agent("drill").code in (OK, WARNINGS)
    tiny.sql("delete from t where a > 10")
    result = agent("backup", "--json")
    assert result.code == WARNINGS and result.json["backup"]["suspect"], str(result)
    outcome = expire(agent)
    assert outcome["frozen"] and outcome["deleted_backups"] == 0
    assert len(ids_of(agent)) == 6
    # A drill that proves it is the answer to the suspicion.
    assert agent("drill").code in (OK, WARNINGS)
    expire(agent)
    assert len(ids_of(agent)) == 2
