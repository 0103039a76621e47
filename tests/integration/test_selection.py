"""A part of a backup comes back with all that belongs to it, or says what is missing: never less in silence (R10)."""

import re

import pytest
from lib.agent import OK, WARNINGS
from lib.cluster import connection_string

SHOP = """
create schema app; create schema parts;
create table app.events (id int, at date, body text, primary key (id, at)) partition by range (at);
create table app.e1 partition of app.events for values from ('2020-01-01') to ('2021-01-01') partition by range (at);
create table parts.e1a partition of app.e1 for values from ('2020-01-01') to ('2020-07-01');
create table app.e2 partition of app.events for values from ('2021-01-01') to ('2022-01-01');
create index on app.events (at);
insert into app.events select n, '2020-02-02', repeat(md5(n::text), 9) from generate_series(1, 5000) n;
insert into app.events select n, '2021-02-02', 'few' from generate_series(1, 7) n;
create table app.ref (id int, at date, v int unique, foreign key (id, at) references app.events);
insert into app.ref values (1, '2020-02-02', 1);
create sequence app.free;
select setval('app.free', 77);
create table app.other (id int primary key default nextval('app.free'), a int, b int);
insert into app.other values (1, 1, 1);
comment on index app.other_pkey is 'of an index';
create statistics app.st on a, b from app.other;
comment on statistics app.st is 'of statistics';
create view app.grouped as select id, a from app.other group by id;
create table app.log (what text);
create rule r as on delete to app.other do also insert into app.log values ('gone');
create function app.f() returns trigger language plpgsql as 'begin return new; end';
create trigger t after insert on app.other for each row execute function app.f();
comment on trigger t on app.other is 'of a trigger';
alter table app.other enable row level security;
create policy pol on app.other using (a in (select v from app.ref));
comment on policy pol on app.other is 'of a policy';
create materialized view app.m as select count(*) from app.other;
create materialized view app.m2 as select * from app.m;
create unique index on app.m2 (count);
alter table app.other add constraint fk3 foreign key (a) references app.ref(v);
comment on constraint fk3 on app.other is 'of a key';
alter table app.other add constraint ck check (a > 0) not valid;
create table app."odd ONLY app.ref" ("x REFERENCES app.other(id)" int references app.ref(v));
create publication pub for table app.other;
create function app.et() returns event_trigger language plpgsql as $$begin raise 'not here'; end$$;
"""


@pytest.fixture
def shop(agent, source, new_database):
    name = new_database("shop")
    source.sql(name, SHOP)
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    return agent


