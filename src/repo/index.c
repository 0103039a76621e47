#include "repo/index.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "repo/catalog.h"
#include "repo/map.h"

#define INDEX_CLAIMED UINT32_MAX        /* in an entry's `pack`: somebody is storing it right now */
#define LOAD_TRIES 3
#define FETCHERS 4
#define LISTED_AT_ONCE 1000             /* names in one answer of an S3 server */

struct index {
	struct store *store;            /* borrowed */
	pthread_mutex_t lock;           /* guards all but the map, which does not change once loaded */
	pthread_mutex_t asking;         /* held while the store is asked for packs; taken before `lock` */
	struct map map;
	struct map_entry *table;        /* open addressing; plain == 0 is an empty slot; each place of a chunk has a slot */
	size_t slots, used;
	struct pack_info *packs;
	uint32_t pack_count, pack_room;
	uint32_t *by_id;                /* hash of pack ids to number + 1 */
	size_t by_id_slots;
	uint8_t (*ids)[ID_BYTES];       /* index objects that were read */
	size_t id_count;
	json_t *condemned;              /* hex ids of packs that sweep objects name */
	size_t asked;                   /* requests spent on whether packs are there */
	struct map_runs runs;           /* while loading: what index objects say, on its way into map or table */
};

static uint64_t
hash_of(const uint8_t *id)
{
	return bytes_get_u64(id + 8);   /* not the bytes that packs of one run share */
}

/* The first slot, from `at` on, that is empty or is of this chunk. */
static size_t
probe(const struct index *x, const uint8_t *id, size_t at)
{
	at &= x->slots - 1;
	while (x->table[at].plain != 0 && memcmp(x->table[at].id, id, sizeof(x->table[at].id)) != 0)
		at = (at + 1) & (x->slots - 1);
	return at;
}

/* A claim is replaced by the place where the chunk came to lie. */
static void
place_in_table(struct index *x, const struct map_entry *entry)
{
	size_t at = probe(x, entry->id, hash_of(entry->id));

	while (x->table[at].plain != 0 && x->table[at].pack != INDEX_CLAIMED)
		at = probe(x, entry->id, at + 1);
	x->used += x->table[at].plain == 0;
	x->table[at] = *entry;
}

static void
table_put(struct index *x, const struct map_entry *entry)
{
	struct map_entry *old = x->table;
	size_t slots = x->slots;

	if (slots == 0 || x->used * 5 >= slots * 3) {
		x->slots = slots == 0 ? 1024 : 2 * slots;
		x->table = mem_zero(x->slots, sizeof(*x->table));
		x->used = 0;
		for (size_t i = 0; i < slots; i++)
			if (old[i].plain != 0)
				place_in_table(x, &old[i]);
		free(old);
	}
	place_in_table(x, entry);
}

/* How little a place is to be relied upon; from CONDEMNED on the chunk has to be stored again. */
enum doubt { NO_DOUBT, CLAIMED, CONDEMNED, ABSENT };

static enum doubt
doubt(const struct index *x, const struct map_entry *entry)
{
	if (entry->pack == INDEX_CLAIMED)
		return CLAIMED;
	if (x->packs[entry->pack].seen == PACK_ABSENT)
		return ABSENT;
	return x->packs[entry->pack].condemned ? CONDEMNED : NO_DOUBT;
}

/* The better one of two places: the less doubtful, of equals the one in a pack that was seen. */
static bool
is_better(const struct index *x, const struct map_entry *a, const struct map_entry *b)
{
	enum doubt of_a = doubt(x, a), of_b = doubt(x, b);

	return of_a != of_b ? of_a < of_b : of_a != CLAIMED && x->packs[a->pack].seen > x->packs[b->pack].seen;
}

/* The best place of map and table, and how many there are.  Called with the lock held. */
static size_t
find(struct index *x, const uint8_t *id, struct map_entry *found)
{
	uint64_t count = 0, first = 0;
	size_t places = 0;

	if (x->slots > 0)
		for (size_t at = probe(x, id, hash_of(id)); x->table[at].plain != 0; at = probe(x, id, at + 1))
			if (places++ == 0 || is_better(x, &x->table[at], found))
				*found = x->table[at];
	if (x->map.memory != NULL)
		first = map_find(&x->map, id, &count);
	for (uint64_t i = first; i < first + count; i++)
		if (x->map.entries[i].pack < x->pack_count && (places++ == 0 || is_better(x, &x->map.entries[i], found)))
			*found = x->map.entries[i];
	return places;
}

