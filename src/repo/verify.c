#include "repo/verify.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rand.h"
#include "base/stop.h"
#include "codec/zst.h"
#include "repo/catalog.h"
#include "repo/mark.h"
#include "repo/runs.h"

#define READERS 3

struct verify {
	struct repo *repo;
	struct progress *progress;
	json_t *problems;
	json_t *absent;                 /* problems with what is not there, unless it was removed meanwhile: settle() */
	pthread_mutex_t lock;           /* guards problems, absent, bytes, error */
	uint64_t bytes;
	struct err error;
	struct mark mark;
	json_t *pack_users;             /* hex pack id to array of backup ids: filled while marking */
	const char *backup;             /* being marked */
	uint64_t *listed;               /* size of each pack of the index as listed; 0: not listed */
	uint64_t unreferenced;
	int64_t objects;
};

static void
note(struct verify *v, json_t *list, const char *object, const char *what, json_t *affects)
{
	json_t *p = json_object();

	json_put_str(p, "object", object);
	json_put_str(p, "what", what);
	json_put(p, "affects", affects != NULL ? json_incref(affects) : json_array());
	pthread_mutex_lock(&v->lock);
	json_add(list, p);
	pthread_mutex_unlock(&v->lock);
}

static void
problem(struct verify *v, const char *object, const char *what, json_t *affects)
{
	note(v, v->problems, object, what, affects);
}

/* Something that a backup, listed a moment ago, cannot do without. */
static void
backup_problem(struct verify *v, const char *backup, const char *object, const char *what)
{
	json_t *affects = json_array();

	json_add(affects, json_str(backup));
	note(v, v->absent, object, what, affects);
	json_decref(affects);
}

static json_t *
users_of(struct verify *v, const uint8_t id[ID_BYTES])
{
	char hex[ID_TEXT];

	hex_encode(hex, id, ID_BYTES);
	return json_object_get(v->pack_users, hex);
}

static void
pack_problem(struct verify *v, const struct pack_info *info, bool absent, const char *what)
{
	char *name = pack_name(info->id);

	note(v, absent ? v->absent : v->problems, name, what, users_of(v, info->id));
	free(name);
}

/* Damage is what we look for; everything else keeps us from looking. */
static bool
is_damage(const struct err *e)
{
	return e->kind == ERR_CORRUPT || e->kind == ERR_NOT_FOUND || e->kind == ERR_KEY;
}

/* ---- structure ---- */

static int
check_holders(struct verify *v, struct err *e)
{
	struct holder *holders;
	size_t count, foreign;

	if (keys_list(v->repo, &holders, &count, &foreign, e))
		return -1;
	free(holders);
	if (foreign > 0) {
		char *what = mem_printf("%zu key object%s not written by a holder, or damaged", foreign, foreign == 1 ? " was" : "s were");

		problem(v, "keys/", what, NULL);
		free(what);
	}
	return 0;
}

static int
lost(void *ctx, const char *backup, const char *what, struct err *e)
{
	(void)e;
	backup_problem(ctx, backup, backup, what);
	return 0;
}

static void
uses(void *ctx, uint32_t pack)
{
	struct verify *v = ctx;
	struct pack_info info = index_pack(v->repo->index, pack);
	json_t *users = users_of(v, info.id);
	char hex[ID_TEXT];

	if (users == NULL) {
		hex_encode(hex, info.id, ID_BYTES);
		users = json_array();
		json_put(v->pack_users, hex, users);
	}
	if (json_array_size(users) == 0 || strcmp(json_string_value(json_array_get(users, json_array_size(users) - 1)), v->backup) != 0)
		json_add(users, json_str(v->backup));
}

static int
check_backups(struct verify *v, const uint8_t (*ids)[ID_BYTES], size_t count, struct err *e)
{
	int rc = 0;

	v->mark.uses = uses;
	v->mark.lost = lost;
	v->mark.ctx = v;
	for (size_t i = 0; i < count && rc == 0; i++) {
		json_t *summary, *detail;
		char hex[ID_TEXT], *name = catalog_name(CATALOG_MANIFEST, ids[i]);

		hex_encode(hex, ids[i], ID_BYTES);
		v->backup = hex;
		if (repo_load(v->repo, hex, &summary, &detail, e) == 0) {
			rc = mark_backup(&v->mark, hex, detail, e);
			json_decref(summary);
			json_decref(detail);
		} else if (is_damage(e)) {
			backup_problem(v, hex, name, e->msg);
			err_clear(e);
		} else {
			rc = -1;
		}
		free(name);
	}
	return rc;
}

