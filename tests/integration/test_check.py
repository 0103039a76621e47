"""`check` before the night: each thing that can be wrong is one line, which says how bad it is and what to do.

A good setup first, about which there is nothing to say; then each test makes one thing bad, and finds that one line."""

import contextlib
import copy
import os
import shutil
import subprocess
import tempfile

import pytest
from lib.agent import DATABASE, FAILED, OK, USAGE, WARNINGS, Agent
from lib.cluster import Cluster
from lib.repository import Folder
from lib.wrapped import bin_dir

DATABASE_LINE = "database telemetry"


class Checked:
    """A setup that is good, unless something in it was changed; `findings` are the lines that ask for something to be done."""

    def __init__(self, agent, source, elsewhere):
        self.agent, self.source, self.story = agent, source, []
        self.server = {"host": elsewhere.host, "port": int(elsewhere.port), "user": elsewhere.user}

    def findings(self):
        result = self.agent("check", "--json")
        lines = result.json["lines"]
        for line in lines:
            assert line["state"] in ("ok", "warning", "error", "skipped") and line["detail"], line
        found = [line for line in lines if line["state"] in ("warning", "error")]
        assert all(line["fix"] for line in found), f"what to do is not said: {found}"
        errors = any(line["state"] == "error" for line in found)
        assert errors == (result.code not in (OK, WARNINGS)) and bool(found) == (result.code != OK), str(result)
        return result.code, lines, found

    def names(self):
        return [(line["area"], line["what"], line["state"]) for line in self.findings()[2]]

    @contextlib.contextmanager
    def configured(self, **more):
        before = copy.deepcopy(self.agent.settings)
        try:
            self.agent.configure(**more)
            yield
        finally:
            self.agent.settings = before
            self.agent.configure()

    @contextlib.contextmanager
    def done(self, do, undo, database="telemetry"):
        self.source.sql(database, do)
        try:
            yield
        finally:
            self.source.sql(database, undo)


