"""A throw-away PostgreSQL server, with its data, socket and log below one folder, run by an unprivileged user."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import time

SQL = os.path.dirname(os.path.abspath(__file__))


def server_bin():
    """The folder of the server's programs: 15 where it is there, else the newest."""
    found = ["/usr/lib/postgresql/15/bin"] + sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    for folder in found:
        if os.path.exists(os.path.join(folder, "initdb")):
            return folder
    raise RuntimeError("no PostgreSQL server below /usr/lib/postgresql: scripts/setup test installs one")


def clean_environment(**more):
    """Ours, without anything that libpq or an S3 client would take from it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "AWS_", "HOLDFAST_"))}
    env.update(more)
    return env


class Cluster:
    user = "postgres"                   # the superuser; trusted on the socket, which lies in a folder of mode 0700

    def __init__(self, folder, port=5432, options=()):
        self.folder, self.port, self.bin = folder, str(port), server_bin()
        self.data, self.host, self.log = os.path.join(folder, "data"), folder, os.path.join(folder, "log")
        self.options = ["listen_addresses=''", f"unix_socket_directories='{folder}'", f"port={port}", "fsync=off",
                        "max_wal_size=2GB", "shared_buffers=64MB", "max_connections=60", *options]
        os.mkdir(folder, 0o700)
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self._run("initdb", "-D", self.data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()

    def _run(self, program, *arguments):
        words = [os.path.join(self.bin, program), *arguments]
        if os.getuid() == 0:
            words = ["runuser", "-u", "postgres", "--", *words]
        # To a file, not to a pipe: the server would inherit the pipe and hold it open for ever.
        with open(self.folder + ".out", "wb") as out:
            code = subprocess.run(words, cwd="/", env=clean_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  timeout=120, check=False).returncode
        with open(self.folder + ".out", encoding="utf-8", errors="replace") as out:
            text = out.read()
        if code != 0:
            log = open(self.log, encoding="utf-8").read() if os.path.exists(self.log) else ""
            raise RuntimeError(f"{program} ended with {code}:\n{text}\n{log[-4000:]}")

    def start(self):
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.log, "-o", " ".join(f"-c {o}" for o in self.options), "start")

    def stop(self, mode="fast"):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def restart(self, mode="immediate"):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "-l", self.log,
                  "-o", " ".join(f"-c {o}" for o in self.options), "restart")

    def pid(self):
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as f:
            return int(f.readline())

    def destroy(self):
        try:
            os.kill(self.pid(), signal.SIGCONT)
            self.stop("immediate")
        except (OSError, RuntimeError):
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, program, *arguments, **more):
        """Runs psql, createdb, pg_dump ... against this server; output is returned, failure raised with its words."""
        p = subprocess.run([os.path.join(self.bin, program), "-h", self.host, "-p", self.port, "-U", self.user, *arguments],
                           env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                           timeout=more.pop("timeout", 300), **more)
        if p.returncode != 0:
            raise RuntimeError(f"{program} {' '.join(arguments)[:200]}: {p.stderr.decode(errors='replace')}")
        return p.stdout

    def sql(self, database, text):
        """Statements, each in a transaction of its own; gives the lines of the last result, unaligned."""
        out = self.client("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", connection_string(database),
                          input=text.encode())
        return out.decode().splitlines()

    def value(self, database, text):
        lines = self.sql(database, text)
        return "\n".join(lines)

    def file(self, database, path, **variables):
        words = [w for k, v in variables.items() for w in ("-v", f"{k}={v}")]
        self.client("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *words, "-d", connection_string(database), "-f", path)

    def session(self, database):
        """A psql that stays, to hold locks and transactions: write to its stdin, and end it with `close`."""
        return Session(self, database)

    def create(self, database, template="template0"):
        self.sql("postgres", f"create database {quote(database)} template {quote(template)}")

    def drop(self, database):
        if self.value("postgres", f"select count(*) from pg_database where datname = {literal(database)}") == "0":
            return
        # A database with a subscription can't be dropped.
        for name in self.sql(database, "select quote_ident(subname) from pg_subscription join pg_database d on d.oid = subdbid "
                                       "where datname = current_database()"):
            self.sql(database, f"alter subscription {name} disable; alter subscription {name} set (slot_name = none); "
                               f"drop subscription {name}")
        self.sql("postgres", f"drop database {quote(database)} with (force)")

    def databases(self):
        return set(self.sql("postgres", "select datname from pg_database where not datistemplate"))

    def system_identifier(self):
        return self.value("postgres", "select system_identifier from pg_control_system()")

    def text_of(self, database):
        """Everything in a database as one SQL text, by PostgreSQL's own tools: two equal texts are equal databases.
        Rows stand in physical order, which a restore keeps."""
        text = self.client("pg_dump", "-Fp", "-d", connection_string(database)).decode()
        return "\n".join(line for line in text.split("\n") if not line.startswith(("\\restrict ", "\\unrestrict ")))

    def wait_for(self, database, query, expected="t", seconds=30):
        until = time.monotonic() + seconds
        while self.value(database, query) != expected:
            if time.monotonic() > until:
                raise AssertionError(f"waited {seconds} s in vain for {query}")
            time.sleep(0.05)


class Session:
    def __init__(self, cluster, database):
        self.process = subprocess.Popen(
            [os.path.join(cluster.bin, "psql"), "-X", "-q", "-A", "-t", "-h", cluster.host, "-p", cluster.port, "-U", cluster.user,
             "-d", connection_string(database)],
            env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, text):
        """Returns when the server has answered."""
        self.process.stdin.write(text.rstrip("; ") + ";\n\\echo =done=\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == "=done=\n":
                break
            lines.append(line.rstrip("\n"))
        return lines

    def send(self, text):
        """Does not wait: for a statement that will wait for a lock."""
        self.process.stdin.write(text.rstrip("; ") + ";\n")
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def connection_string(database):
    """A database's name that psql doesn't take for a connection string, whatever is in it."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"