def statements(cluster, database, table, section):
    """What pg_dump has of one table, a statement a line of the set."""
    text = cluster.client("pg_dump", "-Fp", "-t", table, "--section", section, "-d", connection_string(database)).decode()
    lines = [line for line in text.split("\n") if not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_config"))]
    return {s.strip() for s in re.split(r";\n", "\n".join(lines)) if s.strip()}


def invalid(cluster, database):
    return cluster.sql(database, "select indexrelid::regclass from pg_index where not indisvalid")


@pytest.mark.parametrize("jobs", [1, 4])
def test_partitioned_table_brings_its_partitions(shop, source, restored, jobs):
    """Two levels, one of them in another schema and with a stream of its own."""
    outcome = shop.restored(restored, "one", "--table", "app.events", "--jobs", str(jobs))
    sums = "select tableoid::regclass::text, count(*), sum(hashtext(body)) from app.events group by 1 order by 1"
    assert len(restored.sql("one", sums)) == 2 and restored.sql("one", sums) == source.sql("shop", sums)
    names = "select oid::regclass from pg_class where oid >= 16384 and relkind in ('r', 'p', 'v', 'm', 'S') order by 1"
    assert sorted(restored.sql("one", names)) == ["app.e1", "app.e2", "app.events", "parts.e1a"]
    assert invalid(restored, "one") == [] and outcome["warnings"] == []
    for table in ("app.events", "app.e1", "app.e2", "parts.e1a"):
        assert statements(restored, "one", table, "post-data") == statements(source, "shop", table, "post-data")


def test_partition_alone_keeps_what_it_is_a_part_of(shop, source, restored):
    shop.restored(restored, "one", "--table", "parts.e1a")
    assert restored.value("one", "select count(*) from app.events") == "5000"
    names = "select oid::regclass from pg_class where oid >= 16384 and relkind in ('r', 'p') order by 1"
    assert sorted(restored.sql("one", names)) == ["app.e1", "app.events", "parts.e1a"] and invalid(restored, "one") == []


def test_schema_comes_whole(shop, source, restored):
    """Partitions in another schema, their indexes attached, and the key that points to them."""
    outcome = shop.restored(restored, "one", "--schema", "app")
    assert invalid(restored, "one") == []
    for table in ("app.events", "parts.e1a", "app.ref", "app.other", "app.m2", 'app."odd ONLY app.ref"'):
        assert statements(restored, "one", table, "post-data") == statements(source, "shop", table, "post-data")
    assert restored.value("one", "select count(*) from app.ref join app.events using (id, at)") == "1"
    # Publications belong to the database: that the table was in one is said.
    assert len(outcome["warnings"]) == 1 and "app.other" in outcome["warnings"][0] and "pub" in outcome["warnings"][0]


def test_table_comes_with_each_thing_that_belongs_to_it(shop, source, restored):
    result = shop.restore(restored, "one", "--table", "app.other")
    assert result.code == WARNINGS
    there, here = (statements(c, d, "app.other", "post-data") for c, d in ((source, "shop"), (restored, "one")))
    wanted = ["RULE r", "'of an index'", "'of a trigger'", "'of a policy'", "TRIGGER t ", "ROW LEVEL SECURITY", "POLICY pol", "CONSTRAINT ck"]
    assert [word for word in wanted if not any(word in s for s in here)] == []
    # Not every pg_dump -t has these.
    assert restored.sql("one", "select stxname, obj_description(oid, 'pg_statistic_ext') from pg_statistic_ext") == ["st|of statistics"]
    # The key to a table that was not asked for cannot be; it is said by name, and so is the publication.
    assert here <= there and all("fk3" in s for s in there - here) and len(there - here) == 2
    keys = [w for w in result.json["warnings"] if "fk3" in w]
    assert len(keys) == 1 and "app.ref" in keys[0] and len(result.json["warnings"]) == 2
    # What a rule, a policy and a default need is there; the sequence has its value.
    tables = "select string_agg(relname, ' ' order by relname) from pg_class where oid >= 16384 and relkind in ('r', 'p', 'v', 'm', 'S')"
    assert restored.value("one", tables) == "free log other ref"
    assert restored.value("one", "select last_value from app.free") == "77"


def test_views_come_with_what_they_look_at(shop, source, restored):
    """A view that is grouped by a key gets its body in post-data; a materialized one is filled from another."""
    result = shop.restore(restored, "one", "--table", "app.grouped", "--table", "app.m2")
    assert result.code == OK, str(result)
    for table in ("app.grouped", "app.m2"):
        assert statements(restored, "one", table, "pre-data") == statements(source, "shop", table, "pre-data")
        assert statements(restored, "one", table, "post-data") == statements(source, "shop", table, "post-data")
    assert restored.sql("one", "select * from app.grouped") == [] and restored.value("one", "select count from app.m2") == "0"


def test_table_with_a_name_like_sql_comes_back(shop, restored):
    result = shop.restore(restored, "one", "--table", "app.odd ONLY app.ref", "--table", "app.ref")
    assert result.code == WARNINGS and len(result.json["warnings"]) == 1 and "app.events" in result.json["warnings"][0]
    assert restored.value("one", "select count(*) from pg_constraint where contype = 'f'") == "1"
