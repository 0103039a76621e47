"""The holdfast program as an operator has it: a configuration file, a key, and the command line."""

import copy
import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any, List

from .cluster import clean_environment

# Exit codes (docs/cli.md).
OK, FAILED, USAGE, WARNINGS, NOT_PROVEN, STORE, DATABASE, LOCKED, REFUSED = range(9)


@dataclass
class Result:
    argv: List[str]
    code: int
    out: bytes
    err: str

    @property
    def text(self):
        return self.out.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self):
        # What pytest shows of a failed assertion.
        return (f"$ {' '.join(self.argv)}\nexit code {self.code}\n--- stdout\n{self.out[-4000:].decode(errors='replace')}\n"
                f"--- stderr\n{self.err[-4000:]}")


def program():
    path = os.environ.get("HOLDFAST_BIN")
    if not path:
        here = os.path.dirname(os.path.abspath(__file__))
        path = os.path.join(here, "../../../build/debug/holdfast")
    path = os.path.realpath(path)
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"there is no program at {path}: build it, or name it by HOLDFAST_BIN")
    return path


def libconfig(value, indent=""):
    """A value in the grammar of libconfig."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L" if abs(value) > 0x7fffffff else str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        inner = ", ".join(libconfig(v, indent + "\t") for v in value)
        return f"( {inner} )" if value and isinstance(value[0], dict) else f"[ {inner} ]"
    inner = "".join(f"{indent}\t{k} = {libconfig(v, indent + chr(9))};\n" for k, v in value.items())
    return "{\n" + inner + indent + "}"


def merged(base, more):
    """`more` laid over `base`; a value None takes the key away."""
    result = copy.deepcopy(base)
    for key, value in more.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Agent:
    """`agent("backup", "--json")` runs and gives a Result; `agent.ok(...)` also asserts that it went well."""

    def __init__(self, work, source, repository, databases=None):
        self.work, self.source, self.repository, self.program = work, source, repository, program()
        self.config, self.key = os.path.join(work, "holdfast.cfg"), os.path.join(work, "key")
        self.scratch = os.path.join(work, "scratch")
        os.mkdir(self.scratch, 0o711)
        self.secrets = list(getattr(repository, "secrets", []))
        self.env, self.started = {}, []
        conf = {
            "name": "test",
            "repository": merged(repository.conf(work), {"key_file": self.key, "cache_dir": os.path.join(work, "cache")}),
            "source": {"host": source.host, "port": int(source.port), "user": source.user},
            "backup": {"large_table": 1 << 20, "lock_timeout": "2s", "lock_attempts": 1},
            "drill": {"dir": self.scratch, "min_free": 64 << 20},
        }
        if databases:
            conf["source"]["databases"] = databases
        self.settings = conf
        self.configure()

    def configure(self, **more):
        """Lays settings over those in force and writes the file: configure(backup={"jobs": 1})."""
        self.settings = merged(self.settings, more)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("".join(f"{k} = {libconfig(v)};\n" for k, v in self.settings.items()))

    def command(self, *words):
        return [self.program, "--config", self.config, *words]

    def environment(self, env=None):
        return clean_environment(HOME=self.work, LC_ALL="C.UTF-8", **{**self.env, **(env or {})})

    def __call__(self, *words, timeout=300, env=None, stdin=None, program_prefix=()):
        argv = self.command(*words)
        p = subprocess.run([*program_prefix, *argv], env=self.environment(env), cwd=self.work, input=stdin,
                           stdin=subprocess.DEVNULL if stdin is None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
        result = Result(argv, p.returncode, p.stdout, p.stderr.decode(errors="replace"))
        self.judge(result)
        return result

    def judge(self, result):
        """What no run may ever do: say a secret (R49), or die of a sanitizer."""
        for secret in self.secrets:
            assert secret not in result.err and secret.encode() not in result.out, f"a secret was printed:\n{result}"
        assert "Sanitizer" not in result.err and "runtime error:" not in result.err, str(result)

    def ok(self, *words, **more):
        result = self(*words, **more)
        assert result.code == OK, str(result)
        return result

    def fails(self, code, *words, says=(), **more):
        """Asserts the exit code, and that the message holds each of `says`: an error that does not name the thing is none."""
        result = self(*words, **more)
        assert result.code == code, f"expected exit code {code}\n{result}"
        for text in [says] if isinstance(says, str) else says:
            assert text in result.err, f"expected \"{text}\" on stderr\n{result}"
        return result

    def start(self, *words, env=None, program_prefix=()):
        """Does not wait.  A session of its own, so that killing it does not touch the tests."""
        process = subprocess.Popen([*program_prefix, *self.command(*words)], env=self.environment(env), cwd=self.work,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.started.append(process)
        return process

    def end(self):
        """Whatever a test that failed left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    # What nearly every test begins with.
    def init(self, *words):
        result = self("init", "--key-out", self.key, "--accept-single-key", *words)
        assert result.code == WARNINGS, f"one key only is worth a warning (R50)\n{result}"

    def backup(self, *words, **more):
        """The outcome's summary of a backup that went well, with or without warnings."""
        result = self("backup", "--json", *words, **more)
        assert result.code in (OK, WARNINGS), str(result)
        return result.json["backup"]

    def restore(self, target, into, *words, backup="latest", **more):
        return self("restore", backup, "--host", target.host, "--port", target.port, "--user", target.user, "--into", into,
                    "--json", *words, **more)

    def restored(self, target, into, *words, **more):
        """A restore that went well, with or without warnings: its outcome."""
        result = self.restore(target, into, *words, **more)
        assert result.code in (OK, WARNINGS), str(result)
        return result.json

    def list(self):
        return self.ok("list", "--json").json["backups"]
