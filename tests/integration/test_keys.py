"""Rotations of keys that do not end well: what an operator is told, and what can be read."""

import json
import os
import subprocess

import pytest
from lib.agent import OK, WARNINGS


@pytest.fixture
def two_keys(agent, database):
    """Ours, and a passphrase."""
    agent.configure(source={"databases": [database]})
    agent.passphrase = os.path.join(agent.work, "passphrase")
    with open(os.open(agent.passphrase, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write("correct horse battery staple\n")
    assert agent("init", "--key-out", agent.key, "--passphrase-file", agent.passphrase).code == OK
    return agent


def key_objects(agent, name, epoch):
    found = [n for n in agent.repository.objects() if n.startswith("keys/")]
    return [n for n in found if (o := json.loads(agent.repository.read(n)))["name"] == name and o["epoch"] == epoch]


def findings(agent):
    return [line for line in agent("check", "--json").json["lines"] if (line["area"], line["what"]) == ("keys", "rotation")]


def test_a_reader_that_a_rotation_did_not_reach_is_named_each_night(two_keys, elsewhere, restored):
    agent = two_keys
    agent.ok("keys", "rotate")
    assert findings(agent) == []
    [newest] = key_objects(agent, "passphrase", 2)
    agent.repository.remove(newest)
    result = agent("backup", "--json")
    assert result.code == WARNINGS
    [warning] = [w for w in result.json["warnings"] if '"passphrase"' in w]
    assert "`holdfast keys rotate`" in warning
    [line] = findings(agent)
    assert line["state"] == "warning" and '"passphrase"' in line["detail"] and "`holdfast keys rotate`" in line["fix"]
    # What it says mends it, for what was backed up meanwhile too.
    agent.ok("keys", "rotate")
    assert findings(agent) == []
    assert not [w for w in agent("backup", "--json").json["warnings"] if '"passphrase"' in w]
    for name in ("first", "second"):
        result = agent.restore(elsewhere, f"from {name}", "--passphrase-file", agent.passphrase,
                               backup=agent.list()[-1 if name == "first" else 0]["id"])
        assert result.code in (OK, WARNINGS), str(result)


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file: root only")
def test_a_rotation_does_not_need_the_right_to_delete(two_keys):
    agent = two_keys
    agent.ok("keys", "rotate")
    [old] = key_objects(agent, "recovery", 1)
    path = os.path.join(agent.repository.path, old)
    subprocess.run(["mount", "--bind", path, path], check=True)    # what something is mounted on cannot be removed
    try:
        result = agent("keys", "rotate", "--json")
    finally:
        subprocess.run(["umount", path], check=True)
    assert result.code == WARNINGS and result.json["epoch"] == 3, str(result)
    assert "could not be removed" in result.json["warnings"][0]
    assert {h["epoch"] for h in result.json["holders"]} == {3}
    agent.ok("keys", "rotate")
    assert key_objects(agent, "recovery", 1) == []
    assert [len(key_objects(agent, "passphrase", n)) for n in (1, 2, 3, 4)] == [0, 0, 1, 1]
