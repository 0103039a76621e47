"""What belongs to the server and not to a database comes back too, or the drill names what did not (R32)."""

import pytest
from lib.agent import NOT_PROVEN, OK, WARNINGS
from lib.cluster import quote, server_bin
from lib.wrapped import bin_dir

ROLES = ("t_chief", "t_staff", "t_temp", "t_idle", '"t ""odd"" TO role"')


@pytest.fixture
def staffed(agent, source, database):
    """A backup of a server with nested memberships, passwords, and settings of roles."""
    make = f"""
        create role t_chief login password 'canary of t_chief' connection limit 7 valid until '2031-05-01 12:00+03';
        create role t_staff; create role t_temp createdb; create role t_idle; create role {ROLES[4]};
        grant t_staff to t_chief with admin option; grant t_temp to t_staff; grant pg_read_all_data to t_temp; grant {ROLES[4]} to t_temp;
        alter role t_staff set work_mem = '7MB'; alter role t_staff set search_path = app, "odd ""schema", public;
        alter role t_staff in database {quote(database)} set statement_timeout = '11s'; comment on role t_temp is 'it''s; a \\ comment';
        grant set on parameter log_min_messages to t_staff"""
    try:
        source.sql("postgres", make)
        # VALID UNTIL is written in the server's time zone.
        source.sql("postgres", "alter role postgres set timezone = 'Asia/Kolkata'; alter role postgres set datestyle = 'German'")
        agent.secrets += ["canary of t_chief", source.value("postgres", "select rolpassword from pg_authid where rolname = 't_chief'")]
        agent.configure(source={"databases": [database]})
        agent.init()
        agent.backup()
        yield agent
    finally:
        source.sql("postgres", "alter role postgres reset timezone; alter role postgres reset datestyle;"
                   "revoke set on parameter log_min_messages from t_staff; drop role " + ", ".join(ROLES))


def drill(agent, *words, codes=(OK, WARNINGS)):
    result = agent("drill", "--json", *words)
    assert result.code in codes, str(result)
    return result.json


def spoiled(agent, name, sql):
    """The programs of PostgreSQL, of which pg_restore loses something of the scratch cluster afterwards."""
    psql = f"{server_bin()}/psql -X -q -d postgres -v ON_ERROR_STOP=1"
    return bin_dir(agent.work, name, pg_restore=f'$REAL "$@" || exit\n{psql} -c "{sql}" 2>/dev/null\nexit 0')


def test_roles_are_compared_and_proven(staffed):
    outcome = drill(staffed)
    assert outcome["verdict"] == "proven" and outcome["differences"] == []
    assert outcome["globals"]["statements"] == outcome["globals"]["equal"] > 15
    assert any('of role "postgres"' in sentence for sentence in outcome["not_covered"])
    assert not any("memberships" in sentence or "passwords of roles" in sentence for sentence in outcome["not_covered"])


@pytest.mark.parametrize("name, sql, expected", [
    ("role", "drop role t_idle", {"role t_idle": "missing", "attributes of role t_idle": "missing"}),
    ("membership", "revoke t_temp from t_staff", {"membership of t_staff in t_temp": "missing"}),
    ("odd", 'revoke \\"t \\"\\"odd\\"\\" TO role\\" from t_temp', {'membership of t_temp in "t ""odd"" TO role"': "missing"}),
    ("grant option", "revoke admin option for t_staff from t_chief", {"membership of t_chief in t_staff": "content"}),
    ("setting", "alter role t_staff reset work_mem", {"setting work_mem of role t_staff": "missing"}),
    ("value", "alter role t_staff set search_path = app", {"setting search_path of role t_staff": "content"}),
    ("attribute", "alter role t_temp nocreatedb", {"attributes of role t_temp": "content"}),
    ("moment", "alter role t_chief valid until '2031-05-01 12:00:01+03'", {"attributes of role t_chief": "content"}),
    ("password", "alter role t_chief password 'another'", {"password of role t_chief": "content"}),
    ("no password", "alter role t_chief password null", {"password of role t_chief": "missing"}),
    ("right", "revoke set on parameter log_min_messages from t_staff", {"rights on parameter log_min_messages": "missing"}),
    ("comment", "comment on role t_temp is null", {"comment on role t_temp": "missing"}),
    ("extra", "create role t_more", {"role t_more": "extra", "attributes of role t_more": "extra"}),
])
def test_what_is_lost_is_named(staffed, name, sql, expected):
    staffed.configure(drill={"bin_dir": spoiled(staffed, "bin", sql)})
    outcome = drill(staffed, codes=[NOT_PROVEN])
    assert outcome["verdict"] == "differs", outcome["reason"]
    assert {d["entry"]: d["what"] for d in outcome["differences"]} == expected
    assert all(d["database"] is None for d in outcome["differences"])
    assert next(iter(sorted(expected))) in outcome["reason"], name
    assert staffed.list()[0]["last_verdict"] == "differs"
    # The report of it says so too, with the same names.
    shown = staffed("report").out.decode()
    assert all(entry.split(" of role")[0] in shown for entry in expected)


def test_roles_on_a_named_server_are_said_to_be_not_covered(staffed, elsewhere):
    staffed.configure(drill={"server": {"host": elsewhere.host, "port": int(elsewhere.port), "user": elsewhere.user}})
    try:
        outcome = drill(staffed)
        assert "globals" not in outcome
        assert any("memberships" in sentence and "not compared" in sentence for sentence in outcome["not_covered"])
    finally:
        elsewhere.sql("postgres", "revoke set on parameter log_min_messages from t_staff; drop role if exists " + ", ".join(ROLES))
