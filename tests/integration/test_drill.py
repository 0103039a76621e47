"""A drill proves a backup, or says in one sentence why it does not.  Never "passed" by absence (R10, R33, R41)."""

import ctypes
import os
import shutil
import signal
import subprocess
import time

import pytest
from lib.agent import FAILED, NOT_PROVEN, OK, REFUSED, USAGE, WARNINGS
from lib.cluster import server_bin
from lib.wrapped import bin_dir


@pytest.fixture
def ready(agent, database):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    return agent


def drill(agent, *words, codes=(OK, WARNINGS), **more):
    result = agent("drill", "--json", *words, **more)
    assert result.code in codes, str(result)
    return result.json


def test_everything_is_proven(make_agent, repository, database):
    agent = make_agent(repository, databases=[database])
    agent.init()
    backup = agent.backup()
    outcome = drill(agent)
    assert outcome["verdict"] == "proven" and outcome["reason"] is None
    seen = outcome["databases"][0]
    assert seen["name"] == database and seen["entries"] == seen["equal"] > 30 and seen["rows"] == backup["rows"]
    assert seen["schema"] in ("equal", "equal but for column order") and outcome["differences"] == []
    assert all(o["source"] == o["restored"] for o in seen["objects"]) and len(seen["objects"]) > 10
    assert outcome["rto_ms"] > 0 and {"scratch", "restore", "dump again", "compare"} <= {p["name"] for p in outcome["phases"]}
    # The proof is kept: signed, in the repository, and seen by who lists.
    assert agent.list()[0]["proven"] is not None and agent.list()[0]["last_verdict"] == "proven"
    report = agent.ok("report", "--json").json
    assert report["signature"]["valid"] is True and report["drill"]["verdict"] == "proven"
    assert "proven" in agent.ok("report").text.lower()


def test_inherited_table_with_another_order_of_columns_is_proven(agent, source, new_database):
    """A dropped and a late column in a parent change the physical order; contents are compared in the source's."""
    name = new_database("inherited")
    source.sql(name, "create table p (a int, gone int, aa text); create table c (own text) inherits (p); alter table p drop column gone;"
                     "alter table p add column late numeric; insert into c select n, 'aa' || n, 'own' || n, n / 7.0 from generate_series(1, 500) n")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    outcome = drill(agent)
    assert outcome["verdict"] == "proven"
    assert outcome["databases"][0]["reordered"] == ["public.c"]
    assert outcome["databases"][0]["schema"] == "equal but for column order"


def test_langfuse_is_proven(agent, langfuse):
    agent.configure(source={"databases": [langfuse]})
    agent.init()
    agent.backup()
    assert drill(agent)["verdict"] == "proven"


def test_row_that_changed_on_the_way_is_found_by_name(ready, elsewhere):
    """A restore that loses one row, and changes another."""
    psql = f"{server_bin()}/psql -X -q -A -t -h {elsewhere.host} -p {elsewhere.port} -U {elsewhere.user}"
    # Which database is the scratch one is seen from outside: it is the newest.
    script = f"""$REAL "$@" || exit
    scratch=$({psql} -d postgres -c 'select datname from pg_database where not datistemplate order by oid desc limit 1')
    {psql} -d "$scratch" -c "delete from app.events_old where at = '2025-12-02'" -c 'update app.boss set boss = 1 where id = 3'
    exit 0"""
    ready.configure(drill={"bin_dir": bin_dir(ready.work, "bin", pg_restore=script),
                           "server": {"host": elsewhere.host, "port": int(elsewhere.port), "user": elsewhere.user}})
    outcome = drill(ready, codes=[NOT_PROVEN])
    assert outcome["verdict"] == "differs"
    differences = {d["entry"]: d for d in outcome["differences"]}
    assert set(differences) == {"app.events_old", "app.boss"}
    lost = differences["app.events_old"]
    assert lost["what"] == "rows" and lost["restored_rows"] == lost["source_rows"] - 1
    assert differences["app.boss"]["what"] == "content"
    assert ready.list()[0]["proven"] is None and ready.list()[0]["last_verdict"] == "differs"


def test_drill_on_a_server_leaves_no_database_there(ready, elsewhere):
    before = elsewhere.databases()
    ready.configure(drill={"server": {"host": elsewhere.host, "port": int(elsewhere.port), "user": elsewhere.user}})
    assert drill(ready)["verdict"] == "proven"
    assert elsewhere.databases() == before


