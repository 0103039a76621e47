"""What every command prints of real outcomes: the text holds the facts and no mistake of grammar, the JSON has the members that
docs/outcomes.md promises and no others, and the exit code is the one that the manual names."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import tempfile
import termios

import pytest

from lib.agent import DATABASE, FAILED, LOCKED, NOT_PROVEN, OK, REFUSED, STORE, USAGE, WARNINGS, Agent
from lib.repository import Folder

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
NAME = "words and text"


# ---- one story, told once: what each command said ----

class Story:
    def __init__(self, agent, source, elsewhere):
        self.agent, self.source, self.elsewhere, self.said = agent, source, elsewhere, {}

    def tell(self, name, code, *words, **more):
        """The same command twice where that does no harm: as text, and as JSON."""
        result = self.agent(*words, **more)
        assert result.code == code, str(result)
        self.said[name] = result
        return result

    def both(self, name, code, *words):
        self.tell(name, code, *words)
        self.tell(name + " json", code, *words, "--json")

    def text(self, name):
        return self.said[name].text

    def json(self, name):
        return self.said[name + " json"].json


@pytest.fixture(scope="module")
def story(session_folder, source, elsewhere):
    work = tempfile.mkdtemp(prefix="t", dir=session_folder)
    os.chmod(work, 0o711)
    source.create(NAME, "everything")
    agent = Agent(work, source, Folder(work), databases=[NAME])
    s = Story(agent, source, elsewhere)
    to = ("--host", elsewhere.host, "--port", elsewhere.port, "--user", elsewhere.user)

    s.tell("init refused", REFUSED, "init")
    s.tell("init json", WARNINGS, "init", "--accept-single-key", "--json")
    s.both("empty list", OK, "list")
    s.both("empty report", OK, "report")
    s.tell("first backup", OK, "backup", "--label", "before the change")
    first = agent.list()[0]["id"]
    s.both("undrilled report", OK, "report")
    s.both("suspect check", WARNINGS, "check")
    source.sql(NAME, "insert into app.second values (2), (3); create table app.fresh (a int)")
    s.both("backup", OK, "backup")
    s.both("list", OK, "list")
    s.both("show", OK, "show", "latest")
    s.both("compare", OK, "show", "latest", "--compare-with", first[:8])
    s.both("hold", OK, "hold", first[:8])
    s.both("drill", OK, "drill")
    s.both("report", OK, "report")
    s.both("report latest", OK, "report", "latest")
    s.both("report of first", FAILED, "report", first[:8])
    s.both("verify", OK, "verify", "--data")
    s.both("plan", OK, "expire", "--plan")
    s.both("expire", OK, "expire")
    s.both("keys list", WARNINGS, "keys", "list")
    s.tell("restore", OK, "restore", "latest", *to, "--into", "as text")
    s.tell("restore json", OK, "restore", "latest", *to, "--into", "as json", "--json")
    s.both("restore over", REFUSED, "restore", "latest", *to, "--into", "as text")
    s.tell("one table", OK, "restore", "latest", *to, "--into", "one table", "--table", "app.second")
    s.both("to the source", REFUSED, "restore", "latest")
    s.both("effective", OK, "check", "--effective")
    s.both("no such backup", FAILED, "show", "ffffffff")
    agent.configure(drill={"checks": [{"name": "more rows", "sql": "select count(*) > 1000000 from app.second"}]})
    s.both("failed drill", NOT_PROVEN, "drill")
    s.both("failed report", OK, "report")
    agent.configure(drill={"checks": None})
    s.first = first
    yield s
    for name in ("as text", "as json", "one table"):
        elsewhere.drop(name)
    source.drop(NAME)


# ---- text ----

TEXTS = ["empty list", "empty report", "first backup", "undrilled report", "suspect check", "backup", "list", "show", "compare", "hold", "drill",
         "report", "verify", "plan", "expire", "keys list", "restore", "one table", "effective", "failed drill", "failed report"]


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_written_for_people(story, name):
    text = story.text(name)
    assert text and text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text), "a control character"
    for line in text.splitlines():
        assert line == line.rstrip(" "), repr(line)
    # One of a thing and several of it.
    wrong = re.search(r"(?<![\d,.])1 (backups|packs|chunks|objects|entries|problems|tables|checks|indexes)\b", text)
    assert not wrong, wrong and wrong.group(0)
    # A number that nobody set, a member that nobody filled.
    assert not re.search(r"\(null\)|\bnull\b|18446744073709551615|-1 (ms|bytes)", text)


def test_a_list_of_nothing_says_what_to_do_next(story):
    assert "holdfast backup" in story.text("empty list")
    assert "holdfast drill" in story.text("undrilled report") and "NO DRILL YET" in story.text("undrilled report")
    assert "holdfast backup" in story.text("empty report")


def test_the_text_of_a_backup_has_its_facts(story):
    text, id = story.text("first backup"), story.first
    for fact in (id, NAME, '"before the change"'.strip('"'), "not yet: holdfast drill"):
        assert fact in text


def test_list_and_show_tell_backups_apart(story):
    text = story.text("list")
    for b in story.json("list")["backups"]:
        assert b["id"][:12] in text
    assert '"before the change"' in text
    rows = {e["name"]: e["rows"] for e in story.json("show")["entries"]}
    assert re.search(rf"^table +{rows['app.second']} .* app\.second$", story.text("show"), re.M)
    for stream in story.json("show")["streams"]:
        assert stream["name"] in story.text("show")


def test_a_comparison_names_what_changed_and_since_when(story):
    text = story.text("compare")
    assert story.first[:12] in text
    assert re.search(r"^changed +1 +3 +app\.second$", text, re.M)
    assert re.search(r"^added +0 +app\.fresh$", text, re.M)
    assert "STREAM" not in text and "app.parent" not in text, "what did not change is not asked for"
    assert {(c["name"], c["change"]) for c in story.json("compare")["changes"]} == {("app.second", "changed"), ("app.fresh", "added")}


def test_a_restore_says_where_to_and_what_next(story):
    text = story.text("restore")
    assert re.search(r"^into +as text$", text, re.M)
    assert f'ALTER DATABASE "as text" RENAME TO "{NAME}"' in text
    # A choice of tables takes nothing's place, and has not the rows of the whole.
    assert "RENAME" not in story.text("one table") and not re.search(r"^rows ", story.text("one table"), re.M)


@pytest.mark.parametrize("name", ["init refused", "restore over", "to the source", "no such backup"])
def test_what_failed_prints_no_facts_that_look_like_success(story, name):
    result = story.said[name]
    assert result.text == ""
    assert result.err.count("holdfast: ") >= 1 and "holdfast: hint: " in result.err


def test_a_failed_command_keeps_its_outcome_in_json(story):
    outcome = story.json("restore over")
    assert outcome["into"] == "as text" and outcome["backup"]["id"]
    assert outcome["error"]["kind"] and outcome["error"]["message"] in story.said["restore over json"].err


def test_a_drill_says_what_failed_once(story):
    outcome, result = story.json("failed drill"), story.said["failed drill"]
    assert outcome["verdict"] == "differs" and outcome["reason"].startswith("1 check failed")
    assert result.err.count("1 check failed") == 1 and "not proven (differs): 1 check failed" in result.err
    words = " ".join(result.text.replace("│", " ").split())
    assert "DIFFERS" in words and "every entry came back equal, but it is not proven: 1 check failed" in words
    # The same fact in the list.
    assert story.agent.list()[0]["last_verdict"] == "differs" and story.agent.list()[0]["proven"] is None


def test_latest_is_the_newest_report_where_reports_are_asked_for(story):
    for said in ("empty report", "undrilled report"):
        assert story.json(said)["drill"] is None
    assert story.json("report latest")["drill"] == story.json("report")["drill"] != None
    assert "was never drilled" in story.said["report of first"].err and "holdfast drill" in story.said["report of first"].err
    # A newer backup that nobody has drilled changes neither.
    story.agent.backup()
    for words in (["report"], ["report", "latest"]):
        assert story.agent.ok(*words, "--json").json["drill"] == story.json("failed report")["drill"]


def test_a_plan_deletes_nothing_and_says_so(story):
    assert "nothing was deleted" in story.text("plan")
    assert story.json("plan")["deleted_backups"] == 0 and "deleted_packs" not in story.json("plan")


def test_every_format_of_a_report_tells_the_verdict(story, tmp_path):
    # The newest drill is the one that failed.
    for format, verdict in (("text", "DIFFERS"), ("md", "Differs"), ("html", "Differs"), ("json", '"differs"')):
        path = str(tmp_path / f"report.{format}")
        story.agent.ok("report", "latest", "--format", format, "--output", path)
        with open(path, encoding="utf-8") as f:
            assert verdict in f.read()
        assert os.stat(path).st_mode & 0o777 == 0o600
    story.agent.fails(FAILED, "report", story.first[:8], says=["was never drilled", "holdfast drill"])


# ---- on a terminal ----

def on_terminal(agent, columns, *words):
    """What a terminal of that width was sent, stdout and stderr in their order, and the exit code."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {**agent.environment(), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(agent.command(*words), env=env, cwd=agent.work, stdin=follower, stdout=follower, stderr=follower) as p:
        os.close(follower)
        sent = b""
        while True:
            try:
                got = os.read(leader, 65536)
            except OSError:
                break
            sent += got
            if not got:
                break
        code = p.wait(timeout=300)
    os.close(leader)
    return sent.decode(), code