/* ---- packs ---- */

static uint32_t *
pack_slot(struct index *x, const uint8_t *id)
{
	size_t at = hash_of(id) & (x->by_id_slots - 1);

	while (x->by_id[at] != 0 && memcmp(x->packs[x->by_id[at] - 1].id, id, ID_BYTES) != 0)
		at = (at + 1) & (x->by_id_slots - 1);
	return &x->by_id[at];
}

static uint32_t
pack_put(struct index *x, const struct pack_info *info, enum pack_seen seen)
{
	char hex[ID_TEXT];

	if (x->pack_count == x->pack_room) {
		x->pack_room = x->pack_room == 0 ? 64 : 2 * x->pack_room;
		x->packs = mem_grow(x->packs, x->pack_room, sizeof(*x->packs));
		free(x->by_id);
		x->by_id_slots = 2 * (size_t)x->pack_room;
		x->by_id = mem_zero(x->by_id_slots, sizeof(*x->by_id));
		for (uint32_t i = 0; i < x->pack_count; i++)
			*pack_slot(x, x->packs[i].id) = i + 1;
	}
	x->packs[x->pack_count] = *info;
	hex_encode(hex, info->id, ID_BYTES);
	x->packs[x->pack_count].condemned = json_object_get(x->condemned, hex) != NULL;
	x->packs[x->pack_count].seen = seen;
	*pack_slot(x, info->id) = x->pack_count + 1;
	return x->pack_count++;
}

/* Called with the lock held. */
static void
add(struct index *x, bool loading, const struct pack_info *info, const struct pack_entry *entries)
{
	uint32_t number, offset = PACK_HEAD_BYTES;

	if (x->by_id_slots > 0 && *pack_slot(x, info->id) != 0)
		return;
	number = pack_put(x, info, loading ? PACK_UNASKED : PACK_THERE);
	for (uint32_t i = 0; i < info->chunks; i++) {
		struct map_entry m = { .pack = number, .offset = offset, .stored = entries[i].stored, .plain = entries[i].plain };

		memcpy(m.id, entries[i].id, sizeof(m.id));
		if (loading)
			map_runs_add(&x->runs, &m);
		else
			table_put(x, &m);
		offset += entries[i].stored;
	}
}

void
index_add(struct index *x, const struct pack_info *info, const struct pack_entry *entries)
{
	pthread_mutex_lock(&x->lock);
	add(x, false, info, entries);
	pthread_mutex_unlock(&x->lock);
}

uint32_t
index_packs(struct index *x)
{
	uint32_t n;

	pthread_mutex_lock(&x->lock);
	n = x->pack_count;
	pthread_mutex_unlock(&x->lock);
	return n;
}

struct pack_info
index_pack(struct index *x, uint32_t number)
{
	struct pack_info info;

	pthread_mutex_lock(&x->lock);
	info = x->packs[number];
	pthread_mutex_unlock(&x->lock);
	return info;
}

bool
index_find_pack(struct index *x, const uint8_t id[ID_BYTES], uint32_t *number)
{
	uint32_t slot;

	pthread_mutex_lock(&x->lock);
	slot = x->by_id_slots > 0 ? *pack_slot(x, id) : 0;
	pthread_mutex_unlock(&x->lock);
	*number = slot - 1;
	return slot != 0;
}

uint32_t
index_absent(struct index *x)
{
	uint32_t n = 0;

	pthread_mutex_lock(&x->lock);
	for (uint32_t i = 0; i < x->pack_count; i++)
		n += x->packs[i].seen == PACK_ABSENT && !x->packs[i].condemned;
	pthread_mutex_unlock(&x->lock);
	return n;
}

uint64_t
index_chunks(const struct index *x)
{
	return x->map.entry_count + x->used;
}

size_t
index_objects(const struct index *x, const uint8_t (**ids)[ID_BYTES])
{
	*ids = (const uint8_t(*)[ID_BYTES])x->ids;
	return x->id_count;
}

bool
index_mapped(const struct index *x)
{
	return x->map.memory != NULL;
}

/* ---- whether packs are there ---- */

static int
note_listed(void *ctx, const struct store_object *o, struct err *e)
{
	struct index *x = ctx;
	uint8_t id[ID_BYTES];
	uint32_t slot;

	(void)e;
	if (!pack_id_of(o->name, id))
		return 0;
	pthread_mutex_lock(&x->lock);
	slot = *pack_slot(x, id);
	if (slot != 0 && o->bytes == x->packs[slot - 1].bytes)
		x->packs[slot - 1].seen = PACK_THERE;
	pthread_mutex_unlock(&x->lock);
	return 0;
}

