"""What was dumped comes back: all of it, one table of it, on another server, from a folder and from S3."""

import os
import re
import subprocess
import time

import pytest
from lib.agent import FAILED, LOCKED, OK, REFUSED, USAGE, WARNINGS
from lib.cluster import connection_string, server_bin
from lib.wrapped import WAITS_FOR_DATA, bin_dir


def test_everything_comes_back_byte_for_byte(make_agent, repository, source, database, restored):
    agent = make_agent(repository, databases=[database])
    agent.init()
    done = agent.backup()
    assert done["databases"] == [database] and done["rows"] > 100 and done["bytes"] > 100000
    agent.restored(restored, "came back")
    assert restored.text_of("came back") == source.text_of(database)


def test_properties_of_the_database_come_back(agent, source, database, restored):
    """R32: encoding, locale, settings and comment are no part of what pg_dump writes without --create."""
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    agent.restored(restored, "came back")
    facts = ("select pg_encoding_to_char(encoding), datcollate, datctype, shobj_description(d.oid, 'pg_database'), "
             "(select setconfig from pg_db_role_setting where setdatabase = d.oid and setrole = 0) from pg_database d "
             "where datname = current_database()")
    assert restored.value("came back", facts) == source.value(database, facts)


def test_langfuse_comes_back(make_agent, repository, source, langfuse, restored):
    agent = make_agent(repository, databases=[langfuse])
    agent.init()
    agent.backup()
    agent.restored(restored, "langfuse")
    assert restored.text_of("langfuse") == source.text_of(langfuse)


def test_second_night_stores_only_what_changed(make_agent, repository, source, new_database):
    name = new_database("nights")
    source.sql(name, "create table t as select n, (select string_agg(md5(n::text || k), ' ') from generate_series(1, 30) k) as body "
                     "from generate_series(1, 20000) n")
    agent = make_agent(repository, databases=[name])
    agent.init()
    first = agent.backup()
    assert first["new_bytes"] == pytest.approx(first["bytes"], rel=0.05)
    before = sum(repository.objects().values())
    same = agent.backup()
    assert same["bytes"] == pytest.approx(first["bytes"], rel=0.01)
    # The first chunk of each stream is new, since an archive begins with its date.
    assert same["new_bytes"] < first["bytes"] * 0.05
    assert sum(repository.objects().values()) - before < before * 0.05
    source.sql(name, "update t set body = 'edited' where n = 10000; insert into t select n, 'new' from generate_series(1, 100) n")
    changed = agent.backup()
    assert changed["new_bytes"] < first["bytes"] * 0.25


@pytest.mark.parametrize("table", ["app.kinds", 'app.--help', "app.events_old"], ids=["plain", "odd_name", "partition"])
def test_one_table_comes_back(agent, source, database, restored, table):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    agent.restored(restored, "one", "--table", table)
    count = "select count(*) from " + ".".join(f'"{part}"' for part in table.split("."))
    assert restored.value("one", count) == source.value(database, count) != "0"
    # A partition keeps its parent, which is what it is a partition of; its siblings stay away.
    wanted = {"app.events_old": ["events", "events_old"]}.get(table, [table.split(".")[1]])
    assert sorted(restored.sql("one", "select relname from pg_class where relkind in ('r', 'p') and oid >= 16384")) == wanted


def test_one_schema_with_an_odd_name_comes_back(agent, source, database, restored):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    schema = 'Odd "Schema" with spaces'
    agent.restored(restored, "odd", "--schema", schema)
    names = f"select relname from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = '{schema}' order by 1"
    assert restored.sql("odd", names) == source.sql(database, names)
    assert restored.sql("odd", "select relname from pg_class where relnamespace::regnamespace::text = 'app' and relkind in ('r', 'v')") == []


def test_table_that_is_not_in_the_backup_is_an_error(agent, database, restored):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    result = agent.restore(restored, "none", "--table", "app.no_such_table")
    assert result.code in (FAILED, USAGE) and "no_such_table" in result.err, str(result)
    assert "none" not in restored.databases(), "a restore of nothing left a database behind"