static int
check_reports(struct verify *v, struct err *e)
{
	struct repo_report *reports = NULL;
	json_t *damaged = json_array(), *d;
	size_t count = 0, k;
	int rc = repo_reports(v->repo, &reports, &count, damaged, e);

	json_array_foreach(damaged, k, d)
		problem(v, json_opt_str(d, "object", "reports/"), json_opt_str(d, "what", ""), NULL);
	json_decref(damaged);
	if (rc != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (!reports[i].valid) {
			char *name = mem_printf("reports/%s", reports[i].id);

			problem(v, name, "its signature is not that of a holder", NULL);
			free(name);
		}
	repo_reports_free(reports, count);
	return 0;
}

/* Holds, sweeps and markers: small objects that are read one by one. */
static int
check_small(struct verify *v, enum catalog_type type, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	size_t count;
	int rc = 0;

	if (catalog_list(v->repo, type, &ids, NULL, &count, e))
		return -1;
	for (size_t i = 0; i < count && rc == 0; i++) {
		struct buf section = BUF_INIT;
		char *name = catalog_name(type, ids[i]);

		rc = catalog_get(v->repo, type, ids[i], &section, 1, e);
		/* What is gone again ended meanwhile. */
		if (rc != 0 && is_damage(e)) {
			if (e->kind != ERR_NOT_FOUND)
				problem(v, name, e->msg, NULL);
			err_clear(e);
			rc = 0;
		}
		free(name);
		buf_free(&section);
	}
	free(ids);
	return rc;
}

static int
note_listed(void *ctx, const struct store_object *o, struct err *e)
{
	struct verify *v = ctx;
	uint8_t id[ID_BYTES];
	uint32_t number;

	(void)e;
	v->objects++;
	if (!pack_id_of(o->name, id))
		return 0;
	if (index_find_pack(v->repo->index, id, &number))
		v->listed[number] = o->bytes;
	else
		v->unreferenced += o->bytes;
	return 0;
}

/* A pack that the listing lacks is asked for by name before it is called missing (R24). */
static int
check_sizes(struct verify *v, struct err *e)
{
	for (uint32_t i = 0; i < v->mark.pack_count; i++) {
		struct pack_info info = index_pack(v->repo->index, i);
		struct store_object o;
		char *name;
		int rc = 0;

		if (!mark_has(&v->mark, i))
			v->unreferenced += info.bytes;
		if (v->listed[i] == 0) {
			name = pack_name(info.id);
			rc = store_stat(v->repo->store, name, &o, e);
			free(name);
			if (rc == 0)
				v->listed[i] = o.bytes;
			else if (e->kind != ERR_NOT_FOUND)
				return -1;
			else
				err_clear(e);
		}
		if (v->listed[i] == 0)
			pack_problem(v, &info, true, "it is missing");
		else if (v->listed[i] != info.bytes)
			pack_problem(v, &info, false, "it has another size than the index says");
	}
	return 0;
}

/* ---- data ---- */

struct pack_job {
	struct verify *v;
	struct pack_info info;
};

/* Opens every chunk of a pack in memory. */
static int
open_all(struct verify *v, struct buf *object, const struct pack_entry *entries, uint32_t count, struct err *e)
{
	struct aead *aead = pack_unwrap(object->data, v->repo, e);
	struct zst *z = zst_new(1);
	uint8_t *plain = mem_alloc(4u << 20);
	uint32_t offset = PACK_HEAD_BYTES;
	int rc = aead == NULL ? -1 : 0;

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		if (entries[i].plain > 4u << 20)
			rc = err_set(e, ERR_CORRUPT, "chunk at %u is larger than a chunk may be", offset);
		else
			rc = pack_open_chunk(aead, z, object->data, offset, object->data + offset, entries[i].stored, object->data + offset, plain,
			    entries[i].plain, entries[i].id, v->repo, e);
		offset += entries[i].stored;
	}
	free(plain);
	zst_free(z);
	aead_free(aead);
	return rc;
}