static int
ask_for_all(struct index *x, struct err *e)
{
	if (store_list(x->store, "packs/", note_listed, x, e))
		return -1;
	pthread_mutex_lock(&x->lock);
	for (uint32_t i = 0; i < x->pack_count; i++)
		if (x->packs[i].seen == PACK_UNASKED)
			x->packs[i].seen = PACK_ABSENT;
	pthread_mutex_unlock(&x->lock);
	return 0;
}

static int
ask_for_one(struct index *x, uint32_t number, const struct pack_info *info, struct err *e)
{
	char *name = pack_name(info->id);
	struct store_object o = { 0 };
	int rc = store_stat(x->store, name, &o, e);
	bool there = rc == 0 && o.bytes == info->bytes;

	free(name);
	if (rc != 0 && e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	pthread_mutex_lock(&x->lock);
	x->packs[number].seen = there ? PACK_THERE : PACK_ABSENT;
	pthread_mutex_unlock(&x->lock);
	return 0;
}

/*
 * Sees whether a pack is there: the index may name one whose record outlived it, or that a folder lost.  By name, so that a
 * backup asks for the packs that it relies upon and no others; until a listing of all would have been as cheap.
 */
static int
ask(struct index *x, uint32_t number, struct err *e)
{
	struct pack_info info;
	int rc = 0;

	pthread_mutex_lock(&x->asking);
	info = index_pack(x, number);
	if (info.seen == PACK_UNASKED)
		rc = ++x->asked * LISTED_AT_ONCE >= index_packs(x) ? ask_for_all(x, e) : ask_for_one(x, number, &info, e);
	pthread_mutex_unlock(&x->asking);
	return rc == 0 ? 0 : err_wrap(e, "see whether packs are there");
}

int
index_ask_for_packs(struct index *x, struct err *e)
{
	int rc;

	pthread_mutex_lock(&x->asking);
	rc = index_packs(x) == 0 ? 0 : ask_for_all(x, e);
	pthread_mutex_unlock(&x->asking);
	return rc;
}

/*
 * The best place of a chunk, once the store was asked whether it is there: where that decides between several, or where something new is
 * to rely on it.  Called with the lock held, which is let go meanwhile.
 */
static int
find_sure(struct index *x, const uint8_t *id, bool to_rely, struct map_entry *found, size_t *places, struct err *e)
{
	int rc = 0;

	while (rc == 0) {
		*places = find(x, id, found);
		if (*places == 0 || found->pack == INDEX_CLAIMED || x->packs[found->pack].seen != PACK_UNASKED ||
		    (to_rely ? doubt(x, found) != NO_DOUBT : *places == 1))
			return 0;
		pthread_mutex_unlock(&x->lock);
		rc = ask(x, found->pack, e);
		pthread_mutex_lock(&x->lock);
	}
	return rc;
}

int
index_find(struct index *x, const uint8_t id[CHUNK_ID_BYTES], struct place *p, struct err *e)
{
	struct map_entry m;
	size_t places;
	int rc;

	pthread_mutex_lock(&x->lock);
	rc = find_sure(x, id, false, &m, &places, e);
	pthread_mutex_unlock(&x->lock);
	if (rc != 0)
		return -1;
	if (places == 0 || m.pack == INDEX_CLAIMED)
		return err_set(e, ERR_NOT_FOUND, "in no pack that the index knows");
	*p = (struct place){ .pack = m.pack, .offset = m.offset, .stored = m.stored, .plain = m.plain };
	return 0;
}

int
index_claim(struct index *x, const uint8_t id[CHUNK_ID_BYTES], bool *ours, struct err *e)
{
	struct map_entry m;
	size_t places;
	int rc;

	pthread_mutex_lock(&x->lock);
	rc = find_sure(x, id, true, &m, &places, e);
	*ours = rc == 0 && (places == 0 || doubt(x, &m) >= CONDEMNED);
	if (*ours) {
		struct map_entry claim = { .pack = INDEX_CLAIMED, .plain = 1 };

		memcpy(claim.id, id, sizeof(claim.id));
		table_put(x, &claim);
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

/* ---- loading ---- */

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_BYTES);
}

/* Sorts ids and drops those that are there twice: a store that lists an object twice must not make two of it. */
static size_t
sort_ids(uint8_t (*ids)[ID_BYTES], size_t count)
{
	size_t kept = 0;

	if (count > 0)
		qsort(ids, count, ID_BYTES, compare_ids);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || memcmp(ids[kept - 1], ids[i], ID_BYTES) != 0)
			memmove(ids[kept++], ids[i], ID_BYTES);
	return kept;
}