def test_two_databases_and_globals(agent, source, new_database, restored):
    one, two = new_database("first one"), new_database('second "two"')
    source.sql(one, "create table t as select 1 as a")
    source.sql(two, "create table t as select 2 as a")
    source.sql("postgres", "create role \"odd role\" login password 'canary-of-a-role'; alter role \"odd role\" set work_mem = '7MB'")
    agent.secrets.append("canary-of-a-role")
    try:
        agent.configure(source={"databases": [one, two]})
        agent.init()
        assert sorted(agent.backup()["databases"]) == sorted([one, two])
        result = agent.restore(restored, "x")
        assert result.code == USAGE and "--database" in result.err, f"which of two databases must be said\n{result}"
        agent.restored(restored, "x", "--database", two, "--globals")
        assert restored.value("x", "select a from t") == "2"
        assert restored.value("postgres", "select rolconfig from pg_roles where rolname = 'odd role'") == "{work_mem=7MB}"
    finally:
        source.sql("postgres", 'drop role "odd role"')
        restored.drop("x")
        restored.sql("postgres", 'drop role if exists "odd role"')


def test_all_databases_are_taken_when_none_is_named(agent, source, new_database):
    name = new_database("not named anywhere")
    agent.init()
    assert name in agent.backup()["databases"]
    assert "template0" not in agent.list()[0]["databases"]


def test_empty_database(agent, new_database, restored):
    agent.configure(source={"databases": [new_database("empty")]})
    agent.init()
    assert agent.backup()["rows"] == 0
    agent.restored(restored, "empty")
    assert "empty" in restored.databases()


def test_restore_refuses_the_source_itself(agent, source, database):
    """R3: whoever wants to restore to the server that was backed up names its system identifier."""
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    before = source.databases()
    result = agent.restore(source, "to the source")
    assert result.code == REFUSED and source.system_identifier() in result.err, str(result)
    result = agent.restore(source, "to the source", "--system-id", "7000000000000000001")
    assert result.code == REFUSED, str(result)
    assert source.databases() == before
    try:
        agent.restored(source, "to the source", "--system-id", source.system_identifier())
        assert source.text_of("to the source") == source.text_of(database)
    finally:
        source.drop("to the source")


def test_restore_refuses_a_database_with_something_in_it(agent, database, restored):
    """R37."""
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    restored.create("taken")
    restored.sql("taken", "create table precious as select 42 as answer")
    assert agent.restore(restored, "taken").code == REFUSED
    assert agent.restore(restored, "taken", "--existing").code == REFUSED
    assert restored.sql("taken", "select * from precious") == ["42"]
    restored.create("waiting")
    agent.restored(restored, "waiting", "--existing")


def test_cat_gives_an_archive_that_pg_restore_reads(agent, source, database):
    """Of each stream, without the repository's help: the schema before and after the data, the rest, and a large table by itself."""
    source.sql(database, "create table app.large as select n, repeat(md5(n::text), 20) as t from generate_series(1, 4000) n")
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    dumps = [s for s in agent.ok("show", "latest", "--json").json["streams"] if s["database"] == database and s["kind"] == "dump"]
    assert len(dumps) >= 4, dumps
    pg_restore, listed = os.path.join(server_bin(), "pg_restore"), set()
    for stream in dumps:
        archive = agent.ok("cat", "latest", stream["name"]).out
        assert archive[:5] == b"PGDMP" and len(archive) == stream["bytes"], stream
        toc = subprocess.run([pg_restore, "-l"], input=archive, check=True, timeout=60, stdout=subprocess.PIPE).stdout.decode()
        subprocess.run([pg_restore, "-f", "/dev/null"], input=archive, check=True, timeout=60)
        said = re.findall(r"^\d+; \d+ \d+ (TABLE DATA|TABLE|CONSTRAINT) app (\S+) ", toc, re.MULTILINE)
        assert said, f"pg_restore -l names no table in {stream['name']}\n{toc}"
        listed.update(said)
    tables = {"kinds", "events_old", "events_new_a", "--help", "nothing", "large"}
    assert listed >= {(what, table) for what in ("TABLE", "TABLE DATA") for table in tables} | {("CONSTRAINT", "boss")}, listed
    agent.fails(FAILED, "cat", "latest", "no such stream", says="no such stream")


