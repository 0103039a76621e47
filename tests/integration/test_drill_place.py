"""Where a drill restores to, and with which programs: what is wrong there is said, and is no verdict about the backup."""

import os

from lib.agent import USAGE, WARNINGS
from lib.cluster import server_bin
from lib.wrapped import bin_dir


def test_folder_that_is_not_there_is_a_mistake_of_the_configuration(agent, database):
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    agent.configure(drill={"dir": os.path.join(agent.work, "no such folder")})
    agent.fails(USAGE, "drill", says=["drill.dir", "no such folder"])
    assert agent.list()[0]["last_verdict"] is None


def test_drill_says_each_time_that_its_programs_have_a_known_hole(agent, database):
    """R44.  The cage holds back what such a program can be made to do, so the drill goes on."""
    agent.configure(source={"databases": [database]})
    agent.init()
    agent.backup()
    major = os.popen(f"{server_bin()}/pg_dump --version").read().split()[2].split(".")[0]
    old = f': ; [ "$1" = --version ] && {{ echo "pg_dump (PostgreSQL) {major}.1"; exit 0; }}; exec $REAL "$@"'
    agent.configure(drill={"bin_dir": bin_dir(agent.work, "bin", pg_dump=old)})
    result = agent("drill", "--json")
    assert result.code == WARNINGS and result.json["verdict"] == "proven", str(result)
    assert any("CVE-" in w and f"{major}.1" in w for w in result.json["warnings"]), result.json["warnings"]
