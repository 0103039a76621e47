"""The command line: what it takes, what it refuses, how it ends.  Nothing here needs a server."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

HOLDFAST = os.environ["HOLDFAST_BIN"]
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}


def holdfast(*arguments, **more):
    more.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([HOLDFAST, *arguments], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, **more)


def commands():
    """Names and summaries, as --help lists them."""
    listed = holdfast("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    return [tuple(re.split(r"\s{2,}", line.strip(), maxsplit=1)) for line in listed.splitlines()]


def options(*command):
    return re.findall(r"^  (?:-\w, |    )(--[\w-]+)", holdfast(*command, "--help").stdout, re.M)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "holdfast.cfg"
    path.write_text(f'name = "x";\nrepository: {{ kind = "folder"; folder: {{ path = "{tmp_path}/repository"; }}; cache_dir = ""; }};\n')
    return str(path)


def test_help_lists_every_command_and_fits_a_terminal():
    ran = holdfast("--help")
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert {n.split()[0] for n, _ in commands()} == {
        "init", "keys", "backup", "list", "show", "hold", "restore", "cat", "drill", "verify", "check", "expire", "report", "completion"}
    assert max(len(line) for line in ran.stdout.splitlines()) < 80


@pytest.mark.parametrize("command", [n for n, _ in commands()])
def test_each_command_explains_itself(command):
    ran = holdfast(*command.split(), "--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith(f"Usage: holdfast {command} [OPTION]...")
    for part in ("Common options:", "Examples:", "Exit codes:"):
        assert f"\n{part}\n" in ran.stdout
    assert f"  holdfast {command}" in ran.stdout
    assert max(len(line) for line in ran.stdout.splitlines()) <= 100
    assert holdfast(*command.split(), "-h").stdout == ran.stdout


@pytest.mark.parametrize("group", ["keys", "completion"])
def test_a_group_of_commands_lists_them(group):
    ran = holdfast(group, "--help")
    assert ran.returncode == 0
    assert f"Usage: holdfast {group} COMMAND" in ran.stdout


def test_help_is_a_word_too():
    assert holdfast("help").stdout == holdfast("--help").stdout
    assert holdfast("help", "backup").stdout == holdfast("backup", "--help").stdout
    assert holdfast("help", "keys").stdout == holdfast("keys", "--help").stdout
    assert holdfast("help", "keys", "add").stdout == holdfast("keys", "add", "--help").stdout
    ran = holdfast("help", "bakcup")
    assert ran.returncode == 2 and 'is "backup" meant?' in ran.stderr


def test_a_machine_without_a_configuration_is_told_where_to_begin():
    if os.path.exists("/etc/holdfast/holdfast.cfg"):
        pytest.skip("this machine has a configuration of its own")
    for command in ("check", "backup", "init"):
        ran = holdfast(command)
        assert ran.returncode == 2
        assert ran.stderr.count("\n") == 2 and '"/etc/holdfast/holdfast.cfg"' in ran.stderr and "holdfast.cfg.example" in ran.stderr


def test_the_manual_has_every_command_and_option():
    with open(os.path.join(TREE, "docs", "man", "holdfast.1.scd"), encoding="utf-8") as f:
        manual = f.read().replace("\\", "")
    for name, _ in commands():
        assert f"\n## {name} [OPTION]..." in manual
        for option in options(*name.split()):
            assert f"*{option}*" in manual


def test_version():
    ran = holdfast("--version")
    assert ran.returncode == 0
    assert re.fullmatch(r"holdfast \d+\.\d+\.\d+\n", ran.stdout)


MISUSE = [
    ([], "no command is given"),
    (["bakcup"], 'unknown command "bakcup": is "backup" meant?'),
    (["key"], 'unknown command "key": is "keys" meant?'),
    (["frobnicate"], 'unknown command "frobnicate"'),
    (["keys"], '"keys" needs a word more'),
    (["keys", "lst"], 'unknown command "keys lst": is "list" meant?'),
    (["completion", "fish"], 'unknown command "completion fish"'),
    (["--jsn", "list"], 'unknown option "--jsn": is "--json" meant?'),
    (["backup", "--databse=x"], 'unknown option "--databse": is "--database" meant?'),
    (["backup", "-z"], 'unknown option "-z"'),
    (["backup", "--label"], 'option "--label" needs a value: TEXT'),
    (["backup", "--label="], 'option "--label" is given an empty value'),
    (["backup", "--hold=yes"], 'option "--hold" takes no value'),
    (["backup", "--label", "a", "--label", "b"], 'option "--label" is given twice'),
    (["backup", "langfuse"], '"backup" does not take "langfuse"'),
    (["show"], '"show" needs BACKUP'),
    (["show", ""], '"show" is given an empty word'),
    (["cat", "latest"], '"cat" needs BACKUP STREAM'),
    (["keys", "identity", "x"], '"keys identity" needs the option "--key-out FILE"'),
    (["restore", "latest", "--jobs", "0"], "takes a number from 1 to 64"),
    (["restore", "latest", "--jobs", "2x"], "takes a number from 1 to 64"),
    (["report", "--format", "pdf"], 'option "--format" takes text|md|html|json, not "pdf"'),
    (["list", "--log-format", "xml"], 'option "--log-format" takes text|json, not "xml"'),
    (["list", "--quiet", "--verbose"], "contradict each other"),
    (["list", "--key-file", "/a", "--passphrase-file", "/b"], "either --key-file or --passphrase-file"),
    (["init", "--key-file", "/a"], 'unknown option "--key-file"'),
    (["keys", "identity", "x", "--passphrase-file", "/a"], 'unknown option "--passphrase-file"'),
]


@pytest.mark.parametrize("arguments,said", MISUSE, ids=[" ".join(m[0]) or "nothing" for m in MISUSE])
def test_misuse_ends_with_2_and_says_what_was_meant(arguments, said):
    ran = holdfast(*arguments)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert ran.stdout == ""


CONTRADICTIONS = [
    (["keys", "add", "x"], "needs one of"),
    (["keys", "add", "x", "--passphrase-file", "/x"], '"--new-passphrase-file FILE"'),
    (["keys", "add", "x", "--public-key", "aa", "--new-passphrase-file", "/x"], "needs one of"),
    (["restore", "latest", "--existing"], "--existing goes together with"),
    (["restore", "latest", "--user", "x"], 'go together with "--host HOST"'),
    (["cat", "latest", "globals", "--json"], "--json has no place there"),
    (["report", "--json", "--format", "html"], "contradict each other"),
    (["init", "--key-out", "/k", "--agent-key-out", "/k"], 'would both be "/k"'),
]


@pytest.mark.parametrize("arguments,said", CONTRADICTIONS, ids=[" ".join(c[0]) for c in CONTRADICTIONS])
def test_options_that_contradict_each_other_are_refused(config, arguments, said):
    ran = holdfast("--config", config, *arguments)
    assert ran.returncode == 2
    assert said in ran.stderr


def test_an_error_is_an_object_where_json_was_asked_for():
    for arguments in (["bakcup", "--json"], ["--json", "--config", "/nonexistent", "list"]):
        ran = holdfast(*arguments)
        assert ran.returncode == 2
        error = json.loads(ran.stdout)["error"]
        assert error["kind"] == "usage"
        assert error["message"] in ran.stderr


def test_all_mistakes_of_the_configuration_are_in_the_object(tmp_path):
    path = tmp_path / "bad.cfg"
    path.write_text("nam = 1;\nrepositry = 2;\n")
    error = json.loads(holdfast("-c", str(path), "--json", "list").stdout)["error"]
    assert "line 1" in error["message"]
    assert len(error["more"]) == 1 and "line 2" in error["more"][0]


def test_messages_can_be_json_objects(tmp_path):
    ran = holdfast("--log-format=json", "-c", str(tmp_path / "none"), "list")
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert lines[0]["level"] == "error" and "none" in lines[0]["message"]


def test_options_stand_before_and_after_the_command(config):
    first = holdfast("--config", config, "--json", "check", "--effective")
    assert first.returncode == 0
    assert holdfast("check", "--effective", "--json", f"--config={config}").stdout == first.stdout
    assert holdfast("check", "-c", config, "--effective", "--json").stdout == first.stdout


@pytest.mark.parametrize("option,key,other", [("--key-file", "key_file", "passphrase_file"), ("--passphrase-file", "passphrase_file", "key_file")])
def test_one_way_to_open_the_repository_takes_the_place_of_both_in_the_configuration(config, option, key, other):
    for file_has in ("key_file", "passphrase_file"):
        path = config + file_has
        with open(config, encoding="utf-8") as f, open(path, "w", encoding="utf-8") as g:
            g.write(f.read().replace('cache_dir = ""', f'cache_dir = ""; {file_has} = "/of/the/file"'))
        ran = holdfast("-c", path, "check", "--effective", "--json", option, "/mine")
        settings = {s["key"]: s for s in json.loads(ran.stdout)["effective"]}
        assert settings[f"repository.{key}"]["value"] == "/mine"
        assert settings[f"repository.{other}"]["value"] is None
        assert {settings[f"repository.{k}"]["where"] for k in (key, other)} == {option}


def test_what_was_asked_for_is_printed_in_spite_of_quiet(config):
    assert "keep.last" in holdfast("-q", "-c", config, "check", "--effective").stdout


def test_a_full_disk_is_an_error_and_not_a_success(config):
    for arguments in (["--help"], ["--version"], ["-c", config, "check", "--effective"], ["completion", "bash"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            ran = holdfast(*arguments, stdout=full)
        assert ran.returncode == 1
        assert "No space left on device" in ran.stderr


def test_a_closed_pipe_is_an_error_and_not_a_signal(config):
    reader, writer = os.pipe()
    os.close(reader)
    ran = holdfast("-c", config, "check", "--effective", stdout=writer)
    os.close(writer)
    assert ran.returncode == 1
    assert "Broken pipe" in ran.stderr


def test_a_closed_standard_output_is_an_error(config):
    ran = subprocess.run(["bash", "-c", f'"{HOLDFAST}" -c "{config}" check --effective >&-'], env=ENVIRONMENT, stderr=subprocess.PIPE,
                         text=True, timeout=60)
    assert ran.returncode == 1
    assert "standard output" in ran.stderr


def on_terminal(arguments, columns, env):
    """What a terminal of that width shows."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([HOLDFAST, *arguments], env={**ENVIRONMENT, **env}, stdin=follower, stdout=follower, stderr=follower) as p:
        os.close(follower)
        shown = b""
        while True:
            try:
                got = os.read(leader, 65536)
            except OSError:
                break
            if not got:
                break
            shown += got
        p.wait(timeout=60)
    os.close(leader)
    return shown.decode()


