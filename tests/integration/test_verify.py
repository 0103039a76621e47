"""Whatever happens to the bytes of a repository is noticed, named, and never reaches a database."""

import os
import shutil

import pytest
from lib.agent import FAILED, NOT_PROVEN, OK, USAGE, WARNINGS


@pytest.fixture
def small(agent, source, new_database):
    name = new_database("small")
    source.sql(name, "create table t as select n, md5(n::text) from generate_series(1, 2000) n")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup()
    return agent


def backed_up(agent, database):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()


def test_sound_repository_is_sound(make_agent, repository, database):
    agent = make_agent(repository)
    backed_up(agent, database)
    agent.backup()
    for words in ([], ["--data"]):
        outcome = agent.ok("verify", "--json", *words).json
        assert outcome["problems"] == [] and outcome["backups"] == 2 and outcome["packs"] > 0
    assert outcome["bytes_read"] > 0


def damages(name, data, others):
    """What disks, networks and people do to an object, by name."""
    middle = len(data) // 2
    yield "first byte flipped", bytes([data[0] ^ 1]) + data[1:]
    yield "a byte in the middle flipped", data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1:]
    yield "last byte flipped", data[:-1] + bytes([data[-1] ^ 0x80])
    yield "cut short by one", data[:-1]
    yield "cut in half", data[:middle]
    yield "emptied", b""
    yield "made longer", data + b"\0"
    yield "gone", None
    for other in others:
        if other != name and other.split("/")[0] == name.split("/")[0]:
            yield f"replaced by {other}", others[other]
            break


def called(name, what, backups):
    """What says which object is damaged: its name, or one of these where that cannot be known."""
    if name.startswith("keys/"):
        return [name, "this key file opens no key of this repository"]      # its own; nobody else's opens anything here
    if what == "gone" and name == "format":
        return ["no repository in"]
    if what == "gone" and name.startswith("index/"):
        return backups                                                      # those that miss its chunks
    return [name]


def test_every_damage_is_found_and_named_and_restores_nothing_wrong(small, source, restored):
    """R47.  A second backup gives every kind of object a sibling to be swapped with."""
    repository = small.repository
    older = source.text_of("small")
    source.sql("small", "insert into t select n, repeat(md5(n::text), 50) from generate_series(1, 9000) n")
    small.backup()
    good = source.text_of("small")
    objects = {name: repository.read(name) for name in sorted(repository.objects())}
    assert {name.split("/")[0] for name in objects} >= {"format", "keys", "packs", "index", "backups"}
    missed, wrong, backups = [], [], [b["id"] for b in small.list()]
    for name, data in objects.items():
        for what, damaged in damages(name, data, objects):
            if damaged is None:
                repository.remove(name)
            else:
                repository.write(name, damaged)
            shutil.rmtree(os.path.join(small.work, "cache"), ignore_errors=True)
            result = small("verify", "--data")
            kind, found = name.split("/")[0], result.code not in (OK, WARNINGS)
            # Nothing says of a manifest that is gone altogether that it was ever there, and what it held belongs to nobody.
            silent = what == "gone" and kind == "backups"
            if not found and not silent:
                missed.append(f"{name}: {what}: {result.err}{result.text}")
            elif found and not any(said in result.err + result.text for said in called(name, what, backups)):
                missed.append(f"{name}: {what} is not named: {result.err}{result.text}")
            back = small.restore(restored, "back")
            # With its manifest gone, "latest" may be the backup before it.
            if back.code in (OK, WARNINGS) and restored.text_of("back") not in ([good, older] if silent else [good]):
                wrong.append(f"{name}: {what}")
            if back.code not in (OK, WARNINGS) and "back" in restored.databases():
                wrong.append(f"{name}: {what}: a failed restore left a database")
            restored.drop("back")
            repository.write(name, data)
    assert not wrong, "wrong bytes were restored: " + "; ".join(wrong)
    assert not missed, "\n".join(missed)
    assert small.ok("verify", "--data")


def test_index_is_made_anew_from_the_packs(small, source, restored):
    for name in list(small.repository.objects()):
        if name.startswith("index/"):
            small.repository.remove(name)
    shutil.rmtree(os.path.join(small.work, "cache"), ignore_errors=True)
    assert small("verify").code == NOT_PROVEN
    assert small("verify", "--rebuild-index").code in (OK, WARNINGS)
    small.ok("verify", "--data")
    small.restored(restored, "back")
    assert restored.text_of("back") == source.text_of("small")


def test_cache_is_only_a_cache(small, source, restored):
    cache = os.path.join(small.work, "cache")
    files = [os.path.join(p, f) for p, _, fs in os.walk(cache) for f in fs]
    assert files, "there is no cache"
    for path in files:
        with open(path, "r+b") as f:
            f.write(b"scribble" * 8)
    assert small.backup()["new_bytes"] < 100000, "a damaged cache made everything new"
    for path in files:
        if os.path.exists(path):
            os.truncate(path, 3)
    small.restored(restored, "back")
    assert restored.text_of("back") == source.text_of("small")