def test_drill_on_the_source_is_refused(ready, source):
    """R48: a bad dump would own production."""
    before = source.databases()
    ready.configure(drill={"server": {"host": source.host, "port": int(source.port), "user": source.user}})
    result = ready("drill")
    assert result.code in (USAGE, REFUSED) and "source" in result.err, str(result)
    assert source.databases() == before


def test_checks_of_the_operator_decide(ready, database):
    good = {"name": "some kinds", "sql": "select count(*) from app.kinds", "expect": "4"}
    ready.configure(drill={"checks": [good, {"name": "mood", "sql": "select count(*) > 0 from app.happy"}]})
    outcome = drill(ready)
    assert [c["ok"] for c in outcome["checks"]] == [True, True]
    ready.configure(drill={"checks": [good, {"name": "too few", "sql": "select count(*) from app.kinds", "expect": "5"}]})
    outcome = drill(ready, codes=[NOT_PROVEN])
    assert outcome["verdict"] != "proven" and "too few" in outcome["reason"]
    assert [c["ok"] for c in outcome["checks"]] == [True, False] and outcome["checks"][1]["value"] == "4"
    ready.configure(drill={"checks": [{"name": "broken", "sql": "select 1/0"}]})
    assert drill(ready, codes=[NOT_PROVEN])["verdict"] != "proven"


@pytest.mark.skipif(os.getuid() != 0, reason="puts an extension into PostgreSQL's folder: root only")
def test_index_that_could_not_be_looked_at_is_not_called_broken(agent, source, new_database):
    name = new_database("indexed")
    source.sql(name, """create function moody(a int) returns int immutable language plpgsql as
        $f$ begin if current_query() like '%bt_index_check%' then raise 'canary'; end if; return a; end $f$;
        create table t as select 1 as a; create index on t (moody(a))""")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    result = agent("drill", "--json")
    assert result.code == NOT_PROVEN and result.json["verdict"] == "failed" and "canary" in result.json["reason"], str(result)
    assert result.json["amcheck"]["problems"] == []


# An order that turns round once amcheck looks.
CROOKED = """create function turning(a int, b int) returns int immutable language plpgsql as
    $f$ begin return case when current_query() like '%bt_index_check%' then btint4cmp(b, a) else btint4cmp(a, b) end; end $f$;
    create operator class turning_ops for type int using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=,
        operator 5 >, function 1 turning(int, int);
    create table c as select n from generate_series(1, 1000) n; create index crooked on c (n turning_ops);"""

# An index, larger than that one, of which amcheck fails with the server's code for no memory.
HUNGRY = """create function hungry(a int) returns int immutable language plpgsql as
    $f$ begin if current_query() like '%bt_index_check%' then raise 'canary' using errcode = '53200'; end if; return a; end $f$;
    create table h as select n from generate_series(1, 5000) n; create index hungry on h (hungry(n));"""


def test_server_without_memory_is_no_verdict_about_the_backup(agent, source, new_database):
    """R10: a drill host that lacks something has not seen a backup fail."""
    name = new_database("hungry")
    source.sql(name, HUNGRY)
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    agent.fails(FAILED, "drill", says="53200")
    assert agent.list()[0]["last_verdict"] is None


def test_problem_that_was_found_stands_whatever_else_fails(agent, source, new_database):
    """R41: the first index that amcheck looks at lacks memory, and the next one is broken."""
    name = new_database("hungry")
    source.sql(name, HUNGRY + CROOKED)
    agent.configure(source={"databases": [name]}, drill={"jobs": 1})
    agent.init()
    agent.backup()
    outcome = drill(agent, codes=[NOT_PROVEN])
    assert outcome["verdict"] == "differs", outcome
    assert "1 problem was found by amcheck" in outcome["reason"] and "53200" in outcome["reason"], outcome["reason"]
    assert len(outcome["amcheck"]["problems"]) == 1 and "public.crooked" in outcome["amcheck"]["problems"][0], outcome["amcheck"]
    assert outcome["amcheck"]["ran"] is False and outcome["rto_ms"] is None
    assert agent.list()[0]["last_verdict"] == "differs"


