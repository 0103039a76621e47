#include "repo/runs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "repo/catalog.h"

static void
run_object_id(uint8_t id[ID_BYTES], const uint8_t run_id[RUN_ID_BYTES])
{
	memset(id, 0, ID_BYTES);
	memcpy(id, run_id, RUN_ID_BYTES);
}

static void
host_name(char to[256])
{
	if (gethostname(to, 255) != 0)
		to[0] = '\0';
	to[255] = '\0';
}

/*
 * What tells whether a process number means the same process: this boot of this kernel, and this table of processes.  Host names and
 * numbers alone are the same in many containers.
 */
static char *
process_world(void)
{
	struct buf boot = BUF_INIT;
	struct err ignored = ERR_INIT;
	char space[64] = "";
	char *world;

	if (file_read(&boot, "/proc/sys/kernel/random/boot_id", 64, &ignored) != 0 || readlink("/proc/self/ns/pid", space, sizeof(space) - 1) < 0) {
		buf_free(&boot);
		return NULL;
	}
	world = mem_printf("%.36s %s", (char *)boot.data, space);
	buf_free(&boot);
	return world;
}

/* When a process began, in ticks since this boot, the 22nd field of its stat; 0: not to be seen; -1: it has ended and is not waited for yet. */
static int64_t
process_began(pid_t pid)
{
	char *path = mem_printf("/proc/%d/stat", (int)pid), *at = NULL;
	struct buf stat = BUF_INIT;
	struct err ignored = ERR_INIT;
	int64_t ticks = 0;

	/* The second field is the program's name in parentheses, with anything in it. */
	if (file_read(&stat, path, 65536, &ignored) == 0)
		at = strrchr((char *)stat.data, ')');
	if (at != NULL && strncmp(at, ") Z", 3) == 0)
		ticks = -1;
	for (int field = 2; ticks == 0 && at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (ticks == 0 && at != NULL)
		ticks = strtoll(at + 1, NULL, 10);
	buf_free(&stat);
	free(path);
	return ticks;
}

int
runs_begin(struct repo *r, const uint8_t run_id[RUN_ID_BYTES], const char *command, struct err *e)
{
	struct buf section = BUF_INIT;
	char now[CLOCK_TEXT], host[256], *text, *world = process_world();
	uint8_t id[ID_BYTES];
	json_t *marker = json_object();
	int rc;

	host_name(host);
	json_put_str(marker, "started", clock_format(now, clock_wall_us()));
	json_put_str(marker, "host", host);
	json_put_int(marker, "pid", getpid());
	json_put_str(marker, "process_world", world);
	json_put_int(marker, "process_began", process_began(getpid()));
	json_put_str(marker, "command", command);
	text = json_text(marker, JSON_COMPACT);
	buf_addstr(&section, text);
	run_object_id(id, run_id);
	rc = catalog_put(r, CATALOG_RUN, id, &section, 1, e);
	buf_free(&section);
	free(world);
	free(text);
	json_decref(marker);
	return rc == 0 ? 0 : err_wrap(e, "announce this run");
}

int
runs_stands(struct repo *r, const uint8_t run_id[RUN_ID_BYTES], struct err *e)
{
	uint8_t id[ID_BYTES];
	struct store_object o;
	char *name;
	int rc;

	run_object_id(id, run_id);
	name = catalog_name(CATALOG_RUN, id);
	rc = store_stat(r->store, name, &o, e);
	free(name);
	return rc;
}

int
runs_end(struct repo *r, const uint8_t run_id[RUN_ID_BYTES], struct err *e)
{
	uint8_t id[ID_BYTES];
	int rc;

	run_object_id(id, run_id);
	/* Also behind a signal: a marker that stays holds up deletion, from a container for two days. */
	stop_hold_off(true);
	rc = catalog_remove(r, CATALOG_RUN, id, e);
	stop_hold_off(false);
	return rc;
}

/*
 * Of a process of this very boot and table of processes a marker tells whether it lives.  Its number alone does not: it is given again,
 * and in a container it is often the same each time.
 */
static enum run_life
life_of(const json_t *marker)
{
	char *world = process_world();
	int64_t pid = json_opt_int(marker, "pid", 0), began = json_opt_int(marker, "process_began", 0), seen;
	bool same = world != NULL && strcmp(json_opt_str(marker, "process_world", ""), world) == 0;

	free(world);
	if (!same || pid <= 0 || pid > INT32_MAX)
		return RUN_UNKNOWN;
	if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
		return RUN_DEAD;
	seen = process_began((pid_t)pid);
	if (began == 0 || seen == 0)
		return RUN_UNKNOWN;             /* the processes of others may be hidden */
	return seen == began ? RUN_ALIVE : RUN_DEAD;
}

int
pack_fetch_directory(struct repo *r, const uint8_t id[ID_BYTES], uint64_t object_bytes, struct pack_info *info, struct pack_entry **entries,
    struct err *e)
{
	struct buf head = BUF_INIT, tail = BUF_INIT, foot = BUF_INIT;
	char *name = pack_name(id);
	uint32_t directory_bytes, count, epoch;
	int rc = -1;

	if (object_bytes < PACK_HEAD_BYTES + PACK_FOOT_BYTES || object_bytes > STORE_OBJECT_MAX) {
		err_set(e, ERR_CORRUPT, "it has %llu bytes, which no pack has", (unsigned long long)object_bytes);
		goto out;
	}
	if (store_get(r->store, name, 0, PACK_HEAD_BYTES, &head, e) || pack_read_head(head.data, r->uuid, id, &info->kind, &epoch, e) ||
	    store_get(r->store, name, object_bytes - PACK_FOOT_BYTES, PACK_FOOT_BYTES, &foot, e) ||
	    pack_read_foot(foot.data, (size_t)object_bytes, &directory_bytes, &count, e) ||
	    store_get(r->store, name, object_bytes - PACK_FOOT_BYTES - directory_bytes, directory_bytes, &tail, e) ||
	    pack_open_directory(r->uuid, r->secrets.catalog, head.data, tail.data, directory_bytes, foot.data, (size_t)object_bytes, entries,
		&count, e))
		goto out;
	memcpy(info->id, id, ID_BYTES);
	memset(info->sha256, 0, sizeof(info->sha256));
	info->bytes = (uint32_t)object_bytes;
	info->chunks = count;
	info->condemned = false;
	rc = 0;
out:
	if (rc != 0)
		err_wrap(e, "\"%s\"", name);
	free(name);
	buf_free(&head);
	buf_free(&tail);
	buf_free(&foot);
	return rc;
}

struct adoption {
	struct repo *repo;
	const uint8_t *run_id;
	struct buf *records;
	uint64_t count;
};

static int
adopt(void *ctx, const struct store_object *o, struct err *e)
{
	struct adoption *a = ctx;
	struct pack_entry *entries = NULL;
	struct pack_info info;
	uint8_t id[ID_BYTES];
	uint32_t number;

	if (!pack_id_of(o->name, id) || memcmp(id, a->run_id, RUN_ID_BYTES) != 0 || index_find_pack(a->repo->index, id, &number))
		return 0;
	if (pack_fetch_directory(a->repo, id, o->bytes, &info, &entries, e)) {
		/* What cannot be read is not used; verify will name it.  A store that does not answer is another matter. */
		if (e->kind != ERR_CORRUPT && e->kind != ERR_NOT_FOUND)
			return -1;
		log_warning("left aside from an earlier run: %s", e->msg);
		err_clear(e);
		return 0;
	}
	index_add(a->repo->index, &info, entries);
	index_record(a->records, &info, entries);
	a->count++;
	free(entries);
	return 0;
}

enum run_life
runs_life(struct repo *r, const uint8_t id[ID_BYTES])
{
	struct err ignored = ERR_INIT;
	enum run_life life = RUN_UNKNOWN;
	json_t *marker;

	if (catalog_get_json(r, CATALOG_RUN, id, &marker, &ignored) == 0)
		life = life_of(marker);
	json_decref(marker);
	return life;
}

int
runs_others(struct repo *r, const uint8_t own[RUN_ID_BYTES], size_t *count, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	size_t n;

	*count = 0;
	if (catalog_list(r, CATALOG_RUN, &ids, NULL, &n, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		*count += memcmp(ids[i], own, RUN_ID_BYTES) != 0 && runs_life(r, ids[i]) != RUN_DEAD;
	free(ids);
	return 0;
}

int
runs_forgetting(struct repo *r, int64_t now_us, bool *any, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	int64_t *changed;
	size_t count;
	int rc = 0;

	*any = false;
	if (catalog_list(r, CATALOG_RUN, &ids, &changed, &count, e))
		return -1;
	for (size_t i = 0; i < count && rc == 0 && !*any; i++) {
		json_t *marker;

		if (changed[i] != 0 && changed[i] < now_us - RUN_FORGETS_MAX_MS * 1000)
			continue;
		rc = catalog_get_json(r, CATALOG_RUN, ids[i], &marker, e);
		if (rc == 0) {
			*any = strcmp(json_opt_str(marker, "command", ""), RUN_FORGETS) == 0 && life_of(marker) != RUN_DEAD;
		} else if (e->kind == ERR_NOT_FOUND || e->kind == ERR_CORRUPT) {
			*any = e->kind == ERR_CORRUPT;
			err_clear(e);           /* or it ended since the listing */
			rc = 0;
		}
		json_decref(marker);
	}
	free(ids);
	free(changed);
	return rc;
}

/* ---- runs that died ---- */

static int
note_pack(void *ctx, const struct store_object *o, struct err *e)
{
	struct adoption *a = ctx;
	uint8_t id[ID_BYTES];

	(void)e;
	a->count += pack_id_of(o->name, id) && memcmp(id, a->run_id, RUN_ID_BYTES) == 0;
	return 0;
}

/* All packs of a run lie in one folder, together with those of others. */
static int
each_pack(struct adoption *a, store_each *each, struct err *e)
{
	char hex[3], *folder;
	int rc;

	hex_encode(hex, a->run_id, 1);
	folder = mem_printf("packs/%s/", hex);
	rc = store_list(a->repo->store, folder, each, a, e);
	free(folder);
	return rc;
}

int
runs_adopt(struct repo *r, const uint8_t own[RUN_ID_BYTES], struct buf *records, struct runs_adopted *to, struct err *e)
{
	struct adoption a = { .repo = r, .records = records };
	uint8_t (*ids)[ID_BYTES];
	size_t runs;
	int rc = 0;

	if (catalog_list(r, CATALOG_RUN, &ids, NULL, &runs, e))
		return -1;
	to->dead = mem_zero(runs, ID_BYTES);
	for (size_t i = 0; i < runs && rc == 0; i++) {
		if (memcmp(ids[i], own, RUN_ID_BYTES) == 0)
			continue;
		/* Asked before its packs are listed: a run that dies later may have put more of them. */
		if (runs_life(r, ids[i]) == RUN_DEAD)
			memcpy(to->dead[to->dead_count++], ids[i], ID_BYTES);
		a.run_id = ids[i];
		rc = each_pack(&a, adopt, e);
	}
	free(ids);
	to->packs = a.count;
	return rc == 0 ? 0 : err_wrap(e, "look for packs of runs that did not end");
}

int
runs_bury(struct repo *r, const uint8_t own[RUN_ID_BYTES], struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	size_t runs;
	int rc = 0;

	if (catalog_list(r, CATALOG_RUN, &ids, NULL, &runs, e))
		return -1;
	for (size_t i = 0; i < runs && rc == 0; i++) {
		struct adoption a = { .repo = r, .run_id = ids[i] };

		if (memcmp(ids[i], own, RUN_ID_BYTES) == 0 || runs_life(r, ids[i]) != RUN_DEAD)
			continue;
		rc = each_pack(&a, note_pack, e);
		if (rc == 0 && a.count == 0)
			rc = runs_end(r, ids[i], e);
	}
	free(ids);
	return rc;
}