def columns_of(line):
    """Widths as the names in the tests' database have them: one column, wide ones two."""
    return sum(2 if 0x2e80 < ord(c) < 0xa000 or ord(c) > 0x1f000 else 1 for c in line)


@pytest.mark.parametrize("columns", [80, 130])
@pytest.mark.parametrize("words", [("show", "latest"), ("report",), ("expire", "--plan"), ("keys", "list")], ids=" ".join)
def test_what_stands_in_columns_fits_the_terminal(story, words, columns):
    sent, _ = on_terminal(story.agent, columns, *words)
    for line in sent.replace("\r\n", "\n").splitlines():
        if not line.startswith("holdfast: "):
            assert columns_of(line) <= columns, line


def test_warnings_stand_behind_the_output_that_they_speak_of(story):
    for words, fact in ((("check",), "scratch"), (("keys", "list"), "recovery")):
        sent, code = on_terminal(story.agent, 130, *words)
        assert code == WARNINGS
        assert sent.rindex(fact) < sent.index("holdfast: warning: ")
    sent, code = on_terminal(story.agent, 130, "restore", "latest", "--host", "/nonexistent")
    assert code == DATABASE and "restored" not in sent


def test_progress_names_what_is_at_work_and_is_gone_at_the_end(story):
    sent, code = on_terminal(story.agent, 100, "drill", story.first)
    assert code == OK
    drawn = [d.split("\r\n")[0] for d in sent.split("\r\x1b[K")[1:]]
    assert any(d.startswith("scratch cluster") for d in drawn), drawn
    for line in drawn[:-1]:
        assert columns_of(line) < 100 and "0 bytes" != line.split(": ")[-1]
    # Taken away before the outcome is printed.
    assert drawn[-1] == "" or drawn[-1].startswith("┌"), drawn[-1]