def test_show_counts_what_is_there(agent, source, database):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    entries = {e["name"]: e for e in agent.ok("show", "latest", "--json").json["entries"] if e["database"] == database}
    for table in ("app.kinds", "app.events_old", "app.events_new_a", "app.nothing", "app.empty", 'app."--help"'):
        assert entries[table]["rows"] == int(source.value(database, f"select count(*) from only {table}")), table
    source.sql(database, "insert into app.boss values (4, 1); drop table app.hashed_1; create table app.fresh ()")
    agent.backup()
    newest, older = [b["id"] for b in agent.list()[:2]]
    changes = {c["name"]: c["change"] for c in agent.ok("show", newest, "--compare-with", older, "--json").json["changes"]}
    assert changes["app.boss"] == "changed" and changes["app.hashed_1"] == "removed" and changes["app.fresh"] == "added"
    assert "app.kinds" not in changes


def test_backups_are_named_by_the_beginning_of_their_id(agent, new_database):
    agent.configure(source={"databases": [new_database("d")]})
    agent.init()
    ids = [agent.backup()["id"] for _ in range(3)]
    assert [b["id"] for b in agent.list()] == ids[::-1]
    assert agent.ok("show", ids[0][:12], "--json").json["backup"]["id"] == ids[0]
    agent.fails(FAILED, "show", "ffffffffffff", says="ffffffffffff")


def test_excluded_table_data_is_named_and_not_there(agent, database, restored):
    agent.configure(source={"databases": [database], "exclude_table_data": ["app.events*"]})
    agent.init()
    agent.backup()
    agent.restored(restored, "less")
    assert restored.value("less", "select count(*) from app.events") == "0"
    assert int(restored.value("less", "select count(*) from app.kinds")) > 0
    assert any("app.events" in line for line in agent("drill", "--json").json["not_covered"])