def test_one_damaged_object_stands_between_nobody_and_the_other_backups(small, source, restored):
    """A night in which all is lost but one backup and its chunks."""
    assert small("drill").code in (OK, WARNINGS)
    first = small.list()[0]["id"]
    source.sql("small", "insert into t values (0, 'more')")
    good, second = source.text_of("small"), small.backup()["id"]
    for name in [n for n in small.repository.objects() if n == f"backups/{first}" or n.startswith("reports/")]:
        small.repository.write(name, b"?" + small.repository.read(name)[1:])
    shutil.rmtree(os.path.join(small.work, "cache"), ignore_errors=True)
    result = small("list", "--json")
    assert result.code == WARNINGS and [b["id"] for b in result.json["backups"]] == [second]
    assert f"backups/{first}" in result.err and "reports/" in result.err
    result = small.restore(restored, "back", backup=second)
    assert result.code == WARNINGS, str(result)
    assert restored.text_of("back") == good
    # Which is the newest cannot be known, nor what may go.
    result = small.restore(restored, "other")
    assert result.code not in (OK, WARNINGS) and f"backups/{first}" in result.err, str(result)
    small.fails(FAILED, "expire", says=f"backups/{first}")
    assert small("backup").code == WARNINGS
    assert small("verify").code == NOT_PROVEN


def test_wrong_key_is_told_from_damage(small, make_agent, new_database):
    other_key = os.path.join(small.work, "other-key")
    small.ok("keys", "identity", "stranger", "--key-out", other_key)
    small.configure(repository={"key_file": other_key})
    result = small.fails(FAILED, "list")
    assert "key" in result.err and "corrupt" not in result.err


def test_lost_key_is_replaced_by_the_passphrase(agent, source, database, restored):
    passphrase = os.path.join(agent.work, "passphrase")
    with open(os.open(passphrase, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write("canary correct horse battery\n")
    agent.secrets.append("canary correct horse battery")
    agent.configure(source={"databases": [database]})
    agent.ok("init", "--key-out", agent.key, "--passphrase-file", passphrase)
    agent.backup()
    os.unlink(agent.key)
    agent.configure(repository={"key_file": None, "passphrase_file": passphrase})
    agent.restored(restored, "back")
    assert restored.text_of("back") == source.text_of(database)


def test_agent_key_backs_up_and_reads_nothing(agent, source, database, restored):
    key = os.path.join(agent.work, "agent-key")
    agent.configure(source={"databases": [database]})
    agent.init("--agent-key-out", key)
    agent.configure(repository={"key_file": key})
    agent.backup()
    assert len(agent.list()) == 1
    result = agent.restore(restored, "back")
    assert result.code == FAILED and "key" in result.err, str(result)
    assert "back" not in restored.databases()
    result = agent("cat", "latest", agent.ok("show", "latest", "--json").json["streams"][0]["name"])
    assert result.code == FAILED and result.out == b"", str(result)
    # Nor does it decide who reads.
    agent.fails(FAILED, "keys", "remove", "recovery", "--yes", says="agent's key")
    agent.configure(repository={"key_file": agent.key})
    agent.restored(restored, "back")


def test_new_passphrase_is_asked_for_a_length(small):
    """It alone stands between whoever has the bucket and every backup."""
    for weak in ("", "\n", "elevenchars"):
        path = os.path.join(small.work, "weak")
        with open(path, "w", encoding="ascii", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
            f.write(weak)
        result = small("keys", "add", "weak", "--new-passphrase-file", path)
        assert result.code in (USAGE, FAILED) and path in result.err, str(result)
    assert len(small("keys", "list", "--json").json["holders"]) == 1


def test_rotation_keeps_what_was(small, source, restored):
    """R29."""
    before = small.repository.objects()
    assert small("keys", "rotate").code in (OK, WARNINGS)
    assert set(before) <= set(small.repository.objects()), "a rotation deleted something"
    source.sql("small", "insert into t values (-1, 'after the rotation')")
    small.backup()
    newest, older = [b["id"] for b in small.list()]
    for backup, count in ((older, "2000"), (newest, "2001")):
        small.restored(restored, "back", backup=backup)
        assert restored.value("back", "select count(*) from t") == count
        restored.drop("back")
    small.ok("verify", "--data")


def test_nothing_of_the_source_is_readable_in_the_repository(agent, source, new_database):
    name = new_database("secrets_in_names")
    source.sql(name, "create table canary_table_name (canary_column text); insert into canary_table_name select 'canary_value' from generate_series(1, 50)")
    agent.configure(source={"databases": [name]})
    agent.init()
    agent.backup("--label", "canary_label")
    for obj in agent.repository.objects():
        data = agent.repository.read(obj)
        assert b"canary" not in data and b"secrets_in_names" not in data, obj