# ---- JSON ----

def section(name):
    with open(os.path.join(ROOT, "docs/outcomes.md"), encoding="utf-8") as f:
        text = f.read()
    return re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)


def outside_brackets(text):
    """Without what stands in (...), however deep."""
    out, depth = [], 0
    for c in text:
        depth += c == "("
        if depth == 0:
            out.append(c)
        depth -= c == ")"
    return "".join(out)


def words(text):
    return re.findall(r"`(\w+)`", outside_brackets(text))


def parts(text):
    """`a`, `b` (array of `x`, `y`); `c`: array of `z`; `d`: `e`, `f` as {a: None, b: [x, y], c: [z], d: [e, f]}."""
    found = {}
    text = re.sub(r"\s+", " ", text)
    for clause in re.split(r";(?![^(]*\))", text):
        m = re.match(r"\s*`(\w+)`: (array[^`]* of )?(?=`)(.*)", clause)
        if m:
            found[m.group(1)] = words(m.group(3))
            continue
        for name in words(clause):
            found.setdefault(name, None)
        for name, inner in re.findall(r"`(\w+)` \(array[^)`]* of ((?:`\w+`(?:, )?)+)\)", clause):
            found[name] = words(inner)
    return found


def table(text):
    """Rows `a`, `b` | meaning: {a: meaning, b: meaning}."""
    return {name: cells[1] for cells in re.findall(r"^\| (`.*?) \| (.*) \|$", text, re.M) for name in re.findall(r"`(\w+)`", cells[0])}


