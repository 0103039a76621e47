"""PostgreSQL's own programs with one of them misbehaving: a folder for `bin_dir` where each is the real one, or a script
around the real one that does what went wrong in somebody's night."""

import os
import stat

from .cluster import server_bin


def bin_dir(work, name, **scripts):
    """bin_dir(work, "killed", pg_dump='...'): the text is a shell script in which $REAL is the real program.  What asks for
    the version is answered by the real one, unless the script is to do that, too (it then begins with a colon)."""
    folder = os.path.join(work, name)
    os.mkdir(folder, 0o755)
    for program in os.listdir(server_bin()):
        real, path = os.path.join(server_bin(), program), os.path.join(folder, program)
        if program not in scripts:
            os.symlink(real, path)
            continue
        text = scripts[program]
        if text is None:
            continue                    # is missing
        answer = "" if text.startswith(":") else f'[ "$1" = --version ] && exec {real} "$@"\n'
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/bash\nPATH=/usr/sbin:/usr/bin:/sbin:/bin REAL={real} HERE={work}\n{answer}{text}\n")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return folder


# Does its work, but only once somebody has made the file "go"; says so by making "waiting".
WAITS = 'touch $HERE/waiting; while [ ! -e $HERE/go ]; do sleep 0.05; done; exec $REAL "$@"'

# Waits as the stream of the data, not as that of the schema before it (which pg_dump is asked for first).
WAITS_FOR_DATA = f'case " $* " in *section=data*) {WAITS};; esac; exec $REAL "$@"'
