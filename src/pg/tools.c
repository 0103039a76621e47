#include "pg/tools.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/child.h"
#include "base/mem.h"
#include "base/sink.h"

#define DEBIAN_DIR "/usr/lib/postgresql"
#define VERSION_TIMEOUT_MS 10000

bool
tools_parse_version(int *major, int *minor, const char *text)
{
	char *end;
	long a = strtol(text, &end, 10), b = 0;

	if (end == text || a < 1 || a > 999)
		return false;
	/* "17beta1" and "18devel" have no minor yet. */
	if (*end == '.')
		b = strtol(end + 1, NULL, 10);
	*major = (int)a;
	*minor = (int)(b < 0 || b > 9999 ? 0 : b);
	return true;
}

/* R43: psql and \restrict are none of ours, but a pg_dump of that age also lets newlines in names through (CVE-2025-8715)
 * and swaps objects under the dump (CVE-2024-7348); R44: pg_restore runs code of the archive. */
const char *
tools_floor_problem(int major, int minor)
{
	static const struct {
		int major, below;
		const char *problem;
	} floors[] = {
		{ 18, 6, "runs code from a dump when it restores statistics or large archives (CVE-2026-16238, CVE-2026-18408): 18.6 or newer" },
		{ 18, 7, "pg_restore can be made to run code by an archive (CVE-2026-116314): 18.7 or newer" },
		{ 17, 11, "lets a database forge lines of its dump (CVE-2025-8714, CVE-2026-18408): 17.11 or newer" },
		{ 17, 12, "pg_restore can be made to run code by an archive (CVE-2026-116314): 17.12 or newer" },
		{ 16, 15, "lets a database forge lines of its dump (CVE-2025-8714, CVE-2026-18408): 16.15 or newer" },
		{ 16, 16, "pg_restore can be made to run code by an archive (CVE-2026-116314): 16.16 or newer" },
		{ 15, 19, "lets a database forge lines of its dump (CVE-2025-8714, CVE-2026-18408): 15.19 or newer" },
		{ 15, 20, "pg_restore can be made to run code by an archive (CVE-2026-116314): 15.20 or newer" },
		{ 14, 24, "lets a database forge lines of its dump (CVE-2025-8714, CVE-2026-18408): 14.24 or newer" },
		{ 14, 25, "pg_restore can be made to run code by an archive (CVE-2026-116314): 14.25 or newer" },
	};

	for (size_t i = 0; i < sizeof(floors) / sizeof(floors[0]); i++)
		if (floors[i].major == major && minor < floors[i].below)
			return floors[i].problem;
	if (major < 14)
		return "PostgreSQL's project mends this version no more: 14 or newer";
	return NULL;
}

bool
tools_suit(int tools_major, int server_major)
{
	return tools_major < 17 || server_major >= 17;
}

static const struct {
	unsigned need;
	const char *name;
	size_t at;                      /* of its path in struct tools */
} programs[] = {
	{ TOOLS_DUMP, "pg_dump", offsetof(struct tools, pg_dump) },
	{ TOOLS_DUMP, "pg_dumpall", offsetof(struct tools, pg_dumpall) },
	{ TOOLS_RESTORE, "pg_restore", offsetof(struct tools, pg_restore) },
	{ TOOLS_SERVER, "initdb", offsetof(struct tools, initdb) },
	{ TOOLS_SERVER, "postgres", offsetof(struct tools, postgres) },
};
#define N_PROGRAMS (sizeof(programs) / sizeof(programs[0]))

static char **
path_of(struct tools *t, size_t program)
{
	return (char **)(void *)((char *)t + programs[program].at);
}

void
tools_free(struct tools *t)
{
	for (size_t i = 0; i < N_PROGRAMS; i++)
		free(*path_of(t, i));
	free(t->version);
	free(t->dir);
	*t = (struct tools)TOOLS_INIT;
}

/* Debian's wrapper picks a version by the clusters it knows, which is not what we asked for. */
static bool
is_wrapper(const char *path)
{
	char *real = realpath(path, NULL);
	const char *slash = real != NULL ? strrchr(real, '/') : NULL;
	bool yes = slash != NULL && strcmp(slash + 1, "pg_wrapper") == 0;

	free(real);
	return yes;
}

