"""What somebody new mistypes or has not set up yet: the message names what is wrong, what there is, and what to do."""

import json
import os
import re

import pytest

from lib.agent import DATABASE, FAILED, OK, STORE, USAGE, WARNINGS


@pytest.fixture
def ready(agent, new_database, source):
    """A repository with one backup of a database with a name of its own."""
    name = new_database("telemetry")
    source.sql(name, 'create schema app; create table app.traces as select 1 as a; create table app.scores as select 2 as a; '
               'create view app.recent as select * from app.traces; create table "Odd" (a int)')
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    return agent


def lines(agent, **more):
    result = agent("check", "--json", **more)
    return result, {(line["area"], line["what"]): line for line in result.json["lines"]}


# ---- names of databases and roles ----

def test_a_mistyped_database_is_answered_with_the_one_that_is_near(ready):
    hint = 'hint: Is "telemetry" meant?'
    ready.fails(FAILED, "backup", "--database", "telemtry", says=['the server has no database "telemtry"', hint, "--database"])
    ready.fails(FAILED, "restore", "latest", "--database", "telemtry", says=['holds no database "telemtry"', hint])
    listed = ready.fails(WARNINGS, "list", "--database", "telemtry", says=['no backup holds a database "telemtry": Is "telemetry" meant?'])
    assert "no backup yet" not in listed.text
    ready.configure(source={"databases": ["telemtry"]})
    ready.fails(FAILED, "backup", says=['the server has no database "telemtry"', hint, "source.databases"])
    result, found = lines(ready)
    assert found["source", "database telemtry"]["state"] == "error"
    assert found["source", "database telemtry"]["fix"] == 'Is "telemetry" meant? Correct `source.databases`.'
    assert result.code == FAILED, "as `backup` says it"
    assert len(ready.list()) == 1


def test_a_database_that_is_like_none_is_answered_with_a_few_that_there_are(ready, new_database):
    for i in range(6):
        new_database(f"reports {i}")
    result = ready.fails(FAILED, "backup", "--database", "zzz", says='hint: There are "')
    hint = re.search(r"hint: There are (.*?)\. ", result.err).group(1)
    assert hint.count('"') == 10 and re.search(r" and \d+ more$", hint), hint


def test_a_role_that_does_not_exist_is_named_with_where_it_is_set(ready):
    ready.configure(source={"user": "holdfst"})
    ready.fails(FAILED, "backup", says=['role "holdfst" does not exist', "source.user"])
    result, found = lines(ready)
    assert result.code == FAILED and "source.user" in found["source", "connect"]["fix"]


def test_a_template_can_still_be_backed_up_by_its_name(ready):
    assert ready.backup("--database", "template1")["databases"] == ["template1"]


def test_a_mistyped_holder_is_answered_with_the_one_that_is_near(ready):
    ready.fails(FAILED, "keys", "remove", "recvery", says=['no holder "recvery"', 'Is "recovery" meant?'])


def test_a_report_that_cannot_be_written_names_the_file_that_was_asked_for(ready):
    ready.fails(FAILED, "report", "--output", "/nonexistent/report.html", says='report to "/nonexistent/report.html"')


# ---- what to restore ----

@pytest.mark.parametrize("words,says", [
    (["--table", "ap.traces"], ['the backup has no table "ap.traces"', 'Is "app.traces" meant?']),
    (["--table", "traces"], ['the backup has no table "traces"', 'Is "app.traces" meant?', "schema.table"]),
    (["--table", "app.trace*", "--table", "app.x*"], ['no table "app.x*"', '"app.scores"']),
    (["--table", 'public."Odd"'], ['Is "public.Odd" meant?', "without quotes"]),
    (["--schema", "apps"], ['no schema with tables "apps"', 'Is "app" meant?']),
    (["--schema", "frobnicate"], ['There are "app", "public"']),
], ids=["schema", "no_schema", "pattern", "quotes", "near_schema", "far_schema"])
def test_a_mistyped_table_is_found_out_before_anything_is_made(ready, restored, words, says):
    before = restored.databases()
    result = ready("restore", "latest", "--host", restored.host, "--port", restored.port, "--user", restored.user, "--into", "mistyped", *words)
    assert result.code == FAILED, str(result)
    for text in says + ["Nothing was changed."]:
        assert text in result.err, str(result)
    assert "half a restore" not in result.err and "taken away" not in result.err
    assert restored.databases() == before


def test_a_view_can_be_named_though_it_holds_no_rows(ready, restored):
    ready.restored(restored, "view", "--table", "app.recent")
    assert restored.value("view", "select count(*) from pg_views where viewname = 'recent'") == "1"


def test_a_mistyped_stream_is_answered_with_the_one_that_is_near(ready):
    ready.fails(FAILED, "cat", "latest", "telemetry/pre-dat", says='Is "telemetry/pre-data" meant?')


# ---- check ----