/* Whether a map is made of listed index objects, each once. */
static bool
map_fits(const struct map *map, const uint8_t (*listed)[ID_BYTES], size_t count)
{
	uint8_t (*ids)[ID_BYTES] = mem_alloc(((size_t)map->id_count + 1) * ID_BYTES);
	bool fits;

	memcpy(ids, map->ids, (size_t)map->id_count * ID_BYTES);
	fits = sort_ids(ids, map->id_count) == map->id_count;
	for (uint32_t i = 0; i < map->id_count && fits; i++)
		fits = bsearch(ids[i], listed, count, ID_BYTES, compare_ids) != NULL;
	free(ids);
	return fits;
}

/* Opens the map if every index object in it is still listed; a map that knows more is stale. */
static void
open_map(struct index *x, struct repo *r, const char *path, const uint8_t (*listed)[ID_BYTES], size_t count)
{
	struct err why = ERR_INIT;

	if (map_open(&x->map, path, r->uuid, &why)) {
		if (why.kind != ERR_NOT_FOUND) {
			log_info("index cache: %s; it is built again", why.msg);
			unlink(path);
		}
		return;
	}
	if (!map_fits(&x->map, listed, count)) {
		log_info("index cache: index objects were replaced in the repository; it is built again");
		map_close(&x->map);
		return;
	}
	for (uint32_t i = 0; i < x->map.pack_count; i++) {
		struct pack_info info;

		map_pack(&x->map, i, &info);
		pack_put(x, &info, PACK_UNASKED);
	}
	x->ids = mem_alloc(count * ID_BYTES);
	memcpy(x->ids, x->map.ids, (size_t)x->map.id_count * ID_BYTES);
	x->id_count = x->map.id_count;
}

int
index_condemned(struct repo *r, json_t **condemned, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	size_t count, k;
	json_t *pack;
	int rc = 0;

	if (catalog_list(r, CATALOG_SWEEP, &ids, NULL, &count, e))
		return -1;
	if (*condemned == NULL)
		*condemned = json_object();
	for (size_t i = 0; i < count && rc == 0; i++) {
		json_t *sweep = NULL;

		rc = catalog_get_json(r, CATALOG_SWEEP, ids[i], &sweep, e);
		if (rc != 0 && e->kind == ERR_NOT_FOUND) {
			err_clear(e);   /* finished and removed since the listing */
			rc = 0;
		}
		json_array_foreach(json_object_get(sweep, "packs"), k, pack)
			if (json_is_string(pack))
				json_put_bool(*condemned, json_string_value(pack), true);
		json_decref(sweep);
	}
	free(ids);
	return rc;
}

struct loading {
	struct index *x;
	struct repo *r;
	struct err *e;                  /* the first failure; guarded by the index's lock, as is `failed` */
	bool failed;
};

struct fetch {
	struct loading *l;
	const uint8_t *id;
};

static int
take_record(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	struct index *x = ctx;

	(void)e;
	pthread_mutex_lock(&x->lock);
	add(x, true, info, entries);
	pthread_mutex_unlock(&x->lock);
	return 0;
}

static void
fetch(void *arg)
{
	struct fetch *f = arg;
	struct loading *l = f->l;
	struct buf section = BUF_INIT;
	struct err e = ERR_INIT;
	int rc = catalog_get(l->r, CATALOG_INDEX, f->id, &section, 1, &e);

	if (rc == 0)
		rc = index_parse(&section, take_record, l->x, &e);
	buf_free(&section);
	pthread_mutex_lock(&l->x->lock);
	if (rc == 0)
		memcpy(l->x->ids[l->x->id_count++], f->id, ID_BYTES);
	else if (!l->failed)
		*l->e = e;
	l->failed = l->failed || rc != 0;
	pthread_mutex_unlock(&l->x->lock);
	free(f);
}

