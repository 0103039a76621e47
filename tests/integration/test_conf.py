"""The configuration: what it may hold, and how it says what is wrong with it."""

import json
import os
import re
import stat
import subprocess

import pytest

HOLDFAST = os.environ["HOLDFAST_BIN"]
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

FOLDER = """name = "langfuse";
repository: { kind = "folder"; folder: { path = "/srv/backups"; }; };
"""
S3 = """name = "langfuse";
repository: { kind = "s3"; s3: { endpoint = "https://minio.example:9000"; bucket = "sm-backups"; prefix = "langfuse"; }; };
"""


def holdfast(*arguments, env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    clean.update(env or {})
    return subprocess.run([HOLDFAST, *arguments], env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)


@pytest.fixture
def load(tmp_path):
    """Loads a text as the configuration; gives (exit code, settings by key, stderr)."""
    def run(text, env=None):
        path = tmp_path / "holdfast.cfg"
        path.write_text(text)
        ran = holdfast("--config", str(path), "--json", "check", "--effective", env=env)
        outcome = json.loads(ran.stdout)
        return ran.returncode, {s["key"]: s for s in outcome.get("effective", [])}, ran.stderr
    return run


def test_what_is_not_written_has_its_default_and_says_so(load):
    code, settings, _ = load(FOLDER)
    assert code == 0
    assert settings["backup.level"]["value"] == "3"
    assert settings["backup.level"]["from"] == "default"
    assert settings["backup.level"]["where"] is None
    assert settings["name"]["value"] == "langfuse"
    assert settings["name"]["where"].endswith("holdfast.cfg:1")
    assert settings["repository.folder.path"]["where"].endswith("holdfast.cfg:2")
    assert int(settings["backup.workers"]["value"]) >= 1


def test_a_variable_of_the_environment_wins_over_the_file(load):
    code, settings, _ = load(S3, env={"HOLDFAST_REPOSITORY_S3_BUCKET": "other", "HOLDFAST_SOURCE_DATABASES": "a, b"})
    assert code == 0
    assert settings["repository.s3.bucket"]["value"] == "other"
    assert settings["repository.s3.bucket"]["from"] == "environment"
    assert settings["repository.s3.bucket"]["where"] == "HOLDFAST_REPOSITORY_S3_BUCKET"
    assert settings["source.databases"]["value"] == "a, b"


def test_a_container_needs_no_file():
    env = {"HOLDFAST_NAME": "x", "HOLDFAST_REPOSITORY_KIND": "folder", "HOLDFAST_REPOSITORY_FOLDER_PATH": "/data"}
    if os.path.exists("/etc/holdfast/holdfast.cfg"):
        pytest.skip("this machine has a configuration of its own")
    ran = holdfast("check", "--effective", env=env)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^repository\.folder\.path +/data +HOLDFAST_REPOSITORY_FOLDER_PATH$", ran.stdout, re.M)


def test_addresses_of_services_that_kubernetes_injects_are_no_settings(load):
    code, _, stderr = load(FOLDER, env={
        "HOLDFAST_PORT": "tcp://10.0.0.1:80", "HOLDFAST_SERVICE_HOST": "10.0.0.1", "HOLDFAST_PORT_80_TCP_ADDR": "10.0.0.1",
        "HOLDFAST_METRICS_SERVICE_PORT_HTTP": "9187"})
    assert code == 0, stderr


# One row a mistake: text after FOLDER, the line that is named, what is said.
MISTAKES = [
    ("backup: { levle = 3; };", 3, 'unknown key "backup.levle": is "backup.level" meant?'),
    ("bucket = \"x\";", 3, 'unknown key "bucket": is "repository.s3.bucket" meant?'),
    ("frobnicate = 1;", 3, 'unknown key "frobnicate"'),
    ("backup: { level = \"3\"; };", 3, "backup.level: is a string, and must be a number, without quotes"),
    ("backup: { level = 25; };", 3, "backup.level: 25 is out of range: 1 to 19"),
    ("backup: { level = 0; };", 3, "out of range"),
    ("backup: { level = 3.5; };", 3, "is a fraction"),
    ("backup: {\n\n jobs = 65; };", 5, "backup.jobs: 65 is out of range: 1 to 64"),
    ("backup: { jobs = -1; };", 3, "backup.jobs: -1 is out of range"),
    ("backup: { jobs = 4294967298; };", 3, "the number is too large"),
    ("backup: { deadline = 30; };", 3, "backup.deadline: is a number, and must be a duration"),
    ("backup: { deadline = \"30\"; };", 3, '"30" is not a length of time'),
    ("backup: { deadline = \"1y\"; };", 3, '"1y" is not a length of time'),
    ("backup: { deadline = \"1s\"; };", 3, "1s is out of range: 10s to 30d"),
    ("backup: { large_table = \"64 MB\"; };", 3, '"64 MB" is not a size'),
    ("backup: { large_table = \"99999999999999999999 MiB\"; };", 3, "is not a size"),
    ("backup = 3;", 3, "backup: is a number, and must be a group"),
    ("drill: { amcheck = \"yes\"; };", 3, "drill.amcheck: is a string, and must be true or false"),
    ("drill: { dir = \"tmp\"; };", 3, '"tmp" is not an absolute path'),
    ("drill: { dir = \"\"; };", 3, "drill.dir: is empty"),
    ("drill: { user = \"root\"; };", 3, "root is no unprivileged user"),
    ("drill: { checks = ( { name = \"a\"; } ); };", 3, "a check needs a name and sql"),
    ("drill: { checks = ( { name = \"a\"; sq = \"x\"; } ); };", 3, 'unknown member "sq": is "sql" meant?'),
    ("drill: { checks = ( { name = \"a\"; sql = \"x\"; }, { name = \"a\"; sql = \"x\"; } ); };", 3, 'two checks are called "a"'),
    ("drill: { checks = \"x\"; };", 3, "must be a list"),
    ("drill: { server: { port = 5433; }; };", 3, "drill.server.host is not"),
    ("drill: { server: { host = \"localhost\"; }; };", 3, "is the source itself"),
    ("source: { host = \"DB.example\"; };\ndrill: { server: { host = \"db.example\"; }; };", 4, "is the source itself"),
    ("source: { databases = []; };", 3, "is an empty list"),
    ("source: { databases = \"langfuse\"; };", 3, 'must be "all" or a list'),
    ("source: { databases = [ \"a\", \"a\" ]; };", 3, '"a" stands twice'),
    ("source: { databases = ( \"a\", 3 ); };", 3, "element 2 is a number"),
    ("source: { sslmode = \"verify\"; };", 3, '"verify" is none of "disable", "allow", "prefer", "require", "verify-ca", "verify-full"'),
    ("source: { port = 0; };", 3, "source.port: 0 is out of range: 1 to 65535"),
    ("source: { port = \"5432\"; };", 3, "source.port: is a string, and must be a number, without quotes"),
    ("source: { databases = \"langfuse, reports\"; };", 3, "source.databases: is a string, and must be"),
    ("source: { databases = { a = 1; }; };", 3, "source.databases: is a group, and must be"),
    ("drill: { checks = ( { name = \"a\"; sql = 1; } ); };", 3, '"sql" is a number, and must be a string'),
    ("drill: { checks = ( { name = \"a\"; sql = \"x\"; expect = true; } ); };", 3, '"expect" is true or false, and must be a string or a number'),
    ("drill: { checks = ( { name = \"\"; sql = \"x\"; } ); };", 3, '"name" is empty'),
    ("source: { sslcert = \"/c\"; };", 3, "sslcert and sslkey go together"),
    ("source: { password_file = \"/a\"; passfile = \"/b\"; };", 3, "either password_file or passfile"),
    ("keep: { last = 0; daily = 0; weekly = 0; monthly = 0; };", 3, "every backup would expire"),
    ("keep: { last = 1; last = 2; };", 3, "duplicate setting name"),
    ("name = \"again\";", 3, "duplicate setting name"),
    ("keep: { last 1; };", 3, "syntax error"),
    ("keep: { grace = \"3d; };", 3, "the string that begins here is not closed"),
    ("/* keep", 3, "the comment that begins here is not closed"),
    ("x = " + "(" * 40 + ")" * 40 + ";", 3, "nested too deeply"),
    ("@include \"../secret.cfg\"", 3, "@include takes an absolute path or the name of a file in the same folder"),
    ("@include \"missing.cfg\"", 3, "missing.cfg"),
]


@pytest.mark.parametrize("text,line,said", MISTAKES, ids=[re.sub(r"\W+", " ", m[0])[:50] for m in MISTAKES])
def test_a_mistake_is_named_with_its_line(load, text, line, said):
    code, _, stderr = load(FOLDER + text + "\n")
    assert code == 2
    assert said in stderr
    assert f'holdfast.cfg" line {line}: ' in stderr.split("\n")[0]


# A value of each type that libconfig has, and the keys that may have it.
VALUES = {
    '"64"': {"string", "name", "size"}, '"/x"': {"string", "absolute path", 'absolute path or ""'}, "64": {"number", "size"}, "2.5": set(),
    "true": {"true or false"}, '[ "x" ]': {"list of strings", '"all" or list of strings'}, "[ 1 ]": set(), "( ( 1 ) )": set(), "{ }": set(),
}


def test_a_value_of_the_wrong_type_is_an_error_for_every_key(load):
    for key, was in load(FOLDER)[1].items():
        *groups, last = key.split(".")
        for value, types in VALUES.items():
            if was["type"] in types:
                continue
            text = "\n\n" + "".join(f"{g}: {{ " for g in groups) + f"{last} = {value};" + " };" * len(groups) + "\n"
            code, _, stderr = load(text)
            assert code == 2 and f'holdfast.cfg" line 3: {key}: ' in stderr, f"{text.strip()}\n{stderr}"


CONTRADICTIONS = [
    ("name = \"x\";", "repository.kind is not set"),
    ("repository: { kind = \"folder\"; folder: { path = \"/x\"; }; };", "name is not set"),
    ("name = \"x\"; repository: { kind = \"folder\"; };", "repository.folder.path is not set"),
    ("name = \"x\"; repository: { kind = \"s3\"; s3: { bucket = \"b\"; }; };", "repository.s3.endpoint is not set"),
    ("name = \"x\"; repository: { kind = \"s3\"; s3: { endpoint = \"https://h\"; }; };", "repository.s3.bucket is not set"),
    (S3.replace("https://", ""), "must begin with https:// or http://"),
    (S3.replace("9000", "9000/sm-backups"), "must be a host alone"),
    (S3.replace("\"langfuse\"; };", "\"a//b\"; };"), "repository.s3.prefix"),
    (S3.replace("\"langfuse\"; };", "\"a/../b\"; };"), "repository.s3.prefix"),
    (S3.replace("bucket =", "signature = \"v2\"; bucket ="), "cannot verify the server's certificate"),
    (S3.replace("bucket =", "access_key_file = \"/a\"; bucket ="), "access_key_file and secret_key_file go together"),
    (FOLDER.replace("kind", "cache_dir = \"/srv/backups/cache\"; kind"), "lies inside the repository"),
    (FOLDER.replace("kind", "key_file = \"/k\"; passphrase_file = \"/p\"; kind"), "either key_file or passphrase_file"),
    (FOLDER.replace("langfuse", "lang fuse"), "may hold letters"),
]


@pytest.mark.parametrize("text,said", CONTRADICTIONS, ids=[str(c[1]) for c in CONTRADICTIONS])
def test_values_that_contradict_each_other_are_refused(load, text, said):
    code, _, stderr = load(text)
    assert code == 2
    assert said in stderr


def test_v2_over_http_and_v2_with_unverified_certificates_are_what_was_asked_for(load):
    assert load(S3.replace("bucket =", "signature = \"v2\"; bucket =").replace("https", "http"))[0] == 0
    assert load(S3.replace("bucket =", "signature = \"v2\"; v2_unverified_tls = true; bucket ="))[0] == 0


def test_every_mistake_of_a_file_is_reported_at_once(load):
    code, _, stderr = load(FOLDER + "backup: { levle = 3; jobs = 0; };\nkeep: { last = -1; };\n", env={"HOLDFAST_DRILL_DIRR": "/x"})
    assert code == 2
    assert [line for line in stderr.splitlines() if "hint:" not in line] == [
        f"holdfast: {line}" for line in (
            re.findall(r'"[^"]*holdfast.cfg" line 3: unknown key "backup.levle".*', stderr)
            + re.findall(r'"[^"]*holdfast.cfg" line 3: backup.jobs: 0 is.*', stderr)
            + re.findall(r'"[^"]*holdfast.cfg" line 4: keep.last: -1 is.*', stderr)
            + ["HOLDFAST_DRILL_DIRR: unknown variable: is HOLDFAST_DRILL_DIR meant?"])]


# R49: no secret in the configuration, and none of it in what is said about that.
@pytest.mark.parametrize("text,instead", [
    ("source: { password = \"canary-7301\"; };", "source.password_file"),
    ("repository: { kind = \"s3\"; s3: { secret_key = \"canary-7301\"; }; };", "repository.s3.secret_key_file"),
    ("repository: { passphrase = \"canary-7301\"; };", "repository.passphrase_file"),
    ("repository: { s3: { endpoint = \"https://u:canary-7301@h\"; bucket = \"b\"; }; kind = \"s3\"; };\nname = \"x\";", "access_key_file"),
])
def test_a_secret_in_the_file_is_refused_and_never_repeated(load, text, instead):
    code, _, stderr = load(text)
    assert code == 2
    assert instead in stderr
    assert "canary" not in stderr


def test_a_secret_in_the_environment_is_refused_and_never_repeated(load):
    code, _, stderr = load(FOLDER, env={"HOLDFAST_SOURCE_PASSWORD": "canary-7301"})
    assert code == 2
    assert "HOLDFAST_SOURCE_PASSWORD_FILE" in stderr
    assert "canary" not in stderr


def test_the_contents_of_secret_files_are_not_shown(load, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("canary-7301")
    secret.chmod(0o600)
    code, settings, _ = load(FOLDER + f'source: {{ password_file = "{secret}"; }};')
    assert code == 0
    assert settings["source.password_file"]["value"] == str(secret)
    assert "canary" not in json.dumps(settings)


def test_another_file_of_the_same_folder_can_be_included(load, tmp_path):
    (tmp_path / "keep.cfg").write_text("// mine\nkeep: { last = 3; };\n")
    code, settings, stderr = load(FOLDER + '@include "keep.cfg"\n')
    assert code == 0, stderr
    assert settings["keep.last"]["value"] == "3"
    assert settings["keep.last"]["where"].endswith("keep.cfg:2")
    (tmp_path / "keep.cfg").write_text("keep: {\n lastt = 3; };\n")
    code, _, stderr = load(FOLDER + '@include "keep.cfg"\n')
    assert code == 2
    assert 'keep.cfg" line 2: ' in stderr


def test_files_that_include_each_other_end(load, tmp_path):
    (tmp_path / "a.cfg").write_text('@include "a.cfg"\n')
    code, _, stderr = load(FOLDER + '@include "a.cfg"\n')
    assert code == 2
    assert "nested too deeply" in stderr


def test_a_configuration_that_everybody_may_write_is_refused(tmp_path):
    path = tmp_path / "holdfast.cfg"
    path.write_text(FOLDER)
    path.chmod(0o666)
    ran = holdfast("-c", str(path), "check", "--effective")
    assert ran.returncode == 2
    assert "everybody may write to it" in ran.stderr


def test_a_configuration_that_was_named_must_exist(tmp_path):
    for arguments, env in ((["--config", "/nonexistent.cfg"], {}), ([], {"HOLDFAST_CONFIG": "/nonexistent.cfg"})):
        ran = holdfast(*arguments, "check", "--effective", env=env)
        assert ran.returncode == 2
        assert "/nonexistent.cfg" in ran.stderr


def test_a_server_on_another_host_must_prove_who_it_is(load):
    assert load(FOLDER + 'source: { host = "db.example"; };')[1]["source.sslmode"]["value"] == "verify-full"
    assert load(FOLDER + 'source: { host = "/run/postgresql"; };')[1]["source.sslmode"]["value"] == "prefer"


def test_the_example_is_a_configuration():
    ran = holdfast("-c", os.path.join(TREE, "etc", "holdfast.cfg.example"), "--json", "check", "--effective")
    assert ran.returncode == 0, ran.stderr
    settings = {s["key"]: s for s in json.loads(ran.stdout)["effective"]}
    assert settings["drill.checks"]["value"] == "newest trace is of today, no project is lost"


def rows_of(settings):
    """The rows of docs/configuration.md, as the table of keys in the program says them."""
    for s in settings:
        kind = " ".join(w for w in (s["type"], s["range"]) if w).replace("number 1 to", "1 to").replace("number 0 to", "0 to")
        default = "" if s["default"] is None else f"`{s['default']}`"
        yield f"| `{s['key']}` | {kind} | {default} | {s['meaning']} |"


def test_the_reference_describes_every_key_as_the_program_has_it(tmp_path):
    path = tmp_path / "holdfast.cfg"
    path.write_text(FOLDER)
    settings = json.loads(holdfast("-c", str(path), "--json", "check", "--effective").stdout)["effective"]
    with open(os.path.join(TREE, "docs", "configuration.md"), encoding="utf-8") as f:
        reference = f.read()
    for row in rows_of(settings):
        assert row in reference
    assert len(re.findall(r"^\| `[a-z][a-z0-9_.]*` \|", reference, re.M)) == len(settings)
    with open(os.path.join(TREE, "docs", "man", "holdfast.cfg.5.scd"), encoding="utf-8") as f:
        manual = f.read()
    for s in settings:
        assert f"*{s['key']}*" in manual.replace("\\", "")


def test_a_file_that_the_program_cannot_read_says_why(tmp_path):
    if os.geteuid() == 0:
        # Root reads everything; a folder cannot be read by anybody.
        ran = holdfast("-c", str(tmp_path), "check", "--effective")
    else:
        path = tmp_path / "holdfast.cfg"
        path.write_text(FOLDER)
        path.chmod(stat.S_IWUSR)
        ran = holdfast("-c", str(path), "check", "--effective")
    assert ran.returncode == 2
    assert str(tmp_path) in ran.stderr
