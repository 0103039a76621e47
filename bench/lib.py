"""What bench/run is made of: throw-away clusters, watched commands, numbers."""

import os
import pwd
import shutil
import statistics
import subprocess
import sys
import threading
import time
from glob import glob

MB = 1e6
MIB = 1 << 20


def say(text):
    print(f"bench {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def tree_bytes(*paths):
    """Bytes of all files below; sparse or not, hard-linked or not."""
    return sum(os.path.getsize(os.path.join(folder, name))
               for path in paths for folder, _, names in os.walk(path) for name in names)


def median(values):
    return statistics.median(values)


class Failed(Exception):
    pass


class Watch:
    """Samples the memory of the processes below `pid` whose program is `program`: their proportional share (PSS), summed."""

    def __init__(self, pid, program):
        self.pid, self.program, self.peak, self.peak_anon, self.ended = pid, os.path.realpath(program), 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def below(self, pid):
        yield pid
        for path in glob(f"/proc/{pid}/task/*/children"):
            try:
                with open(path) as f:
                    children = f.read().split()
            except OSError:
                continue
            for child in children:
                yield from self.below(int(child))

    def sample(self):
        pss = anon = 0
        for pid in self.below(self.pid):
            try:
                if os.readlink(f"/proc/{pid}/exe") != self.program:
                    continue
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    fields = dict(line.split(":", 1) for line in f if ":" in line and "-" not in line.split()[0])
            except OSError:
                continue        # it ended just now
            pss += int(fields["Pss"].split()[0]) * 1024
            anon += int(fields["Pss_Anon"].split()[0]) * 1024
        self.peak = max(self.peak, pss)
        self.peak_anon = max(self.peak_anon, anon)

    def run(self):
        while not self.ended.wait(0.1):
            self.sample()

    def stop(self):
        self.ended.set()
        self.thread.join()


class Done:
    """How a command went: seconds, CPU seconds (own, and of all it waited for), memory as Watch saw it, stdout."""


def run(argv, *, env=None, stdin=None, stdout=None, watch=None, good=(0,), cwd="/"):
    done = Done()
    before = os.times()
    began = time.monotonic()
    with subprocess.Popen(argv, env=env, stdin=stdin, stdout=subprocess.PIPE if stdout is None else stdout,
                          stderr=subprocess.PIPE, cwd=cwd) as p:
        watcher = Watch(p.pid, watch) if watch else None
        out, err = p.communicate()
        done.seconds = time.monotonic() - began
        if watcher:
            watcher.stop()
            done.memory, done.anon = watcher.peak, watcher.peak_anon
    after = os.times()
    done.cpu = after.children_user + after.children_system - before.children_user - before.children_system
    done.out = out
    if p.returncode not in good:
        raise Failed(f"{' '.join(argv)[:300]}\nended with status {p.returncode}\n{err.decode(errors='replace')[-3000:]}")
    return done


def shell(script, *args, env=None):
    """A pipeline that fails when a part of it does."""
    return run(["bash", "-c", "set -euo pipefail\n" + script, "bench", *args], env=env)


class Cluster:
    """A throw-away server below `folder`, reached by its socket there as user postgres."""

    # As the drill's own scratch cluster is run, so that what is compared is not the settings.  fsync is off for all alike.
    SETTINGS = {
        "listen_addresses": "''", "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "wal_level": "minimal",
        "max_wal_senders": "0", "autovacuum": "off", "jit": "off", "max_wal_size": "16GB", "checkpoint_timeout": "1h",
        "wal_buffers": "64MB", "wal_init_zero": "off",
    }

    def __init__(self, folder, bin_dir):
        self.folder, self.bin, self.data = folder, bin_dir, os.path.join(folder, "data")
        available = 0
        with open("/proc/meminfo") as f:
            for line in f:
                if line.startswith("MemAvailable:"):
                    available = int(line.split()[1]) * 1024
        shared = min(max(available // 8 // MIB, 32), 1024)
        sort = min(max(available // 16 // MIB, 16), 1024)
        settings = dict(self.SETTINGS, unix_socket_directories=f"'{folder}'", shared_buffers=f"{shared}MB",
                        maintenance_work_mem=f"{sort}MB")
        os.mkdir(folder, 0o700)
        self.prefix = []
        if os.geteuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(folder, postgres.pw_uid, postgres.pw_gid)
            self.prefix = ["runuser", "-u", "postgres", "--"]
        run([*self.prefix, f"{bin_dir}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
             "--no-sync"], stdout=subprocess.DEVNULL)
        options = " ".join(f"-c {k}={v}" for k, v in settings.items())
        run([*self.prefix, f"{bin_dir}/pg_ctl", "-D", self.data, "-w", "-l", f"{folder}/log", "-o", options, "start"],
            stdout=subprocess.DEVNULL)

    def stop(self):
        if os.path.exists(f"{self.data}/postmaster.pid"):
            subprocess.run([*self.prefix, f"{self.bin}/pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def env(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "HOLDFAST_", "AWS_"))}
        return dict(kept, PGHOST=self.folder, PGUSER="postgres", PATH=f"{self.bin}:{kept['PATH']}", **more)

    def sql(self, statement, database="postgres"):
        done = run([f"{self.bin}/psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement], env=self.env())
        return done.out.decode().strip()


def table(head, rows):
    """Markdown; numbers to the right."""
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def have(*programs):
    return all(shutil.which(p) for p in programs)