def test_streams_show_one_moment(agent, source, new_database, restored):
    """A writer moves money between tables that are dumped by different processes; no cent may come or go."""
    name = new_database("money")
    source.sql(name, "create table a (id int primary key, v bigint, pad text); create table b (like a including all);"
                     "insert into a select n, 100, repeat(md5(n::text), 40) from generate_series(1, 3000) n; insert into b select * from a")
    agent.configure(source={"databases": [name]}, backup={"jobs": 4})
    agent.init()
    writer = subprocess.Popen(
        [os.path.join(server_bin(), "psql"), "-X", "-q", "-h", source.host, "-p", source.port, "-U", source.user,
         "-d", connection_string(name)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    writer.stdin.write(b"".join(
        b"begin; update a set v = v - 1 where id = %d; update b set v = v + 1 where id = %d; commit;\n" % (i % 3000 + 1, i % 2999 + 1)
        for i in range(50000)))
    agent.backup()
    writer.kill()
    writer.wait()
    writer.stdin.close()
    agent.restored(restored, "money")
    assert restored.value("money", "select (select sum(v) from a) + (select sum(v) from b)") == "600000"
    assert int(restored.value("money", "select sum(v) from b")) > 300000, "the writer wrote nothing before the snapshot"


def waits(agent, what="waiting"):
    path = os.path.join(agent.work, what)
    until = time.monotonic() + 60
    while not os.path.exists(path):
        assert time.monotonic() < until, "pg_dump was never started"
        time.sleep(0.02)


def test_truncate_in_the_middle_cannot_empty_a_table(agent, source, database, restored):
    """TRUNCATE is not MVCC-safe: a pg_dump that comes late would see an empty table, and end with 0.  The leader's lock
    keeps it out."""
    agent.configure(source={"databases": [database], "bin_dir": bin_dir(agent.work, "bin", pg_dump=WAITS_FOR_DATA)})
    agent.init()
    running = agent.start("backup", "--json")
    waits(agent)
    with pytest.raises(RuntimeError, match="lock timeout"):
        source.sql(database, "set lock_timeout = '300ms'; truncate app.events_old")
    with pytest.raises(RuntimeError, match="lock timeout"):
        source.sql(database, "set lock_timeout = '300ms'; drop table app.second cascade")
    open(os.path.join(agent.work, "go"), "w", encoding="ascii").close()
    out, err = running.communicate(timeout=120)
    assert running.returncode in (OK, WARNINGS), err.decode()
    agent.configure(source={"bin_dir": None})
    agent.restored(restored, "whole")
    assert restored.text_of("whole") == source.text_of(database)


def test_somebody_who_queues_for_the_table_fails_the_backup_by_name(agent, source, database):
    """R38: ALTER waits behind our lock, pg_dump waits behind ALTER.  Better no backup than a hanging migration."""
    agent.configure(source={"databases": [database], "bin_dir": bin_dir(agent.work, "bin", pg_dump=WAITS_FOR_DATA)})
    agent.init()
    running = agent.start("backup")
    waits(agent)
    with source.session(database) as migration:
        migration.run("set application_name = 'prisma-migrate'")
        migration.send("alter table app.kinds add column fresh int")
        source.wait_for("postgres", "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'prisma-migrate'")
        open(os.path.join(agent.work, "go"), "w", encoding="ascii").close()
        _, err = running.communicate(timeout=120)
        assert running.returncode == LOCKED, err.decode()
        assert "prisma-migrate" in err.decode()
        migration.run("select 1")       # it went through as soon as we let go
    assert agent.list() == []
    os.unlink(os.path.join(agent.work, "waiting"))
    assert agent.backup()["rows"] > 0


def test_lock_held_by_a_migration_fails_the_backup_by_name(agent, source, database):
    """R38."""
    agent.configure(source={"databases": [database]})
    agent.init()
    with source.session(database) as migration:
        migration.run("set application_name = 'prisma-migrate'")
        migration.run("begin")
        migration.run("lock table app.kinds in access exclusive mode")
        started = time.monotonic()
        agent.fails(LOCKED, "backup", says=["app.kinds", "prisma-migrate"])
        assert time.monotonic() - started < 30
        migration.run("commit")
    assert agent.list() == []
    agent.backup()


def test_names_reach_the_archive_unharmed(agent, source, new_database, restored):
    """A database's own name may be anything, too."""
    name = "Ünï'c\"ode; -- $(id) \\ 漢"
    new_database(name)
    source.sql(name, "create table t as select 'here' as found")
    agent.configure(source={"databases": [name]})
    agent.init()
    assert agent.backup()["databases"] == [name]
    agent.restored(restored, name)
    assert restored.sql(name, "select found from t") == ["here"]
    assert name in restored.databases()


def test_what_pg_dump_says_beside_success_is_a_warning(agent, source, new_database):
    """pg_dump ends with status 0 when its role may not dump a subscription: then the backup lacks it, and has to say so."""
    name = new_database("subscribed")
    source.sql(name, "create table t as select 1 as a; create subscription sub connection 'dbname=nowhere' publication p with (connect = false);"
                     "create table c1 (id int primary key, other int); create table c2 (id int primary key, other int references c1);"
                     "alter table c1 add foreign key (other) references c2; insert into c1 values (1, null)")
    source.sql("postgres", "create role modest login in role pg_read_all_data")
    try:
        agent.configure(source={"databases": [name]})
        agent.init()
        # Keys in a circle are no reason for a word: a restore makes them when all rows are there.
        assert agent.ok("backup", "--json").json["warnings"] == []
        agent.configure(source={"user": "modest"})
        result = agent("backup", "--json")
        assert result.code == WARNINGS, str(result)
        said = [w for w in result.json["warnings"] if "subscription" in w]
        assert len(said) == 1 and f'"{name}"' in said[0] and "pg_dump" in said[0], str(result)
        lines = [one for one in agent("check", "--json").json["lines"] if "subscription" in one["detail"]]
        assert len(lines) == 1 and lines[0]["state"] == "warning" and lines[0]["what"] == f"database {name}"
    finally:
        source.sql("postgres", "drop role modest")