/* Fetches what is listed and not in the map; with several threads, since a store far away answers slowly. */
static int
fetch_new(struct index *x, struct repo *r, const uint8_t (*listed)[ID_BYTES], size_t count, struct err *e)
{
	struct loading l = { .x = x, .r = r, .e = e };
	struct pool *pool = pool_new(FETCHERS, FETCHERS, false);
	size_t mapped = x->id_count;
	bool failed = false;

	qsort(x->ids, mapped, ID_BYTES, compare_ids);
	for (size_t i = 0; i < count && !failed; i++) {
		struct fetch *f;

		if (bsearch(listed[i], x->ids, mapped, ID_BYTES, compare_ids) != NULL)
			continue;
		f = mem_alloc(sizeof(*f));
		*f = (struct fetch){ .l = &l, .id = listed[i] };
		pool_submit(pool, fetch, f);
		pthread_mutex_lock(&x->lock);
		failed = l.failed;
		pthread_mutex_unlock(&x->lock);
	}
	pool_free(pool);
	return l.failed ? -1 : 0;
}

/*
 * Puts what was fetched into the map if it is much, for its own sake or beside what the map has; else, or when the map cannot be
 * written, into the table.
 */
static int
settle(struct index *x, struct repo *r, const char *path, struct err *e)
{
	bool much = x->runs.spilled > 0 || (path != NULL && x->runs.count > 65536 && x->runs.count > x->map.entry_count / 8);
	const struct map_entry *entries;
	struct err why = ERR_INIT;
	size_t count;

	if (much && !x->runs.failed &&
	    map_build(&x->map, path, r->uuid, (const uint8_t(*)[ID_BYTES])x->ids, x->id_count, x->packs, x->pack_count, &x->runs, &why) != 0)
		log_warning("the index cache cannot be written (%s); going on without it", why.msg);
	do {
		if (map_runs_take(&x->runs, &entries, &count, e))
			return -1;
		for (size_t i = 0; i < count; i++)
			table_put(x, &entries[i]);
	} while (count > 0);
	map_runs_free(&x->runs);
	return 0;
}

static int
load(struct index *x, struct repo *r, const char *path, struct err *e)
{
	uint8_t (*listed)[ID_BYTES];
	size_t count;
	int rc;

	/* Before any pack is taken up, so that of a chunk's two places the one that stays is chosen. */
	if (index_condemned(r, &x->condemned, e) || catalog_list(r, CATALOG_INDEX, &listed, NULL, &count, e))
		return -1;
	count = sort_ids(listed, count);
	if (path != NULL)
		open_map(x, r, path, (const uint8_t(*)[ID_BYTES])listed, count);
	if (x->ids == NULL)
		x->ids = mem_alloc((count + 1) * ID_BYTES);
	rc = x->id_count == count ? 0 : fetch_new(x, r, (const uint8_t(*)[ID_BYTES])listed, count, e);
	free(listed);
	return rc == 0 ? settle(x, r, path, e) : -1;
}

/* Where a large index is sorted: in the cache, else where temporary files may be large. */
static const char *
work_folder(const struct repo *r)
{
	const char *tmp = getenv("TMPDIR");

	if (r->cache != NULL)
		return r->cache;
	return tmp != NULL && tmp[0] == '/' ? tmp : "/var/tmp";
}

struct index *
index_open(struct repo *r, struct err *e)
{
	char *path = r->cache != NULL ? mem_printf("%s/index.map", r->cache) : NULL;
	struct index *x = NULL;
	int rc = -1;

	/* An index object that is gone a moment after it was listed was replaced by a newer one: look again. */
	for (int tries = 0; tries < LOAD_TRIES && rc != 0; tries++) {
		if (x != NULL && e->kind != ERR_NOT_FOUND)
			break;
		index_free(x);
		err_clear(e);
		x = mem_zero(1, sizeof(*x));
		x->store = r->store;
		pthread_mutex_init(&x->lock, NULL);
		pthread_mutex_init(&x->asking, NULL);
		x->runs = (struct map_runs)MAP_RUNS_INIT(work_folder(r));
		rc = load(x, r, path, e);
	}
	free(path);
	if (rc == 0)
		return x;
	index_free(x);
	err_hint(e, "If an index object is damaged, `holdfast verify --rebuild-index` writes the index anew from the packs.");
	err_wrap(e, "load the index");
	return NULL;
}

int
index_load(struct repo *r, struct err *e)
{
	struct index *x = index_open(r, e);

	if (x == NULL)
		return -1;
	index_free(r->index);
	r->index = x;
	return 0;
}

void
index_free(struct index *x)
{
	if (x == NULL)
		return;
	map_close(&x->map);
	map_runs_free(&x->runs);
	pthread_mutex_destroy(&x->lock);
	pthread_mutex_destroy(&x->asking);
	free(x->table);
	free(x->packs);
	free(x->by_id);
	free(x->ids);
	json_decref(x->condemned);
	free(x);
}
