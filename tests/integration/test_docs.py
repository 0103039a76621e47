"""The documentation, held to what it says.

Every ```sh block of README.md and docs/*.md is run, those of one page in order and in one shell, against a throw-away
PostgreSQL, another server to restore to, and a repository: on S3 where there is such a server, in a folder otherwise.  An
HTML comment on the line before a block says when that is not so:

    <!-- not run: WHY -->           cannot be run here; its commands and options are still checked
    <!-- ends with 8: WHY -->       its last command must end with that exit code

and one at the top of a page, <!-- begins where README.md ends -->, that another page's blocks are run first.  A block's
commands must end with 0, or with 3 ("done, with warnings") where they are holdfast's.

What the pages call by a name of somebody's own stands for something here: PLACEHOLDERS.

Beside that: no link, anchor, file, command, option or configuration key in the pages that does not exist."""

import functools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from lib.agent import program
from lib.cluster import Cluster, clean_environment, server_bin
from lib.repository import S3

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
PAGES = ["README.md", "CHANGELOG.md"] + sorted("docs/" + n for n in os.listdir(os.path.join(ROOT, "docs")) if n.endswith(".md"))

BLOCK = re.compile(r"^```sh[^\S\n]*\n(.*?)^```[^\S\n]*$", re.M | re.S)
FENCE = re.compile(r"^```.*?^```[^\S\n]*$", re.M | re.S)
COMMENT = re.compile(r"<!-- (not run|ends with (\d+)): ([^>]+?) -->\n\Z")
BEGINS = re.compile(r"^<!-- begins where (\S+) ends -->$", re.M)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        return f.read()


class Block:
    def __init__(self, page, match, text):
        self.page, self.line, self.code = page, text.count("\n", 0, match.start()) + 1, match.group(1)
        comment = COMMENT.search(text, 0, match.start())
        self.not_run = comment.group(3) if comment and comment.group(1) == "not run" else None
        self.status = int(comment.group(2)) if comment and comment.group(2) else 0


def blocks(page):
    text = text_of(page)
    return [Block(page, m, text) for m in BLOCK.finditer(text)]


def with_those_before(page):
    begins = BEGINS.search(text_of(page))
    before = with_those_before(os.path.normpath(os.path.join(os.path.dirname(page), begins.group(1)))) if begins else []
    return before + blocks(page)


RUNNABLE = [p for p in PAGES if any(not b.not_run for b in blocks(p))]


# ---- running them ----

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def servers(work):
    """The server with the database "langfuse", reached by TCP with a password, and two empty ones."""
    folder = tempfile.mkdtemp(prefix="docs", dir=os.path.dirname(work))
    os.chmod(folder, 0o711)
    source = Cluster(os.path.join(folder, "db"), port=free_port(), options=["listen_addresses='127.0.0.1'"])
    new, bare = Cluster(os.path.join(folder, "new")), Cluster(os.path.join(folder, "bare"))
    with open(os.path.join(source.data, "pg_hba.conf"), "r+", encoding="ascii") as f:
        rules = f.read()
        f.seek(0)
        f.write("host all holdfast 127.0.0.1/32 scram-sha-256\n" + rules)
    source.sql("postgres", "select pg_reload_conf()")
    source.create("langfuse")
    source.file("langfuse", os.path.join(ROOT, "demo/schema.sql"))
    source.file("langfuse", os.path.join(ROOT, "demo/fill.sql"), traces=200)
    # Langfuse has none, and a role that may read everything may not read these (docs/operations.md).
    source.sql("langfuse", "select lo_unlink(oid) from pg_largeobject_metadata")
    yield source, new, bare
    for cluster in (source, new, bare):
        cluster.destroy()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bucket(work):
    """A place in a bucket, or None where there is no S3 server."""
    if "HOLDFAST_TEST_S3_ENDPOINT" not in os.environ:
        yield None
        return
    place = S3(work)
    yield place
    place.destroy()


def placeholders(work, source, new, bare, s3):
    """What a page says, and what it is here; the longest first."""
    table = {
        "/etc/holdfast": f"{work}/etc",
        "/mnt/backups": f"{work}/disk",
        "/root/": f"{work}/home/",
        "/usr/local/bin/": os.path.dirname(program()) + "/",
        "db.example": "127.0.0.1",
        "5432": source.port,
        "new.example": new.host,
        "bare.example": bare.host,
    }
    if s3:
        table.update({
            "https://minio.example:9000": s3.endpoint,
            "sm-backups": s3.bucket,
            'prefix = "': f'prefix = "{s3.prefix}',
        })
    else:
        # The same blocks, with a folder as their repository.
        table.update({'kind = "s3";': f'kind = "folder"; folder: {{ path = "{work}/disk/s3"; }};'})
    return sorted(table.items(), key=lambda each: -len(each[0]))


# 3 is "done, with warnings".
PRELUDE = """\
set -euo pipefail
holdfast() {
	local status=0
	command holdfast "$@" || status=$?
	[ $status -ne 3 ] || status=0
	return $status
}
"""


def script_of(page, table):
    lines = [PRELUDE]
    for block in with_those_before(page):
        if block.not_run:
            continue
        code = block.code
        for says, means in table:
            code = code.replace(says, means)
        lines.append(f"echo '=== {block.page}, line {block.line}' >&2")
        if block.status == 0:
            lines.append(code)
        else:
            lines.append(f"status=0; (\n{code}) || status=$?")
            lines.append(f"[ $status -eq {block.status} ] || {{ echo \"ended with $status, not {block.status}\" >&2; exit 1; }}")
    return "\n".join(lines)


