"""Names of tables are bytes in the encoding of their database; in a backup each has a text of its own, and finds its table again."""

import pytest
from lib.agent import OK, WARNINGS
from lib.cluster import connection_string

# What the names are in bytes, which only a client that does not convert can say.
TABLES = {
    "WIN1251": ["заказы".encode("cp1251"), "товары".encode("cp1251")],
    "LATIN1": ["café".encode("latin1"), "cafè".encode("latin1")],
    "SQL_ASCII": [b"\xff\xfe", b"\xfe\xff", "漢".encode(), b"\\xFF\\xFE"],
}


def text_of(name):
    """As docs/repository-format.md has it, by another hand."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return "".join(chr(b) if b < 0x80 else f"\\x{b:02X}" for b in name)
    return text.replace("\\xF", "\\x5CxF")


def bytes_sql(cluster, database, sql):
    return cluster.client("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", connection_string(database), input=sql)


def count(cluster, database, table):
    return bytes_sql(cluster, database, b'select count(*), min(id), max(body) from "' + table + b'"')


@pytest.mark.parametrize("large_table", [1 << 20, 1 << 30], ids=["streams", "rest"])
@pytest.mark.parametrize("encoding", TABLES)
def test_tables_with_names_in_an_encoding_come_back(agent, source, restored, encoding, large_table):
    name, tables = f"in {encoding}", TABLES[encoding]
    source.sql("postgres", f"create database \"{name}\" template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'")
    try:
        for i, table in enumerate(tables):
            bytes_sql(source, name, b'create table "' + table + b'" as select g as id, repeat(md5(g::text), 8) || \'' + table.replace(b"\\", b"") +
                      b"' as body from generate_series(%d, %d) g" % (1000 * i, 1000 * i + 5000 + i))
        agent.configure(source={"databases": [name]}, backup={"large_table": large_table})
        agent.init()
        backup = agent.backup()
        shown = agent.ok("show", "latest", "--json").json
        assert {text_of(t) for t in tables} <= {e["name"].split(".", 1)[1].strip('"') for e in shown["entries"] if e["type"] == "table"}
        drilled = agent("drill", "--json")
        assert drilled.code in (OK, WARNINGS) and drilled.json["verdict"] == "proven", str(drilled)
        agent.restored(restored, "all")
        for table in tables:
            assert count(restored, "all", table) == count(source, name, table)
        for i, table in enumerate(tables):
            agent.restored(restored, f"one {i}", "--table", "public." + text_of(table))
            assert count(restored, f"one {i}", table) == count(source, name, table)
            assert restored.value(f"one {i}", "select count(*) from pg_class where relkind = 'r' and oid >= 16384") == "1"
            if large_table == 1 << 20:
                archive = agent.ok("cat", backup["id"], f'{name}/public."{text_of(table)}"').out
                assert archive.startswith(b"PGDMP") and b"TABLE DATA" in archive and table in archive
    finally:
        source.drop(name)


def test_a_role_with_an_encoding_of_its_own_converts_nothing(agent, source):
    """pg_dump takes a role's client_encoding for its own: what has no place in it would fail, and the rest be other bytes."""
    body = "\u20ac \u6f22 \u00e9"
    source.sql("postgres", "create database converted template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'")
    try:
        source.sql("converted", f"create table t as select '{body}' as body")
        source.sql("postgres", "alter role postgres set client_encoding = 'LATIN1'")
        agent.configure(source={"databases": ["converted"]})
        agent.init()
        backup = agent.backup()
        assert body.encode() in agent.ok("cat", backup["id"], "converted/rest").out
        assert agent("drill", "--json").json["verdict"] == "proven"
    finally:
        source.sql("postgres", "alter role postgres reset client_encoding")
        source.drop("converted")