def summary_members():
    text = re.search(r"\*\*Summary of a backup\*\* \(.*?\): (.*?)\n\n", section("backup"), re.S).group(1)
    return set(words(text))


def entry_members():
    return set(words(re.search(r"^\*\*Entry\*\*: (.*)$", section("show"), re.M).group(1)))


COMMON = {"command", "warnings"}


def has(value, names, where):
    missing = set(names) - set(value)
    assert not missing, f"{where} lacks {sorted(missing)}: it has {sorted(value)}"


def check_members(outcome, promised, optional=()):
    """Every promised member is there, and so is every member of what they hold; nothing is there that was not promised."""
    for name, inner in promised.items():
        if name not in outcome and name in optional:
            continue
        assert name in outcome, f"{name} is promised: {sorted(outcome)}"
        value = outcome[name]
        if name == "backup" and isinstance(value, dict):
            has(value, summary_members(), name)
        elif inner and isinstance(value, list):
            for item in value:
                has(item, set(inner) - set(optional), f"an item of {name}")
        elif inner and isinstance(value, dict):
            has(value, set(inner) - set(optional), name)
    more = set(outcome) - set(promised) - COMMON
    assert not more, f"docs/outcomes.md has no word on {sorted(more)}"


def common(story, name, command):
    outcome = story.json(name)
    assert outcome["command"] == command and isinstance(outcome["warnings"], list)
    assert all(isinstance(w, str) for w in outcome["warnings"])
    assert "error" not in outcome
    return outcome


@pytest.mark.parametrize("name,command", [("empty list", "list"), ("list", "list"), ("verify", "verify"), ("hold", "hold"), ("restore", "restore"),
                                          ("empty report", "report"), ("report", "report"), ("failed report", "report")])
def test_json_is_what_the_page_promises(story, name, command):
    outcome = common(story, name, command)
    check_members(outcome, parts(section(command).split(" With `--")[0]), optional=["signature"] if outcome.get("drill", True) is None else [])
    for b in outcome.get("backups", []) if isinstance(outcome.get("backups"), list) else []:
        has(b, summary_members(), "a summary")


def test_json_of_a_backup(story):
    outcome = common(story, "backup", "backup")
    check_members(outcome, parts(section("backup").split("\n\n")[0]))
    for phase in outcome["phases"]:
        assert phase["name"] and phase["ms"] >= 0


def test_json_of_show(story):
    alone, second = section("show").split("**Entry**")[0].split("With a second backup:")
    promised = parts(alone)
    check_members(common(story, "show", "show"), promised)
    compared = common(story, "compare", "show")
    check_members(compared, {**promised, **parts(second)})
    has(compared["compared_with"], summary_members(), "compared_with")
    for e in compared["entries"]:
        has(e, entry_members(), "an entry")