static int
ask_version(struct tools *t, const char *path, struct err *e)
{
	const char *const argv[] = { path, "--version", NULL }, *const env[] = { "LC_ALL=C", NULL };
	char *name = mem_printf("\"%s --version\"", path);
	struct child_spec spec = { .name = name, .argv = argv, .env = env };
	struct buf text = BUF_INIT;
	struct sink *out = sink_buf_new(&text, 4096);
	const char *version;
	int rc = child_run(&spec, out, VERSION_TIMEOUT_MS, e);

	if (rc == 0) {
		version = text.bytes > 0 ? strstr((const char *)text.data, "(PostgreSQL) ") : NULL;
		version = version != NULL ? version + strlen("(PostgreSQL) ") : "";
		if (tools_parse_version(&t->major, &t->minor, version))
			t->version = mem_strndup(version, strcspn(version, "\n"));
		else
			rc = err_set(e, ERR_FAILED, "%s gave no version", name);
	}
	sink_free(out);
	buf_free(&text);
	free(name);
	return rc;
}

/* All wanted programs of one folder; -1 without one of them is said in `found`, which grows into the error's text. */
static int
look_in(struct tools *t, unsigned need, const char *dir, struct buf *found)
{
	struct err why = ERR_INIT;
	const char *first = NULL;

	for (size_t i = 0; i < N_PROGRAMS; i++) {
		char *path;

		if ((programs[i].need & need) == 0)
			continue;
		path = mem_printf("%s/%s", dir, programs[i].name);
		if (access(path, X_OK) != 0 || is_wrapper(path)) {
			if (first != NULL)
				buf_addf(found, "%s%s has no %s", found->bytes > 0 ? ", " : "", dir, programs[i].name);
			free(path);
			goto no;
		}
		*path_of(t, i) = path;
		if (first == NULL)
			first = path;
	}
	if (ask_version(t, first, &why)) {
		buf_addf(found, "%s%s", found->bytes > 0 ? ", " : "", why.msg);
		goto no;
	}
	t->dir = mem_strdup(dir);
	buf_addf(found, "%s%s in %s", found->bytes > 0 ? ", " : "", t->version, dir);
	return 0;
no:
	tools_free(t);
	return -1;
}

/* Of two that fit, the nearer to the server; with no server, and among equal majors, the newer. */
static bool
is_better(const struct tools *a, const struct tools *b, int server_major)
{
	if (a->major != b->major)
		return server_major > 0 ? a->major < b->major : a->major > b->major;
	return a->minor > b->minor;
}

static void
consider(struct tools *best, unsigned need, const char *dir, int server_major, struct buf *found)
{
	struct tools here = TOOLS_INIT;

	if (look_in(&here, need, dir, found))
		return;
	if (here.major < server_major || (best->major > 0 && !is_better(&here, best, server_major))) {
		tools_free(&here);
		return;
	}
	tools_free(best);
	*best = here;
}

static void
consider_all(struct tools *best, unsigned need, int server_major, struct buf *found)
{
	const char *path = getenv("PATH");
	DIR *folders = opendir(DEBIAN_DIR);
	struct dirent *entry;

	while (path != NULL && *path != '\0') {
		size_t n = strcspn(path, ":");
		char *dir = mem_strndup(path, n);

		if (dir[0] == '/')
			consider(best, need, dir, server_major, found);
		free(dir);
		path += n + (path[n] == ':');
	}
	while (folders != NULL && (entry = readdir(folders)) != NULL) {
		char *dir;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		dir = mem_printf("%s/%s/bin", DEBIAN_DIR, entry->d_name);
		consider(best, need, dir, server_major, found);
		free(dir);
	}
	if (folders != NULL)
		closedir(folders);
}

static void
names_of(struct buf *to, unsigned need)
{
	for (size_t i = 0; i < N_PROGRAMS; i++)
		if ((programs[i].need & need) != 0)
			buf_addf(to, "%s%s", to->bytes > 0 ? ", " : "", programs[i].name);
}

int
tools_find(struct tools *t, unsigned need, const char *bin_dir, int server_major, struct err *e)
{
	struct buf found = BUF_INIT, wanted = BUF_INIT;
	int rc = 0;

	*t = (struct tools)TOOLS_INIT;
	if (bin_dir != NULL)
		consider(t, need, bin_dir, server_major, &found);
	else
		consider_all(t, need, server_major, &found);
	if (t->major == 0) {
		char version[64] = "any version";

		names_of(&wanted, need);
		if (server_major > 0)
			snprintf(version, sizeof(version), "version %d or newer, as the server is %d", server_major, server_major);
		rc = err_set(e, ERR_FAILED, "no fitting %s (%s): looked in %s; found %s", (const char *)wanted.data, version,
		    bin_dir != NULL ? bin_dir : "PATH and " DEBIAN_DIR "/*/bin", found.bytes > 0 ? (const char *)found.data : "none");
		err_hint(e, "install postgresql-client-%d, or name its folder as bin_dir", server_major > 0 ? server_major : 18);
	}
	buf_free(&found);
	buf_free(&wanted);
	return rc;
}