def test_colours_are_for_terminals_that_want_them(config):
    arguments = ["-c", config, "check", "--effective"]
    assert "\033" not in holdfast(*arguments).stdout
    assert "\033[1m" in on_terminal(arguments, 120, {"TERM": "xterm"})
    assert "\033" not in on_terminal(arguments, 120, {"TERM": "xterm", "NO_COLOR": "1"})
    assert "\033" not in on_terminal(arguments, 120, {"TERM": "dumb"})


def test_tables_fit_the_terminal(tmp_path):
    path = tmp_path / "holdfast.cfg"
    path.write_text('name = "x";\nrepository: { kind = "folder"; folder: { path = "/備份/資料庫/' + "長" * 100 + '"; }; };\n')
    shown = on_terminal(["-c", str(path), "check", "--effective"], 100, {"TERM": "dumb"})
    row = next(line for line in shown.splitlines() if line.startswith("repository.folder.path"))
    # A wide character takes two columns.
    assert "…" in row
    assert sum(2 if ord(c) > 0x2e80 else 1 for c in row.split("…")[0]) < 100


def complete(line):
    """What bash offers when TAB is pressed at the end of `line`."""
    script = f"""
        source <("{HOLDFAST}" completion bash) || exit 1
        line={json.dumps(line)}
        # Readline breaks words at = too.
        read -ra COMP_WORDS <<< "${{line//=/ = }}"
        [[ $line == *[\\ =] ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _holdfast
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(["bash", "--norc", "-c", script], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         timeout=60, cwd=os.path.join(TREE, "etc"))
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    return [word for word in ran.stdout.splitlines() if word]


def test_bash_completes_commands():
    assert {"backup", "keys", "restore", "completion", "--json"} <= set(complete("holdfast "))
    assert complete("holdfast ba") == ["backup"]
    assert complete("holdfast --config /x --quiet ve") == ["verify"]
    assert complete("holdfast --config=/x ve") == ["verify"]
    assert complete("holdfast keys ") == ["list", "add", "identity", "rotate", "remove"]
    assert complete("holdfast completion ") == ["bash"]
    assert complete("holdfast help ba") == ["backup"]


@pytest.mark.parametrize("command", [n for n, _ in commands()])
def test_bash_completes_every_option_of(command):
    offered = [word.rstrip("=") for word in complete(f"holdfast {command} --")]
    assert sorted(offered) == sorted(options(*command.split()))


def test_bash_completes_values():
    assert complete("holdfast report --format ") == ["text", "md", "html", "json"]
    assert complete("holdfast report --format=h") == ["html"]
    assert complete("holdfast --log-format j") == ["json"]
    assert complete("holdfast --config hold") == ["holdfast.cfg.example"]
    assert complete("holdfast backup --label ") == []