@pytest.mark.parametrize("page", RUNNABLE)
def test_every_command_of_a_page_does_what_it_says(page, work, servers, bucket):
    for folder in ("etc", "disk", "disk/s3", "home", "scratch"):
        os.makedirs(os.path.join(work, folder), mode=0o700)
    os.chmod(os.path.join(work, "scratch"), 0o711)
    env = clean_environment(
        HOME=os.path.join(work, "home"), LC_ALL="C.UTF-8", PATH=f"{os.path.dirname(program())}:{server_bin()}:{os.environ['PATH']}",
        # Where the pages rely on a default that is not ours to use.
        HOLDFAST_CONFIG=os.path.join(work, "etc/holdfast.cfg"), HOLDFAST_REPOSITORY_CACHE_DIR=os.path.join(work, "cache"),
        HOLDFAST_DRILL_DIR=os.path.join(work, "scratch"),
        S3_ACCESS_KEY=os.environ.get("HOLDFAST_TEST_S3_ACCESS_KEY", "none"),
        S3_SECRET_KEY=os.environ.get("HOLDFAST_TEST_S3_SECRET_KEY", "none"))
    script = script_of(page, placeholders(work, *servers, bucket))
    p = subprocess.run(["bash", "-c", script], env=env, cwd=os.path.join(work, "home"), stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False)
    said = p.stdout.decode(errors="replace")
    print(said)
    assert p.returncode == 0, f"a command of {page} ended with {p.returncode}, after:\n{said[-6000:]}"
    assert "Sanitizer" not in said and "runtime error:" not in said, said


# ---- what they name ----

def slug(heading):
    """As the forges make an anchor of a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page):
    text = FENCE.sub("", text_of(page))
    return {slug(m.group(1)) for m in re.finditer(r"^#+ (.+)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES)
def test_no_link_leads_nowhere(page):
    broken = []
    for target in LINK.findall(FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(os.path.join(ROOT, file)):
            broken.append(target)
        elif anchor and anchor not in anchors(file):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
    missing = []
    for code in CODE.findall(FENCE.sub("", text_of(page))):
        # A name with a part to be filled in (<room>, test_x.c, *) is not the name of a file.
        if re.fullmatch(r"(?:scripts|docs|tests|include|src|etc|demo|cmake|\.ci)/[\w./-]+", code) and not re.search(r"\bx\b|_x\b", code) \
                and not os.path.exists(os.path.join(ROOT, code)):
            missing.append(code)
    assert not missing


@functools.lru_cache(maxsize=None)
def help_of(*words):
    p = subprocess.run([program(), *words, "--help"], env=clean_environment(), stdout=subprocess.PIPE, check=False)
    return p.stdout.decode() if p.returncode == 0 else ""


def commands():
    listed = help_of().split("Commands:\n")[1].split("\n\n")[0]
    return {re.split(r"\s{2,}", line.strip())[0] for line in listed.splitlines()}


def options_in(text):
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text))


def every_option():
    return set().union(*(options_in(help_of(*c.split())) for c in commands()), options_in(help_of()))


# Options of other programs that the pages speak of.
OTHERS = {"--exclude-table-data", "--globals-only"}


def mentions(page):
    """Each command line of holdfast on a page, in a block or in a sentence."""
    text = text_of(page)
    lines = []
    for block in blocks(page):
        lines += re.findall(r"\bholdfast ((?:(?:keys|completion) )?[a-z].*)", block.code.replace("\\\n", " "))
    lines += [m[len("holdfast "):] for m in CODE.findall(FENCE.sub("", text)) if re.match(r"holdfast [a-z]", m)]
    # HOLDFAST_BIN=.../holdfast tests/... names the program and calls something else.
    return [re.split(r"[|;&<>#)]", line)[0].split() for line in lines if "/" not in line.split()[0]]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_a_page_names_exists(page):
    known, wrong = commands(), []
    for words in mentions(page):
        name = " ".join(words[:2]) if words[0] in ("keys", "completion") else words[0]
        if words == ["keys"]:
            continue
        if name not in known:
            wrong.append(f"holdfast {name}")
            continue
        has = options_in(help_of(*name.split()))
        wrong += [f"holdfast {name} {w}" for w in options_in(" ".join(words)) if w not in has]
    has = every_option() | OTHERS
    wrong += [code for code in CODE.findall(FENCE.sub("", text_of(page))) if code.startswith("--") and options_in(code) - has]
    assert not wrong


@functools.lru_cache(maxsize=None)
def configuration_keys():
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as f:
        f.write('name = "x"; repository: { kind = "folder"; folder: { path = "/x"; }; };\n')
        f.flush()
        out = subprocess.run([program(), "--config", f.name, "check", "--effective", "--json"], env=clean_environment(),
                             stdout=subprocess.PIPE, check=True).stdout
    return {each["key"] for each in json.loads(out)["effective"]}


@pytest.mark.parametrize("page", PAGES)
def test_every_configuration_key_that_a_page_names_exists(page):
    keys = configuration_keys()
    groups = {k[:i] for k in keys for i, c in enumerate(k) if c == "."}
    named = [c for c in CODE.findall(FENCE.sub("", text_of(page))) if re.fullmatch(r"(repository|source|backup|drill|keep)\.[a-z0-9_.]+", c)]
    assert not [n for n in named if n not in keys and n not in groups]


def test_every_page_can_be_found_from_the_readme():
    found, ahead = set(), ["README.md"]
    while ahead:
        page = ahead.pop()
        if page in found:
            continue
        found.add(page)
        for target in LINK.findall(text_of(page)):
            file = os.path.normpath(os.path.join(os.path.dirname(page), target.partition("#")[0]))
            if file in PAGES:
                ahead.append(file)
    assert set(PAGES) - found == set()