def test_json_of_drills(story):
    promised = table(section("drill"))
    for name in ("drill", "failed drill"):
        outcome = story.json(name)
        members = dict.fromkeys(promised)
        check_members({k: v for k, v in outcome.items() if k != "error"}, members)
        assert outcome["verdict"] in re.findall(r"`([^`]+)`", promised["verdict"])
        assert {p["name"] for p in outcome["phases"]} == set(re.findall(r"`([a-z ]+)`", promised["phases"].split(", each with")[0]))
        for member in ("databases", "differences", "checks"):
            inner = words(promised[member].split("`objects`:")[0]) + (["objects"] if member == "databases" else [])
            for item in outcome[member]:
                has(item, set(inner) - {"schema_diff"}, f"an item of {member}")
        has(outcome["amcheck"], {"ran", "indexes", "problems"}, "amcheck")
        has(outcome["scratch"], {"kind", "server_version", "cage"}, "scratch")
        for o in outcome["databases"][0]["objects"]:
            has(o, {"class", "source", "restored"}, "an object")
        for m in outcome["scratch"]["cage"]:
            has(m, {"measure", "enforced", "note"}, "a measure")
    assert story.json("failed drill")["error"]["kind"] == "not_proven"
    assert story.json("drill")["reason"] is None


def test_json_of_checks(story):
    lines, effective = section("check").split("With `--effective` instead:")
    check_members(common(story, "suspect check", "check"), parts(lines))
    check_members(common(story, "effective", "check"), {"effective": set(words(effective)) - {"effective"}})
    assert {line["state"] for line in story.json("suspect check")["lines"]} <= {"ok", "warning", "error", "skipped"}


def test_json_of_expire(story):
    planned, promised = (parts(p) for p in section("expire").split(". Without `--plan` also: "))
    check_members(common(story, "expire", "expire"), {**planned, **promised})
    check_members(common(story, "plan", "expire"), planned)


def test_json_of_init_and_keys(story, tmp_path):
    of_all, of_some = section("init, keys").split(". Of `init` also")
    promised = parts(of_all)
    check_members(common(story, "keys list", "keys"), promised)
    outcome = story.said["init json"].json
    check_members(outcome, {**promised, "store": None, "written": None})
    assert {"store", "written"} <= set(words(of_some))
    made = story.agent.ok("keys", "identity", "somebody", "--key-out", str(tmp_path / "somebody"), "--json").json
    assert re.fullmatch("[0-9a-f]{64,}", made["public_key"]) and made["written"] == [str(tmp_path / "somebody")]


def test_a_new_holder_is_told_what_its_key_file_needs(story, tmp_path):
    agent, key = story.agent, tmp_path / "new key"
    public = agent.ok("keys", "identity", "as-made", "--key-out", str(key), "--json").json["public_key"]
    assert not {"pin", "repository"} & set(json.loads(key.read_text()))
    added = agent.ok("keys", "add", "as-added", "--public-key", public)
    assert re.match(r'"as-added" \(recovery, [0-9a-f]{12}\) can back up now, and read every backup\.\n', added.text)
    assert "EPOCH" not in added.text, "a table that nobody asked for"
    # Pasted where the text says, it is a key file that knows the repository.
    key.write_text(key.read_text().replace("{\n", "{\n" + added.text[added.text.index('  "pin"'):], 1))
    told = agent.ok("keys", "list", "--json", "--key-file", str(key)).json
    assert {k: json.loads(key.read_text())[k] for k in ("pin", "repository")} == told["key_file"]
    assert [h["name"] for h in told["holders"] if h["self"]] == ["as-added"], "the name that `keys add` was given counts"
    lines = {line["what"]: line for line in agent("check", "--json", "--key-file", str(key)).json["lines"]}
    assert "pin" not in lines and '"as-added"' in lines["this key"]["detail"]
    # The pin of another repository is found out.
    key.write_text(re.sub('"pin": "[0-9a-f]{8}', '"pin": "00000000', key.read_text()))
    agent.fails(FAILED, "list", "--key-file", str(key), says="pinned to")
    rotated = agent.ok("keys", "rotate").text
    assert re.match(r'Epoch 2 has begun: .* 2 holders have:\n', rotated)
    for holder in told["holders"]:
        assert f'"{holder["name"]}" ({holder["role"]}, {holder["id"][:12]}), public key {holder["public_key"][:32]}\n' in rotated
    # What somebody else put there is shown, gets nothing, and can be taken away.
    planted = "keys/" + 32 * "7"
    agent.repository.write(planted, b"{}")
    listed = agent("keys", "list", "--json")
    assert listed.code == WARNINGS and [x["object"] for x in listed.json["foreign"]] == [planted]
    assert f"foreign    {planted}\n" in agent("keys", "list").text
    agent("keys", "remove", planted)
    assert agent("keys", "list", "--json").json["foreign"] == [] and planted not in agent.repository.objects()
    removed = agent("keys", "remove", "as-added")
    assert removed.code == WARNINGS and removed.text.count("\n") == 1
    assert removed.text.startswith('"as-added" (recovery, ') and "`holdfast keys rotate`" in removed.text