SKIPPED = [("repository", "open"), ("repository", "backups"), ("keys", "holders"), ("store", "write and read")]


def one_fault(agent, what, code, *says):
    """`check` shows one error for the store, what hangs on it as not looked at, and ends as `list` does."""
    result, found = lines(agent)
    assert found["store", what]["state"] == "error", result.out.decode()
    for text in says:
        assert text in found["store", what]["detail"], found["store", what]
    assert [k for k, line in found.items() if line["state"] == "error"] == [("store", what)]
    for key in SKIPPED:
        assert found[key]["state"] == "skipped" and found[key]["detail"].startswith("not looked at, because the store"), found[key]
    assert found["source", "connect"]["state"] == "ok", "the rest is looked at all the same"
    assert agent("list").code == result.code == code
    assert re.search(r"^- +keys +holders +not looked at, because", agent("check").text, re.M)


def test_check_names_what_is_wrong_with_a_folder_once(ready):
    os.rename(ready.repository.path, ready.repository.path + ".away")
    try:
        one_fault(ready, "folder", USAGE, ready.repository.path)
    finally:
        os.rename(ready.repository.path + ".away", ready.repository.path)


@pytest.mark.parametrize("change,what,code,says", [
    ({"secret_key_file": "wrong secret"}, "credentials", FAILED, "SignatureDoesNotMatch"),
    ({"access_key_file": "wrong key"}, "credentials", FAILED, "InvalidAccessKeyId"),
    ({"bucket": "no-such-bucket-here"}, "bucket", USAGE, "no-such-bucket-here"),
    ({"endpoint": "http://127.0.0.1:9"}, "endpoint", STORE, "127.0.0.1:9"),
], ids=["secret", "key", "bucket", "endpoint"])
def test_check_names_what_is_wrong_with_a_bucket_once(make_agent, s3, new_database, work, change, what, code, says):
    agent = make_agent(s3, databases=[new_database("telemetry")])
    agent.init()
    for key in [k for k in change if k.endswith("_file")]:
        path = os.path.join(work, "wrong")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write("WRONGWRONGWRONGWRONG\n")
        change = {**change, key: path}
    agent.configure(repository={"attempts": 1, "s3": change})
    one_fault(agent, what, code, says)


def test_check_without_a_repository_says_so_once(agent, new_database):
    os.makedirs(agent.repository.path, exist_ok=True)
    result, found = lines(agent)
    assert found["store", "reach"]["state"] == "ok"
    assert "holdfast init" in found["repository", "open"]["fix"]
    assert found["keys", "holders"]["detail"] == "not looked at, because the repository was not opened"
    assert result.code == FAILED == agent("list").code


def test_check_without_a_server_does_not_guess_about_the_drill(ready):
    ready.configure(source={"host": "/nonexistent"})
    result, found = lines(ready)
    assert found["source", "connect"]["state"] == "error" and found["drill", "scratch"]["state"] == "skipped"
    assert found["repository", "backups"]["state"] == "ok"
    assert result.code == DATABASE == ready("backup").code


# ---- warnings ----

def test_a_backup_that_waited_for_a_lock_ends_with_3(ready, source):
    ready.configure(backup={"lock_timeout": "1s", "lock_attempts": 2})
    with source.session("telemetry") as other:
        other.run("begin")
        other.run("lock table app.traces in access exclusive mode")
        process = ready.start("backup", "--json")
        line = process.stderr.readline().decode()
        assert "trying again" in line and "app.traces" in line, line
        other.run("rollback")
        out, err = process.communicate(timeout=60)
    assert process.returncode == WARNINGS, err.decode()
    warnings = json.loads(out)["warnings"]
    assert len(warnings) == 1 and "trying again" in warnings[0]
    assert "trying again" not in err.decode(), "said twice"


def test_whatever_is_said_as_a_warning_is_in_the_outcome_and_makes_3(ready):
    """A cache that cannot be written to is found deep below every command."""
    ready.configure(repository={"cache_dir": "/proc/none"})
    for words in (["list"], ["show", "latest"], ["verify"], ["expire", "--plan"], ["report"]):
        result = ready(*words, "--json")
        said = len(re.findall(r"^holdfast: warning: ", result.err, re.M))
        assert len(result.json["warnings"]) == said, str(result)
        assert result.code == (WARNINGS if said else OK), str(result)


def test_a_report_whose_signer_was_removed_is_printed_with_a_warning(ready, work):
    key = os.path.join(work, "verifier")
    public = ready.ok("keys", "identity", "verifier", "--key-out", key, "--json").json["public_key"]
    ready.ok("keys", "add", "verifier", "--public-key", public)
    assert ready("drill", "--key-file", key).code in (OK, WARNINGS)
    assert ready.ok("report", "--json").json["signature"]["holder"] == "verifier"
    ready("keys", "remove", "verifier")
    result = ready.fails(WARNINGS, "report", "--json", says="its signer is no holder")
    assert result.json["signature"]["valid"] is False