def test_failed_check_stands_when_the_drill_is_stopped_behind_it(agent, source, new_database):
    """Who ends a drill does not unsay what it has found."""
    name = new_database("to_be_stopped")
    source.sql(name, """create table t as select 1 as a;
        create function nap() returns int language plpgsql as $f$ begin copy (select 1) to program 'exec sleep 31417'; return 1; end $f$""")
    agent.configure(source={"databases": [name]}, drill={"checks": [
        {"name": "wrong", "sql": "select a from t", "expect": "2"}, {"name": "slow", "sql": "select nap()"}]})
    agent.init()
    agent.backup()
    running = agent.start("drill")
    until = time.monotonic() + 60
    while subprocess.run(["pgrep", "-x", "-f", "sleep 31417"], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        assert time.monotonic() < until and running.poll() is None, "the drill never came to its slow check"
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert agent.list()[0]["last_verdict"] == "differs"
    assert os.listdir(agent.scratch) == []


def test_index_that_is_out_of_order_differs_by_name(agent, source, new_database):
    """R41: every row came back, and what finds them does not.  An order that turns round once amcheck looks, as that of a locale does
    from one C library to the next, is an index built in one order and read in another."""
    name = new_database("crooked")
    source.sql(name, """create function turning(a int, b int) returns int immutable language plpgsql as
        $f$ begin return case when current_query() like '%bt_index_check%' then btint4cmp(b, a) else btint4cmp(a, b) end; end $f$;
        create operator class turning_ops for type int using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=,
            operator 5 >, function 1 turning(int, int);
        create table t as select n from generate_series(1, 1000) n; create index straight on t (n); create index "Cr ooked" on t (n turning_ops)""")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    outcome = drill(agent, codes=[NOT_PROVEN])
    assert outcome["verdict"] == "differs" and "1 problem was found by amcheck" in outcome["reason"], outcome["reason"]
    assert outcome["amcheck"]["ran"] is True and outcome["amcheck"]["indexes"] > 2, outcome["amcheck"]
    assert len(outcome["amcheck"]["problems"]) == 1 and 'public."Cr ooked"' in outcome["amcheck"]["problems"][0], outcome["amcheck"]
    # Nothing else would have told.
    assert outcome["differences"] == [] and outcome["databases"][0]["schema"] == "equal"
    assert agent.list()[0]["proven"] is None and agent.list()[0]["last_verdict"] == "differs"


@pytest.mark.skipif(os.getuid() != 0, reason="hides an extension from one run: root only")
def test_amcheck_that_is_not_installed_is_said(agent, source, new_database):
    """R41: an index that nobody looked at is not called sound."""
    name = new_database("indexed")
    source.sql(name, "create table t as select n from generate_series(1, 1000) n; create index on t (n)")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    share = subprocess.run([os.path.join(server_bin(), "pg_config"), "--sharedir"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    less = os.path.join(agent.work, "extensions")
    shutil.copytree(os.path.join(share, "extension"), less, ignore=shutil.ignore_patterns("amcheck*"))
    # The run has a view of the disk of its own, in which the folder without it lies over the real one.
    hidden = ("unshare", "--mount", "sh", "-c", f'mount --bind {less} {share}/extension && exec "$@"', "sh")
    result = agent("drill", "--json", program_prefix=hidden)
    amcheck = result.json["amcheck"]
    assert amcheck["ran"] is False and "amcheck" in amcheck["why_not"] and amcheck["problems"] == [], str(result)
    assert "not available" in amcheck["why_not"], amcheck
    assert drill(agent)["amcheck"]["ran"] is True


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system: root only")
def test_verdict_that_cannot_be_stored_is_said(ready):
    reports = os.path.join(ready.repository.path, "reports")
    os.makedirs(reports, mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", reports], check=True)
    try:
        result = ready("drill")
        assert result.code not in (OK, WARNINGS, NOT_PROVEN) and "could not be stored" in result.err, str(result)
        ready.configure(drill={"checks": [{"name": "never", "sql": "select 1", "expect": "2"}]})
        result = ready.fails(NOT_PROVEN, "drill", says=["could not be stored", "differs", "drill again"])
    finally:
        subprocess.run(["umount", reports], check=True)


def test_extension_that_is_missing_here_is_not_verifiable_here(agent, source, new_database):
    """R33: neither "failed" nor, least of all, "passed"."""
    share = subprocess.run([os.path.join(server_bin(), "pg_config"), "--sharedir"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    paths = [os.path.join(share, "extension", f) for f in ("holdfast_test.control", "holdfast_test--1.0.sql")]
    try:
        with open(paths[0], "w", encoding="ascii") as f:
            f.write("default_version = '1.0'\nrelocatable = true\n")
        with open(paths[1], "w", encoding="ascii") as f:
            f.write("create function holdfast_test() returns int language sql as 'select 1';\n")
        name = new_database("extended")
        source.sql(name, "create extension holdfast_test; create table t as select holdfast_test() as a")
        agent.configure(source={"databases": [name]})
        agent.init()
        agent.backup()
        assert drill(agent)["verdict"] == "proven"
        for path in paths:
            os.rename(path, path + ".away")
        outcome = drill(agent, codes=[NOT_PROVEN])
        assert outcome["verdict"] == "not verifiable here" and "holdfast_test" in outcome["reason"]
        assert agent.list()[0]["last_verdict"] == "not verifiable here"
    finally:
        for path in paths:
            for suffix in ("", ".away"):
                if os.path.exists(path + suffix):
                    os.unlink(path + suffix)


def test_server_that_cannot_start_is_a_failure_with_its_reason(ready):
    """R10: an environment that fails is an error, never a skip."""
    ready.configure(drill={"bin_dir": bin_dir(ready.work, "bin", initdb='echo "initdb: canary reason" >&2; exit 1')})
    ready.fails(FAILED, "drill", "--json", says="canary reason")
    assert ready.list()[0]["proven"] is None and ready.list()[0]["last_verdict"] is None


def test_agent_key_cannot_drill(agent, database):
    agent.configure(source={"databases": [database]})
    agent_key = os.path.join(agent.work, "agent-key")
    agent.init("--agent-key-out", agent_key)
    agent.configure(repository={"key_file": agent_key})
    agent.backup()
    result = agent("drill")
    assert result.code == FAILED and "key" in result.err, str(result)
    agent.configure(repository={"key_file": agent.key})
    assert drill(agent)["verdict"] == "proven"


def test_drill_that_is_told_to_stop_cleans_up(ready):
    running = ready.start("drill")
    until = time.monotonic() + 60
    while not os.listdir(ready.scratch):
        assert time.monotonic() < until and running.poll() is None, "the drill made no scratch"
        time.sleep(0.02)
    time.sleep(0.5)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert os.listdir(ready.scratch) == []


def test_drill_that_was_killed_leaves_no_server_and_the_next_one_works(ready):
    running = ready.start("drill")
    until = time.monotonic() + 60
    while not any(os.listdir(os.path.join(ready.scratch, d)) for d in os.listdir(ready.scratch)):
        assert time.monotonic() < until and running.poll() is None, "the drill made no scratch"
        time.sleep(0.02)
    time.sleep(1)
    running.kill()
    running.communicate(timeout=60)
    time.sleep(1)
    left = subprocess.run(["pgrep", "-f", f"{ready.scratch}"], stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    assert left == [], f"processes of a killed drill live on: {left}"
    assert drill(ready)["verdict"] == "proven"
    shutil.rmtree(ready.scratch)
    os.mkdir(ready.scratch, 0o711)


def enforceable_here():
    """The measures of the cage that this machine allows, asked of the kernel and not of holdfast.  With HOLDFAST_NO_SKIP=1 all of
    them are wanted, as a machine that allows less tests less."""
    spaces = {"no network", "no unix socket of the host", "no process of the host is visible", "minimal file system, one writable folder",
              "no shared memory or message queue of the host", "ends with the drill"}
    always = {"unprivileged user", "no credentials in the environment"}
    if os.environ.get("HOLDFAST_NO_SKIP") == "1":
        return always | spaces | {"Landlock", "filter of system calls"}
    rooms = ["--mount", "--net", "--ipc", "--pid", "--fork"] + ([] if os.getuid() == 0 else ["--user", "--map-root-user"])
    allowed = subprocess.run(["unshare", *rooms, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    # landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION); prctl(PR_GET_SECCOMP) is known where filters are.
    libc = ctypes.CDLL(None)
    landlock, seccomp = libc.syscall(444, None, 0, 1) >= 1, libc.prctl(21, 0, 0, 0, 0) >= 0
    return always | (spaces if allowed else set()) | ({"Landlock"} if landlock else set()) | ({"filter of system calls"} if seccomp else set())


def test_hostile_database_stays_in_its_cage(agent, source, new_database, session_folder):
    """R44, R48: what a source's user wrote runs as superuser of the scratch server.  It reaches for the key, for the
    host's files and for the source's socket."""
    name = new_database("hostile")
    loot = os.path.join(session_folder, "loot")
    os.mkdir(loot, 0o777)
    os.chmod(loot, 0o777)
    attack = (f"id >{loot}/id; cp {agent.key} {loot}/key; cat /proc/*/environ >{loot}/env; echo x >/tmp/holdfast-loot; "
              f"{server_bin()}/psql -h {source.host} -U {source.user} -d postgres -c \"create table looted ()\"; true")
    source.sql(name, f"""
        create function attack() returns int language plpgsql as $f$
        begin
            begin execute $c$copy (select 1) to program '{attack.replace("'", "''")}'$c$; exception when others then null; end;
            return 1;
        end $f$;
        -- An index wants an immutable function, and that may not write; what it calls may.
        create function evil() returns int language plpgsql immutable as $f$ begin return public.attack(); end $f$;
        create table t (a int);
        create index on t ((a + evil()));
        create materialized view v as select evil() with no data;
        insert into t values (1)""")
    # It has worked while the source was made, so the attack is one.
    assert os.path.exists(os.path.join(loot, "id"))
    for left in os.listdir(loot):
        os.unlink(os.path.join(loot, left))
    if os.path.exists("/tmp/holdfast-loot"):
        os.unlink("/tmp/holdfast-loot")
    source.sql("postgres", "drop table if exists looted")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    outcome = drill(agent, codes=range(9))
    assert os.listdir(loot) == [] and not os.path.exists("/tmp/holdfast-loot")
    assert source.value("postgres", "select to_regclass('looted') is null") == "t"
    measures = {m["measure"]: m["enforced"] for m in outcome["scratch"]["cage"]}
    missing = enforceable_here() - {name for name, enforced in measures.items() if enforced}
    assert not missing, f"this machine could enforce {missing}: {outcome['scratch']['cage']}"
    shutil.rmtree(loot)


def test_no_drill_without_a_backup(agent, database):
    agent.configure(source={"databases": [database]})
    agent.init()
    result = agent("drill")
    assert result.code in (FAILED, USAGE) and "backup" in result.err, str(result)


@pytest.mark.parametrize("change, verdict", [("", "proven"), ("update big set t = reverse(t) where id = 77", "differs")])
def test_rows_in_another_order_are_the_same_rows(agent, source, new_database, elsewhere, change, verdict):
    """Of a large table that came back in another order the drill takes a second look, which sees one changed letter."""
    name = new_database("ordered")
    source.sql(name, "create table big as select id, 'x' || id || repeat(md5(id::text), 3) as t from generate_series(1, 30000) id;"
                     "create table big_too as table big; create table small as select 1 as a")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    psql = f"{server_bin()}/psql -X -q -A -t -h {elsewhere.host} -p {elsewhere.port} -U {elsewhere.user}"
    script = f"""$REAL "$@" || exit
    case "$*" in *archive-*) ;; *) exit 0;; esac
    scratch=$({psql} -d postgres -c 'select datname from pg_database where not datistemplate order by oid desc limit 1')
    {psql} -d "$scratch" -c "create table other as select * from big order by id desc; truncate big; insert into big table other; drop table other; {change}"
    """
    agent.configure(drill={"bin_dir": bin_dir(agent.work, "bin", pg_restore=script),
                           "server": {"host": elsewhere.host, "port": int(elsewhere.port), "user": elsewhere.user}})
    outcome = drill(agent, codes=[OK, WARNINGS, NOT_PROVEN])
    assert outcome["verdict"] == verdict, outcome["reason"]
    assert outcome["databases"][0]["row_order"] == (["public.big"] if verdict == "proven" else [])
    assert [(d["entry"], d["what"]) for d in outcome["differences"]] == ([] if verdict == "proven" else [("public.big", "content")])
