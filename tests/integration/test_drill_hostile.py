"""What the users of the source wrote runs in the scratch as its superuser (R44, R48), and knows this machine as well as we do."""

import os
import pwd

import pytest
from lib.agent import NOT_PROVEN, OK, WARNINGS
from lib.wrapped import bin_dir


def program(text):
    """A statement for plpgsql that runs a program, and fails in silence, as at the source."""
    return "begin execute $q$copy (select 1) to program $p$" + text + "$p$$q$; exception when others then null; end;"


def test_exchanged_socket_does_not_lead_the_drill_to_production(agent, source, new_database):
    """A CHECK of one table exchanges the socket for a link to the source's, where a database of this name is. The drill's way of
    loading a large table begins with TRUNCATE."""
    name = new_database("exchanged")
    tables = "".join(f"create table app.f{i} as select g id, repeat(md5(g::text), 8) t from generate_series(1, 3000) g;" for i in range(6))
    attack = "cd /scratch && mv .s.PGSQL.5432 .s.real && ln -s " + source.host + "/.s.PGSQL.5432 .s.PGSQL.5432"
    source.sql(name, f"""create schema app;
        create table app.big1 as select g id, repeat(md5(g::text), 8) t from generate_series(1, 20000) g;
        create table app.big2 as select g id, repeat(md5(g::text), 8) t from generate_series(1, 6000) g;
        {tables}
        create function app.ok(x int) returns bool language plpgsql as $f$ begin {program(attack)} return true; end $f$;
        create table app.trap (x int check (app.ok(x))); insert into app.trap values (1)""")
    agent.configure(source={"databases": [name]}, backup={"jobs": 1}, drill={"jobs": 1})
    agent.init()
    agent.backup()
    source.sql(name, "insert into app.big2 select g, 'later' from generate_series(1, 5) g; create table app.marker ()")
    os.chmod(source.folder, 0o755)
    try:
        result = agent("drill", "--json")
    finally:
        os.chmod(source.folder, 0o700)
    assert source.value(name, "select count(*) from app.big2") == "6005"
    assert source.value("postgres", "select count(*) from pg_database where datname = 'exchanged'") == "1"
    # The scratch itself is what was restored, and is proven without a look at production, which is another by now.
    assert result.code in (OK, WARNINGS), str(result)
    assert result.json["verdict"] == "proven" and result.json["databases"][0]["equal"] > 5


FAMILIES = """python3 -c '
import errno, socket
def of(family):
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
        return "open"
    except OSError as e:
        return errno.errorcode[e.errno]
print(of(socket.AF_UNIX), of(socket.AF_INET), of(socket.AF_VSOCK), of(socket.AF_NETLINK))' >families"""


def test_code_of_the_dump_has_unix_sockets_alone(agent, source, new_database):
    """In a virtual machine AF_VSOCK leads to its host, past the namespace that takes the network away."""
    name = new_database("dialling")
    source.sql(name, f"""create function dial() returns text language plpgsql as $f$
        begin {program(FAMILIES)} return rtrim(pg_read_file('families'), E'\\n'); end $f$""")
    expect = "open EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT"
    agent.configure(source={"databases": [name]}, drill={"checks": [{"name": "sockets", "sql": "select dial()", "expect": expect}]})
    agent.init()
    agent.backup()
    result = agent("drill", "--json")
    assert result.json["checks"][0]["value"] == expect and result.json["verdict"] == "proven", str(result)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: root only")
def test_code_of_the_dump_runs_as_nobody_unless_a_user_was_named(agent, database):
    """R48: "postgres" owns production's files, and is its superuser by `peer`."""
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    for user in ("nobody", "postgres"):
        if user != "nobody":
            agent.configure(drill={"user": user})
        result = agent("drill", "--json")
        assert result.code in (OK, WARNINGS) and result.json["verdict"] == "proven", str(result)
        notes = {m["measure"]: m["note"] for m in result.json["scratch"]["cage"]}
        assert notes["unprivileged user"].startswith(f"uid {pwd.getpwnam(user).pw_uid},"), notes


@pytest.mark.skipif(os.getuid() != 0, reason="tells users apart: root only")
@pytest.mark.parametrize("program_name", ["pg_dump", "pg_dumpall"])
def test_what_dumps_the_scratch_again_is_in_the_cage_too(agent, database, program_name):
    """R46: code of the dump owns the server that it reads from."""
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    agent.configure(source={"bin_dir": bin_dir(agent.work, "bin", **{program_name: 'echo "canary $(id -u) $(wc -l </etc/passwd)" >&2; exit 1'})})
    result = agent("drill", "--json")
    nobody = pwd.getpwnam("nobody").pw_uid
    # The list of users is the cage's: root and nobody.
    assert result.code == NOT_PROVEN and f"canary {nobody} 2" in result.json["reason"], str(result)