def test_times_are_utc_and_numbers_are_whole(story):
    def look(value, key=""):
        if isinstance(value, dict):
            for k, v in value.items():
                look(v, k)
        elif isinstance(value, list):
            for v in value:
                look(v, key)
        elif key in ("time", "finished", "started", "proven", "created", "snapshot_time") and value is not None:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value), (key, value)
        elif key.endswith(("_ms", "_bytes")) or key in ("ms", "bytes", "rows"):
            assert isinstance(value, int) and value >= 0, (key, value)
    for name in story.said:
        if name.endswith(" json"):
            look(story.said[name].json)


# ---- exit codes ----

def test_a_warning_makes_3(story):
    result = story.said["keys list"]
    assert result.code == WARNINGS and "holdfast: warning: " in result.err
    assert story.json("keys list")["warnings"]


def test_another_run_that_holds_the_lock_makes_7(story):
    agent, source = story.agent, story.source
    uuid = agent("keys", "list", "--json").json["repository"]
    with source.session("postgres") as other:
        assert other.run(f"select pg_try_advisory_lock(hashtext('holdfast'), hashtext('{uuid}'))") == ["t"]
        result = agent.fails(LOCKED, "backup", says=["another backup", "hint"])
        assert result.text == ""
        assert agent("backup", "--json").json["error"]["kind"] == "locked"


def test_a_lock_in_the_way_of_a_table_makes_7(story):
    with story.source.session(NAME) as other:
        other.run("begin; lock table app.second in access exclusive mode")
        story.agent.fails(LOCKED, "backup", says="app.second")


def test_unreachable_makes_5_and_6_and_usage_2(story):
    agent = story.agent
    agent.fails(USAGE, "report", "--format", "pdf")
    agent.fails(DATABASE, "backup", env={"HOLDFAST_SOURCE_PORT": "1"})
    agent.fails(STORE, "list", env={
        "HOLDFAST_REPOSITORY_KIND": "s3", "HOLDFAST_REPOSITORY_S3_ENDPOINT": "http://127.0.0.1:1", "HOLDFAST_REPOSITORY_S3_BUCKET": "backups",
        "HOLDFAST_REPOSITORY_S3_REQUEST_TIMEOUT": "5s", "HOLDFAST_REPOSITORY_S3_STALL_TIMEOUT": "2s",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}, timeout=200)


def test_the_key_that_the_command_line_names_opens_the_repository(story, tmp_path):
    """A bare machine: the configured key is lost, the passphrase is not."""
    agent = story.agent
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    moved = agent.key + ".moved"
    assert agent("keys", "add", "safe", "--new-passphrase-file", str(passphrase)).code == OK
    os.rename(agent.key, moved)
    try:
        lost = agent("list")
        assert lost.code != OK and agent.key in lost.err and "--passphrase-file" in lost.err
        agent.ok("list", "--key-file", moved)
        agent.ok("list", "--passphrase-file", str(passphrase))
        agent.ok("cat", "latest", "globals", "--passphrase-file", str(passphrase))
    finally:
        os.rename(moved, agent.key)