@pytest.fixture(scope="module")
def good(session_folder, source, elsewhere):
    folder = tempfile.mkdtemp(prefix="t", dir=session_folder)
    os.chmod(folder, 0o711)
    agent = Agent(folder, source, Folder(folder), databases=["telemetry"])
    source.create("telemetry")
    source.sql("postgres", "create role nightly login in role pg_read_all_data")
    try:
        source.sql("telemetry", "create table traces as select n, md5(n::text) as t from generate_series(1, 1000) n")
        agent.configure(source={"user": "nightly"})
        made = Checked(agent, source, elsewhere)
        agent.init()
        made.story.append(made.names())
        passphrase = os.path.join(folder, "passphrase")
        with open(os.open(passphrase, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write("correct horse battery staple\n")
        agent("keys", "add", "offline", "--new-passphrase-file", passphrase)
        made.story.append(made.names())
        agent.backup()
        made.story.append(made.names())
        drilled = agent("drill", "--json")
        assert drilled.json["verdict"] == "proven", str(drilled)
        made.story.append(made.names())
        yield made
    finally:
        source.drop("telemetry")
        source.sql("postgres", "drop role nightly")
        agent.end()
        shutil.rmtree(folder, ignore_errors=True)


def test_each_step_of_setting_up_takes_a_finding_away(good):
    """R50: one key only; no backup; no proof; and then nothing to say."""
    holders, backups, proof = ("keys", "holders", "warning"), ("repository", "backups", "warning"), ("repository", "proof", "warning")
    measures = [line for line in good.story[3] if line[:2] == ("drill", "cage")]
    if os.getuid() == 0:
        assert measures == [], "root has every measure of the cage"
    assert good.story == [[holders, backups, *measures], [backups, *measures], [proof, *measures], measures]


def test_good_setup_has_a_line_for_everything(good):
    """The issue's list: server, rights, versions, extensions, store, key holders, free space."""
    _, lines, _ = good.findings()
    fine = {(line["area"], line["what"]): line["detail"] for line in lines if line["state"] == "ok"}
    for area, what, says in (
            ("source", "connect", "PostgreSQL "), ("source", "rights", "pg_read_all_data"), ("source", "pg_dump", "for a server of major"),
            ("source", DATABASE_LINE, " MiB"), ("drill", "extensions of telemetry", "(1)"), ("drill", "scratch", "starts here"),
            ("drill", "free space", "needed"), ("store", "write and read", "folder"), ("store", "refuse to overwrite", "keeps"),
            ("keys", "holders", "2, of which 2"), ("keys", "this key", "can back up and read"), ("repository", "backups", "1, the newest"),
            ("repository", "proof", "proven"), ("repository", "free space", "vault"), ("repository", "cache", "cache")):
        assert says in fine.get((area, what), ""), (area, what, fine)
    assert not [line for line in lines if line["state"] == "skipped"]


# ---- one thing is bad: (area, what, state), what the detail says, what the fix says ----

def says_version(program, version):
    return f': ; [ "$1" = --version ] && {{ echo "{program} (PostgreSQL) {version}"; exit 0; }}; exec $REAL "$@"'


@contextlib.contextmanager
def programs(good, group, **versions):
    """`bin_dir` of the group with programs that call themselves of such versions."""
    folder = bin_dir(good.agent.work, f"bin-{group}", **{name: says_version(name, version) for name, version in versions.items()})
    try:
        with good.configured(**{group: {"bin_dir": folder}}):
            yield
    finally:
        shutil.rmtree(folder)


def major(good):
    return int(good.source.value("postgres", "show server_version_num")) // 10000


@contextlib.contextmanager
def key_text(good, change):
    with open(good.agent.key, encoding="ascii") as f:
        before = f.read()
    try:
        with open(good.agent.key, "w", encoding="ascii") as f:
            f.write(change(before))
        yield
    finally:
        with open(good.agent.key, "w", encoding="ascii") as f:
            f.write(before)


@contextlib.contextmanager
def key_mode(good, mode):
    os.chmod(good.agent.key, mode)
    try:
        yield
    finally:
        os.chmod(good.agent.key, 0o600)


@contextlib.contextmanager
def planted_key(good):
    name = "keys/" + 32 * "7"
    good.agent.repository.write(name, b"{}")
    try:
        yield
    finally:
        good.agent.repository.remove(name)


def without_pin(text):
    return "".join(line for line in text.splitlines(True) if '"pin"' not in line)


ONE_THING = {
    "a role that is a superuser (R42)": (
        lambda g: g.configured(source={"user": "postgres"}),
        ("source", "rights", "warning"), "superuser", "pg_read_all_data"),
    "a role that may lack rights on a table (R42)": (
        lambda g: g.done("revoke pg_read_all_data from nightly; grant select on pg_authid to nightly",
                         "grant pg_read_all_data to nightly; revoke select on pg_authid from nightly", "postgres"),
        ("source", "rights", "warning"), "no member of pg_read_all_data", "GRANT pg_read_all_data TO"),
    "row security that hides rows (R36)": (
        lambda g: g.done("alter table traces enable row level security", "alter table traces disable row level security"),
        ("source", DATABASE_LINE, "error"), "row security would hide rows of 1 table", "BYPASSRLS"),
    "a collation that changed under its indexes (R34)": (
        lambda g: g.done("create collation mine (provider = icu, locale = 'de'); update pg_collation set collversion = '1.0' where collname = 'mine'",
                         "drop collation mine"),
        ("source", DATABASE_LINE, "warning"), "1 collation", "REFRESH COLLATION VERSION"),
    "the database's own collation that changed (R34)": (
        lambda g: g.done("update pg_database set datcollversion = '2.13' where datname = 'telemetry'",
                         "update pg_database set datcollversion = null where datname = 'telemetry'"),
        ("source", DATABASE_LINE, "warning"), "from version 2.13 to ", "ALTER DATABASE"),
    "large objects of others": (
        lambda g: g.done("select lo_create(4711)", "select lo_unlink(4711)"),
        ("source", DATABASE_LINE, "warning"), "1 large object", "GRANT SELECT ON LARGE OBJECT"),
    "a pg_dump with known holes (R43, R44)": (
        lambda g: programs(g, "source", pg_dump=f"{major(g)}.1"),
        ("source", "pg_dump", "warning"), "CVE-", "Update the PostgreSQL client packages"),
    "a pg_dump older than the server (R39)": (
        lambda g: programs(g, "source", pg_dump=f"{major(g) - 1}.99"),
        ("source", "pg_dump", "error"), "or newer, as the server is", "install postgresql-client-"),
    "a pg_restore with known holes (R44)": (
        lambda g: programs(g, "drill", pg_restore=f"{major(g)}.1"),
        ("drill", "pg_restore", "warning"), "CVE-", "Update the PostgreSQL packages"),
    "a pg_restore older than the server (R39)": (
        lambda g: programs(g, "drill", pg_restore=f"{major(g) - 1}.99"),
        ("drill", "pg_restore", "error"), "or newer, as the server is", "install postgresql-client-"),
    "an extension that is not installed where drills run (R33)": (
        lambda g: g.done("update pg_extension set extname = 'telescope' where extname = 'plpgsql'",
                         "update pg_extension set extname = 'plpgsql' where extname = 'telescope'"),
        ("drill", "extensions of telemetry", "error"), 'extension "telescope"', "install the extension's package"),
    "an extension of another version where drills run (R33)": (
        lambda g: g.done("update pg_extension set extversion = '0.9' where extname = 'plpgsql'",
                         "update pg_extension set extversion = '1.0' where extname = 'plpgsql'"),
        ("drill", "extensions of telemetry", "error"), "other versions are: 1.0", "install the extension's package"),
    "too little room for a drill": (
        lambda g: g.configured(drill={"min_free": 1 << 49}),
        ("drill", "free space", "error"), "about 512 TiB needed", "drill.dir"),
    "a key file that its group can read": (
        lambda g: key_mode(g, 0o640),
        ("keys", "key file", "warning"), "can be read by its group", "chmod 0600"),
    "a key without a pin": (
        lambda g: key_text(g, without_pin),
        ("keys", "pin", "warning"), "carries no pin", "keys list --json"),
    "a key that no holder let in (R51)": (
        planted_key,
        ("keys", "foreign objects", "error"), "1 object", "holdfast verify"),
    "no cache": (
        lambda g: g.configured(repository={"cache_dir": ""}),
        ("repository", "cache", "warning"), "there is none", "repository.cache_dir"),
    "a cache that cannot be written": (
        lambda g: g.configured(repository={"cache_dir": os.path.join(g.agent.config, "cache")}),
        ("repository", "cache", "warning"), "cannot be written to", "repository.cache_dir"),
}


@pytest.mark.parametrize("what", ONE_THING)
def test_one_thing_that_is_bad_is_the_one_finding(good, what):
    setup, expected, detail, fix = ONE_THING[what]
    # A named server answers at once; a scratch cluster is started where the line is the drill's.
    with good.configured(drill={"server": good.server} if expected[0] != "drill" else {}), setup(good):
        code, _, found = good.findings()
    assert [(line["area"], line["what"], line["state"]) for line in found] == [expected], found
    assert detail in found[0]["detail"], found[0]
    assert fix in found[0]["fix"], found[0]
    assert code == (WARNINGS if expected[2] == "warning" else FAILED)


def test_role_that_can_read_no_passwords_is_said_beside_its_rights(good):
    """R32.  pg_read_all_data covers them; without both, a backup of the globals lacks them."""
    with good.done("revoke pg_read_all_data from nightly", "grant pg_read_all_data to nightly"):
        _, _, found = good.findings()
    assert [line["what"] for line in found] == ["rights", "passwords of roles"], found
    assert "pg_authid" in found[1]["detail"] and "GRANT pg_read_all_data" in found[1]["fix"]


@pytest.mark.parametrize("more, expected, code, skipped", [
    ({"source": {"port": 1}}, ("source", "connect"), DATABASE, {"rights, pg_dump, databases", "scratch"}),
    ({"repository": {"folder": {"path": "/var/tmp/no such vault"}}}, ("store", "folder"), USAGE,
     {"open", "backups", "holders", "write and read"}),
    ({"drill": {"dir": "/var/tmp/no such scratch"}}, ("drill", "scratch"), USAGE, set()),
], ids=["nobody answers", "no such folder", "no such drill.dir"])
def test_what_cannot_be_looked_at_is_no_second_error(good, more, expected, code, skipped):
    with good.configured(**more):
        got, lines, found = good.findings()
    assert {(line["area"], line["what"]) for line in found} == {expected} and found[0]["state"] == "error", found
    assert {line["what"] for line in lines if line["state"] == "skipped"} == skipped
    assert got == code


def test_standby_is_said_since_its_replay_cancels_long_dumps(good, session_folder):
    server = Cluster(os.path.join(session_folder, "standby"))
    try:
        server.create("telemetry")
        server.sql("postgres", "create role nightly login in role pg_read_all_data")
        server.stop()
        open(os.path.join(server.data, "standby.signal"), "w", encoding="ascii").close()
        server.start()
        with good.configured(source={"host": server.host}):
            _, _, found = good.findings()
    finally:
        server.destroy()
    assert [(line["what"], line["state"]) for line in found] == [("standby", "warning")], found
    assert "hot_standby_feedback" in found[0]["fix"]


def test_backup_and_restore_say_each_time_that_their_programs_have_a_known_hole(good, restored):
    """R43, R44: who never runs `check` hears of it, too; a drill's word has its test in test_drill_place.py.  A night without a
    backup would be worse, so both go on."""
    said = f"PostgreSQL {major(good)}.1, which "
    with programs(good, "source", pg_dump=f"{major(good)}.1"):
        done = good.agent("backup", "--json")
        assert done.code == WARNINGS and done.json["backup"]["rows"] == 1000, str(done)
        assert [w for w in done.json["warnings"] if w.startswith(said + "dumped this: ") and "CVE-" in w], done.json["warnings"]
        done = good.agent.restore(restored, "back")
        assert done.code == WARNINGS and restored.value("back", "select count(*) from traces") == "1000", str(done)
        assert [w for w in done.json["warnings"] if w.startswith(said + "restored this: ") and "CVE-" in w], done.json["warnings"]


# ---- free space on this machine ----

@pytest.fixture
def small_disk(work):
    """A file system of 48 MiB, and what leaves so many bytes of it free."""
    if os.getuid() != 0:
        pytest.skip("mounts a small file system: root only")
    path, full = os.path.join(work, "small"), os.path.join(work, "small", "full")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=711", "holdfast-test", path], check=True)

    def leave(free):
        if os.path.exists(full):
            os.unlink(full)
        v = os.statvfs(path)
        with open(full, "wb") as f:
            f.write(bytes(max(0, v.f_bavail * v.f_frsize - free)))
    yield path, leave
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("what, line", [("vault", "free space"), ("cache", "cache")])
def test_too_little_room_for_the_next_backup_is_said_before_it(agent, source, new_database, small_disk, what, line):
    """A first backup takes all of the databases, the next about what the last one did; the cache holds what the index needs."""
    path, leave = small_disk
    name = new_database("telemetry two")
    source.sql(name, "create table t as select n, (select string_agg(md5(random()::text), '') from generate_series(1, 20) k where n > 0) "
                     "from generate_series(1, 12000) n")
    place = os.path.join(path, what)
    os.mkdir(place)
    agent.configure(source={"databases": [name]}, repository={"folder": {"path": place}} if what == "vault" else {"cache_dir": place})
    agent.init()

    def state():
        found = [one for one in agent("check", "--json").json["lines"] if one["area"] == "repository" and one["what"] == line]
        assert len(found) == 1 and place in found[0]["detail"], found
        assert found[0]["state"] == "ok" or found[0]["fix"]
        return found[0]["state"], found[0]["fix"]
    small = 3 << 20 if what == "vault" else 1 << 19
    leave(small)
    assert state()[0] == "warning", "the first backup takes all"
    leave(44 << 20)
    assert state()[0] == "ok"
    assert agent.backup()["stored_bytes"] > 3 << 20
    leave(small)
    got, fix = state()
    assert got == "warning" and ("expire" in fix if what == "vault" else "repository.cache_dir" in fix)
    if what == "vault":
        # A night that added next to nothing says that the next one fits.
        leave(20 << 20)
        assert agent.backup()["stored_bytes"] < 1 << 20
        leave(small)
        assert state()[0] == "ok"