static int
check_pack(struct verify *v, const struct pack_info *info, struct buf *object, struct err *e)
{
	static const uint8_t unknown[SHA256_BYTES];
	uint8_t digest[SHA256_BYTES], head[PACK_HEAD_BYTES];
	const uint8_t *foot = object->data + object->bytes - PACK_FOOT_BYTES;
	struct pack_entry *entries = NULL;
	uint32_t directory_bytes, count, epoch;
	enum pack_kind kind;
	int rc = -1;

	if (object->bytes < PACK_HEAD_BYTES + PACK_FOOT_BYTES)
		return err_set(e, ERR_CORRUPT, "it has only %zu bytes", object->bytes);
	memcpy(head, object->data, sizeof(head));
	hash_sha256(digest, object->data, object->bytes);
	if (pack_read_head(head, v->repo->uuid, info->id, &kind, &epoch, e) || pack_read_foot(foot, object->bytes, &directory_bytes, &count, e) ||
	    pack_open_directory(v->repo->uuid, v->repo->secrets.catalog, head, foot - directory_bytes, directory_bytes, foot, object->bytes, &entries,
		&count, e))
		return -1;
	if (memcmp(info->sha256, unknown, sizeof(unknown)) != 0 && memcmp(info->sha256, digest, sizeof(digest)) != 0)
		err_set(e, ERR_CORRUPT, "its bytes are not those that were stored");
	else if (count != info->chunks)
		err_set(e, ERR_CORRUPT, "it holds %u chunks where the index says %u", count, info->chunks);
	else if (kind == PACK_LISTS || repo_can_read(v->repo))
		rc = open_all(v, object, entries, count, e);
	else
		rc = 0;
	free(entries);
	return rc;
}

static void
read_pack(void *arg)
{
	struct pack_job *job = arg;
	struct verify *v = job->v;
	struct buf object = BUF_INIT;
	struct err e = ERR_INIT;
	char *name = pack_name(job->info.id);
	int rc = -1;

	if (stop_check(&e) == 0)
		rc = store_get(v->repo->store, name, 0, 0, &object, &e);
	if (rc == 0) {
		pthread_mutex_lock(&v->lock);
		v->bytes += object.bytes;
		pthread_mutex_unlock(&v->lock);
		progress_add(v->progress, object.bytes);
		rc = check_pack(v, &job->info, &object, &e);
	}
	if (rc != 0 && is_damage(&e)) {
		pack_problem(v, &job->info, e.kind == ERR_NOT_FOUND, e.msg);
	} else if (rc != 0) {
		pthread_mutex_lock(&v->lock);
		if (v->error.kind == ERR_NONE)
			v->error = e;
		pthread_mutex_unlock(&v->lock);
	}
	buf_free(&object);
	free(name);
	free(job);
}

static int
check_data(struct verify *v, struct err *e)
{
	struct pool *pool = pool_new(READERS, READERS, false);
	uint64_t total = 0;
	bool failed;

	for (uint32_t i = 0; i < v->mark.pack_count; i++)
		total += index_pack(v->repo->index, i).bytes;
	progress_phase(v->progress, "reading packs", total);
	for (uint32_t i = 0; i < v->mark.pack_count; i++) {
		struct pack_job *job;

		if (v->listed[i] == 0)
			continue;
		pthread_mutex_lock(&v->lock);
		failed = v->error.kind != ERR_NONE;
		pthread_mutex_unlock(&v->lock);
		if (failed)
			break;          /* a store that is down: not once more for each pack */
		job = mem_zero(1, sizeof(*job));
		job->v = v;
		job->info = index_pack(v->repo->index, i);
		pool_submit(pool, read_pack, job);
	}
	pool_free(pool);
	if (v->error.kind != ERR_NONE) {
		*e = v->error;
		return -1;
	}
	return 0;
}

/* Whether a backup's manifest is there now, asked for by name (R24); `seen` remembers. */
static int
stands(struct verify *v, json_t *seen, const char *backup, bool *there, struct err *e)
{
	json_t *known = json_object_get(seen, backup);
	uint8_t id[ID_BYTES];
	struct store_object o;
	char *name;
	int rc;

	*there = json_is_true(known);
	if (known != NULL || !repo_id_parse(id, backup))
		return 0;
	name = catalog_name(CATALOG_MANIFEST, id);
	rc = store_stat(v->repo->store, name, &o, e);
	free(name);
	*there = rc == 0;
	if (rc != 0 && e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	json_put_bool(seen, backup, *there);
	return 0;
}

/* Leaves of the backups that a problem affects those that are there now. */
static int
keep_standing(struct verify *v, json_t *seen, json_t *affects, struct err *e)
{
	for (size_t k = json_array_size(affects); k-- > 0;) {
		bool there;

		if (stands(v, seen, json_string_value(json_array_get(affects, k)), &there, e))
			return -1;
		if (!there)
			json_array_remove(affects, k);
	}
	return 0;
}

/* Follows backups (an object with their ids) once more, by the index that is loaded now: what is lost now is a problem. */
static int
follow_again(struct verify *v, const json_t *backups, struct err *e)
{
	uint8_t (*ids)[ID_BYTES] = mem_zero(json_object_size(backups) + 1, ID_BYTES);
	json_t *seen = json_object(), *unused, *p;
	size_t count = 0, i;
	const char *id;
	int rc;

	json_object_foreach((json_t *)(uintptr_t)backups, id, unused) {
		(void)unused;
		count += repo_id_parse(ids[count], id);
	}
	json_array_clear(v->absent);
	json_object_clear(v->pack_users);
	mark_end(&v->mark);
	mark_begin(&v->mark, v->repo);
	rc = check_backups(v, (const uint8_t (*)[ID_BYTES])ids, count, e);
	json_array_foreach(v->absent, i, p) {
		json_t *affects = json_object_get(p, "affects");

		if (rc == 0)
			rc = keep_standing(v, seen, affects, e);
		if (rc == 0 && json_array_size(affects) > 0)
			json_add(v->problems, json_incref(p));
	}
	json_decref(seen);
	free(ids);
	return rc;
}

/*
 * An `expire` may have worked beside us: what was not there is damage only if a backup or the index that are there now need it.  A pack
 * that the index of now does not name went because nobody needed it, unless a backup's chunks, or the lists of them, are in no other one.
 * Backups before the index, as at the beginning.
 */
static int
settle(struct verify *v, struct err *e)
{
	json_t *seen = json_object(), *again = json_object(), *p, *backup;
	uint8_t pack[ID_BYTES];
	uint32_t number;
	size_t i, k;
	int rc = 0;

	json_array_foreach(v->absent, i, p)
		if (rc == 0)
			rc = keep_standing(v, seen, json_object_get(p, "affects"), e);
	if (rc == 0 && json_array_size(v->absent) > 0)
		rc = index_load(v->repo, e);
	json_array_foreach(v->absent, i, p) {
		json_t *affects = json_object_get(p, "affects");
		if (rc != 0)
			break;
		if (pack_id_of(json_string_value(json_object_get(p, "object")), pack) && index_find_pack(v->repo->index, pack, &number))
			json_add(v->problems, json_incref(p));
		else
			json_array_foreach(affects, k, backup)
				json_put_bool(again, json_string_value(backup), true);
	}
	if (rc == 0 && json_object_size(again) > 0)
		rc = follow_again(v, again, e);
	json_decref(seen);
	json_decref(again);
	return rc;
}

int
verify_run(struct repo *r, bool data, struct progress *progress, json_t *result, struct err *e)
{
	struct verify v = { .repo = r, .progress = progress, .problems = json_array(), .absent = json_array(), .pack_users = json_object() };
	uint8_t (*backups)[ID_BYTES] = NULL;
	size_t count = 0;
	int rc;

	pthread_mutex_init(&v.lock, NULL);
	progress_phase(progress, "following backups to their chunks", 0);
	/* Backups first: the index holds what a backup needs before the backup is there, and one may come this very moment. */
	rc = catalog_list(r, CATALOG_MANIFEST, &backups, NULL, &count, e) || index_load(r, e) || index_ask_for_packs(r->index, e) ? -1 : 0;
	if (rc == 0) {
		mark_begin(&v.mark, r);
		v.listed = mem_zero(v.mark.pack_count, sizeof(*v.listed));
		rc = check_holders(&v, e) || check_backups(&v, (const uint8_t (*)[ID_BYTES])backups, count, e) || check_reports(&v, e) ||
		    check_small(&v, CATALOG_HOLD, e) || check_small(&v, CATALOG_SWEEP, e) || check_small(&v, CATALOG_RUN, e) ||
		    store_list(r->store, "", note_listed, &v, e) || check_sizes(&v, e) || (data && check_data(&v, e)) ||
		    settle(&v, e) ? -1 : 0;
	}
	if (rc == 0) {
		json_put_int(result, "objects", v.objects);
		json_put_int(result, "packs", v.mark.pack_count);
		json_put_int(result, "chunks", (int64_t)index_chunks(r->index));
		json_put_int(result, "backups", (int64_t)count);
		json_put_int(result, "bytes_read", (int64_t)v.bytes);
		json_put_bool(result, "data", data);
		json_put_bool(result, "opened", data && repo_can_read(r));
		json_put_int(result, "unreferenced_bytes", (int64_t)v.unreferenced);
		json_put(result, "problems", json_incref(v.problems));
	}
	mark_end(&v.mark);
	free(v.listed);
	free(backups);
	json_decref(v.problems);
	json_decref(v.absent);
	json_decref(v.pack_users);
	pthread_mutex_destroy(&v.lock);
	return rc;
}

/* ---- the index anew ---- */

struct rebuild {
	struct repo *repo;
	struct buf records;
	json_t *problems;
	json_t *taken;                  /* hex ids of the packs whose records are written anew */
	uint64_t packs;
};

static int
write_anew(struct rebuild *b, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	char hex[ID_TEXT];

	hex_encode(hex, info->id, ID_BYTES);
	json_put_bool(b->taken, hex, true);
	b->packs++;
	index_record(&b->records, info, entries);
	return index_put(b->repo, &b->records, false, e);
}

static int
take_pack(void *ctx, const struct store_object *o, struct err *e)
{
	struct rebuild *b = ctx;
	struct pack_entry *entries = NULL;
	struct pack_info info;
	uint8_t id[ID_BYTES];
	int rc;

	if (!pack_id_of(o->name, id))
		return 0;
	if (pack_fetch_directory(b->repo, id, o->bytes, &info, &entries, e)) {
		json_t *p;

		if (!is_damage(e))
			return -1;
		p = json_object();
		json_put_str(p, "object", o->name);
		json_put_str(p, "what", e->msg);
		json_put(p, "affects", json_array());
		json_add(b->problems, p);
		err_clear(e);
		return 0;
	}
	rc = write_anew(b, &info, entries, e);
	free(entries);
	return rc;
}

/*
 * A pack whose directory is damaged, or that the listing lacks (a listing is no proof of absence), keeps the record that an old
 * index object has: its chunks may be whole.
 */
static int
carry_over(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	struct rebuild *b = ctx;
	struct store_object o;
	char hex[ID_TEXT], *name;
	int rc;

	hex_encode(hex, info->id, ID_BYTES);
	if (json_object_get(b->taken, hex) != NULL)
		return 0;
	name = pack_name(info->id);
	rc = store_stat(b->repo->store, name, &o, e);
	free(name);
	if (rc != 0 && e->kind == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	return rc != 0 ? -1 : write_anew(b, info, entries, e);
}

static int
carry_over_all(struct rebuild *b, const uint8_t id[ID_BYTES], struct err *e)
{
	struct buf section = BUF_INIT;
	int rc = catalog_get(b->repo, CATALOG_INDEX, id, &section, 1, e);

	if (rc == 0)
		rc = index_parse(&section, carry_over, b, e);
	else if (is_damage(e)) {
		err_clear(e);           /* what this command is for */
		rc = 0;
	}
	buf_free(&section);
	return rc;
}

/* Of every pack that is there, condemned ones too (a run may rely on them that began before): new index objects first, then the
 * old ones go. */
static int
rebuild(struct rebuild *b, struct err *e)
{
	uint8_t (*old)[ID_BYTES];
	size_t count;
	int rc;

	if (catalog_list(b->repo, CATALOG_INDEX, &old, NULL, &count, e))
		return -1;
	rc = store_list(b->repo->store, "packs/", take_pack, b, e);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = carry_over_all(b, old[i], e);
	if (rc == 0)
		rc = index_put(b->repo, &b->records, true, e);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = catalog_remove(b->repo, CATALOG_INDEX, old[i], e);
	free(old);
	return rc;
}

int
verify_rebuild_index(struct repo *r, uint64_t *packs, json_t *problems, struct err *e)
{
	struct rebuild b = { .repo = r, .problems = problems, .taken = json_object() };
	uint8_t run_id[RUN_ID_BYTES];
	struct err late = ERR_INIT;
	size_t others;
	int rc;

	/* A marker of our own: nobody deletes a pack whose directory was just read.  And nobody else at work: a sweep that began before us
	 * may be deleting already. */
	rand_bytes(run_id, sizeof(run_id));
	if (runs_begin(r, run_id, "verify --rebuild-index", e))
		return -1;
	rc = runs_bury(r, run_id, e) || runs_others(r, run_id, &others, e) ? -1 : 0;
	if (rc == 0 && others > 0) {
		rc = err_set(e, ERR_LOCKED, "%zu other run%s under way in %s", others, others == 1 ? " is" : "s are", store_label(r->store));
		err_hint(e, "Wait for it; a marker of a run that died elsewhere is taken away by `holdfast expire` after two days.");
	}
	if (rc == 0)
		rc = rebuild(&b, e);
	if (runs_end(r, run_id, &late) != 0)
		log_warning("the marker of this run could not be removed: %s", late.msg);
	*packs = b.packs;
	buf_free(&b.records);
	json_decref(b.taken);
	return rc == 0 ? 0 : err_wrap(e, "rebuild the index");
}
