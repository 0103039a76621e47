#include "repo/read.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/stop.h"
#include "codec/zst.h"

/*
 * A stream is read in ranges: chunks that lie close together in one pack are fetched with one request, opened and unpacked
 * by whichever thread fetched them, and handed on in order.  READ_AHEAD ranges are under way at a time.
 */
#define RANGE_PLAIN (4u << 20)          /* of one range */
#define RANGE_GAP (64u << 10)           /* bytes of other streams that are read and thrown away rather than asked around */
#define READ_AHEAD 5
#define READ_THREADS 3
#define LIST_CHUNK_MAX (4u << 20)
#define KEYS_KEPT 64

/* ---- keys of packs ---- */

struct pack_key {
	uint8_t pack[ID_BYTES];
	uint64_t used;
	uint8_t head[PACK_HEAD_BYTES];
	bool known;
};

struct pack_keys {
	struct repo *repo;
	pthread_mutex_t lock;
	uint64_t clock;
	struct pack_key kept[KEYS_KEPT];
};

struct pack_keys *
pack_keys_new(struct repo *r)
{
	struct pack_keys *k = mem_zero(1, sizeof(*k));

	k->repo = r;
	pthread_mutex_init(&k->lock, NULL);
	return k;
}

void
pack_keys_free(struct pack_keys *k)
{
	if (k == NULL)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k);
}

/* The header of a pack, if it is kept. */
static bool
recall(struct pack_keys *k, const uint8_t pack[ID_BYTES], uint8_t head[PACK_HEAD_BYTES])
{
	bool found = false;

	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < KEYS_KEPT && !found; i++)
		if (k->kept[i].known && memcmp(k->kept[i].pack, pack, ID_BYTES) == 0) {
			memcpy(head, k->kept[i].head, PACK_HEAD_BYTES);
			k->kept[i].used = ++k->clock;
			found = true;
		}
	pthread_mutex_unlock(&k->lock);
	return found;
}

static void
keep(struct pack_keys *k, const uint8_t pack[ID_BYTES], const uint8_t head[PACK_HEAD_BYTES])
{
	struct pack_key *oldest = &k->kept[0];

	pthread_mutex_lock(&k->lock);
	for (size_t i = 1; i < KEYS_KEPT; i++)
		if (k->kept[i].used < oldest->used)
			oldest = &k->kept[i];
	memcpy(oldest->pack, pack, ID_BYTES);
	oldest->known = true;
	oldest->used = ++k->clock;
	memcpy(oldest->head, head, PACK_HEAD_BYTES);
	pthread_mutex_unlock(&k->lock);
}

/* The key of a pack's chunks and its header, kept or fetched now; a header is kept only when it was found authentic.  Two threads may
 * fetch the same one; both get the same bytes. */
static struct aead *
open_pack(struct pack_keys *k, const struct pack_info *info, const char *name, uint8_t head[PACK_HEAD_BYTES], struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct aead *aead = NULL;
	enum pack_kind kind;
	uint32_t epoch;

	if (recall(k, info->id, head))
		return pack_unwrap(head, k->repo, e);
	if (store_get(k->repo->store, name, 0, PACK_HEAD_BYTES, &bytes, e) == 0 &&
	    pack_read_head(bytes.data, k->repo->uuid, info->id, &kind, &epoch, e) == 0 &&
	    (kind == info->kind || err_set(e, ERR_CORRUPT, "it is of another kind than the index says") == 0)) {
		memcpy(head, bytes.data, PACK_HEAD_BYTES);
		aead = pack_unwrap(head, k->repo, e);
	}
	if (aead != NULL)
		keep(k, info->id, head);
	buf_free(&bytes);
	return aead;
}

/* ---- ranges ---- */

struct range_chunk {
	uint8_t id[CHUNK_ID_BYTES];
	uint32_t offset, stored, plain;
};

struct range {
	struct reader *reader;
	struct pack_info pack;
	struct range_chunk *chunks;
	size_t count, room;
	size_t plain_bytes, plain_room;
	uint8_t *plain;
	struct buf sealed;              /* as fetched */
	struct zst *zst;                /* NULL until it is read for the first time */
	struct err error;
	bool done;
	struct range *next;             /* in reader.idle */
};

struct reader {
	struct repo *repo;
	struct index *index;            /* the repository's, or `renewed` */
	struct index *renewed;          /* owned; NULL: there was no need */
	struct pack_keys *keys;
	struct pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t progress;
	struct range *ring[READ_AHEAD];
	size_t first, under_way;
	struct range *filling;
	struct range *idle;             /* delivered: their memory serves again, which spares a thousand page faults each */
	struct sink *to;
	uint64_t left;                  /* bytes of the stream that were not delivered yet */
	struct hash *order;             /* of what was delivered: each chunk's id and length, as lists have them */
};

/* Frees what a range holds, not itself. */
static void
range_clear(struct range *g)
{
	zst_free(g->zst);
	buf_free(&g->sealed);
	free(g->plain);
}

static void
range_free(struct range *g)
{
	if (g == NULL)
		return;
	range_clear(g);
	free(g->chunks);
	free(g);
}

static struct range *
range_take(struct reader *rd, const struct pack_info *pack)
{
	struct range *g = rd->idle;

	if (g != NULL)
		rd->idle = g->next;
	else
		g = mem_zero(1, sizeof(*g));
	g->reader = rd;
	g->pack = *pack;
	err_clear(&g->error);
	g->count = g->plain_bytes = 0;
	g->done = false;
	return g;
}

/* Fetches a range and opens its chunks into g->plain.  ERR_NOT_FOUND: its pack is not there. */
static int
range_read(struct repo *r, struct pack_keys *keys, struct range *g, struct err *e)
{
	const struct range_chunk *last = &g->chunks[g->count - 1];
	char *name = pack_name(g->pack.id);
	uint8_t head[PACK_HEAD_BYTES];
	struct aead *aead = NULL;
	size_t at = 0, from = g->chunks[0].offset;
	int rc = -1;

	aead = open_pack(keys, &g->pack, name, head, e);
	buf_clear(&g->sealed);
	if (aead == NULL || store_get(r->store, name, from, last->offset + last->stored - from, &g->sealed, e))
		goto out;
	if (g->zst == NULL)
		g->zst = zst_new(1);
	if (g->plain_room < g->plain_bytes) {
		free(g->plain);
		g->plain = mem_alloc(g->plain_bytes);
		g->plain_room = g->plain_bytes;
	}
	for (size_t i = 0; i < g->count; i++) {
		const struct range_chunk *c = &g->chunks[i];
		uint8_t *sealed = g->sealed.data + (c->offset - from);

		if (pack_open_chunk(aead, g->zst, head, c->offset, sealed, c->stored, sealed, g->plain + at, c->plain, c->id, r, e))
			goto out;
		at += c->plain;
	}
	rc = 0;
out:
	if (rc != 0)
		err_wrap(e, "\"%s\"", name);
	aead_free(aead);
	free(name);
	return rc;
}

static void
range_work(void *arg)
{
	struct range *g = arg;
	struct reader *rd = g->reader;
	struct err e = ERR_INIT;

	if (range_read(rd->repo, rd->keys, g, &e) != 0)
		g->error = e;
	pthread_mutex_lock(&rd->lock);
	g->done = true;
	pthread_cond_broadcast(&rd->progress);
	pthread_mutex_unlock(&rd->lock);
}

static int
hand_on(struct reader *rd, const struct range *g, struct err *e)
{
	/* More than was recorded is wrong already; do not let a bad length run on to the end of a terabyte. */
	if (g->plain_bytes > rd->left)
		return err_set(e, ERR_CORRUPT, "it goes on behind its recorded end");
	rd->left -= g->plain_bytes;
	for (size_t i = 0; i < g->count; i++) {
		uint8_t bytes[4];

		bytes_put_u32(bytes, g->chunks[i].plain);
		hash_update(rd->order, g->chunks[i].id, CHUNK_ID_BYTES);
		hash_update(rd->order, bytes, sizeof(bytes));
	}
	return sink_write(rd->to, g->plain, g->plain_bytes, e);
}

/* Where a chunk lies, of which a list says how large it is. */
static int
look_up(struct reader *rd, const uint8_t id[CHUNK_ID_BYTES], uint32_t plain, struct range_chunk *chunk, struct pack_info *pack, struct err *e)
{
	struct place p;
	char hex[2 * CHUNK_ID_BYTES + 1];

	hex_encode(hex, id, CHUNK_ID_BYTES);
	if (index_find(rd->index, id, &p, e)) {
		if (e->kind != ERR_NOT_FOUND)
			return -1;
		err_set(e, ERR_CORRUPT, "chunk %.16s... is in no pack that the index knows", hex);
		return err_hint(e, "If an index object was lost, `holdfast verify --rebuild-index` finds what is in the packs.");
	}
	if (p.plain != plain || p.plain > rd->repo->chunk_max)
		return err_set(e, ERR_CORRUPT, "chunk %.16s... has %u bytes in the index and %u in the stream's list", hex, p.plain, plain);
	*chunk = (struct range_chunk){ .offset = p.offset, .stored = p.stored, .plain = p.plain };
	memcpy(chunk->id, id, CHUNK_ID_BYTES);
	*pack = index_pack(rd->index, p.pack);
	return 0;
}

/*
 * A pack is not there.  An `expire` may have removed it since the index was loaded, because nobody needed it any more: another one has its
 * chunks.  So the index of now decides whether that is damage.
 */
static int
renew(struct reader *rd, struct err *e)
{
	if (rd->renewed == NULL)
		rd->index = rd->renewed = index_open(rd->repo, e);
	return rd->renewed != NULL ? 0 : -1;
}

static int
read_again(struct reader *rd, const struct range *g, struct err *e)
{
	struct range_chunk chunk;
	struct range one = { .count = 1, .chunks = &chunk };
	int rc = renew(rd, e);

	for (size_t i = 0; i < g->count && rc == 0; i++) {
		rc = look_up(rd, g->chunks[i].id, g->chunks[i].plain, &chunk, &one.pack, e);
		one.plain_bytes = g->chunks[i].plain;
		if (rc == 0)
			rc = range_read(rd->repo, rd->keys, &one, e);
		if (rc == 0)
			rc = hand_on(rd, &one, e);
	}
	range_clear(&one);
	return rc;
}

/* Waits for the oldest range and hands it on. */
static int
deliver(struct reader *rd, struct err *e)
{
	struct range *g = rd->ring[rd->first];
	int rc = -1;

	pthread_mutex_lock(&rd->lock);
	while (!g->done)
		pthread_cond_wait(&rd->progress, &rd->lock);
	pthread_mutex_unlock(&rd->lock);
	rd->ring[rd->first] = NULL;
	rd->first = (rd->first + 1) % READ_AHEAD;
	rd->under_way--;
	if (g->error.kind == ERR_NOT_FOUND)
		rc = read_again(rd, g, e);
	else if (g->error.kind != ERR_NONE)
		*e = g->error;
	else if (stop_check(e) == 0)
		rc = hand_on(rd, g, e);
	g->next = rd->idle;
	rd->idle = g;
	return rc;
}

static int
dispatch(struct reader *rd, struct err *e)
{
	struct range *g = rd->filling;

	if (g == NULL)
		return 0;
	if (rd->under_way == READ_AHEAD && deliver(rd, e))
		return -1;
	rd->filling = NULL;
	rd->ring[(rd->first + rd->under_way) % READ_AHEAD] = g;
	rd->under_way++;
	pool_submit(rd->pool, range_work, g);
	return 0;
}

/* Whether the chunk goes on where the range ends, near enough. */
static bool
belongs(const struct range *g, const struct range_chunk *c, const struct pack_info *pack)
{
	const struct range_chunk *last = &g->chunks[g->count - 1];
	uint64_t end = (uint64_t)last->offset + last->stored;

	return memcmp(g->pack.id, pack->id, ID_BYTES) == 0 && c->offset >= end && c->offset - end <= RANGE_GAP &&
	    g->plain_bytes + c->plain <= RANGE_PLAIN;
}

static int
take_chunk(struct reader *rd, const struct list_entry *entry, struct err *e)
{
	struct range *g = rd->filling;
	struct range_chunk chunk;
	struct pack_info pack;

	if (look_up(rd, entry->id, entry->plain, &chunk, &pack, e))
		return -1;
	if (g != NULL && !belongs(g, &chunk, &pack)) {
		if (dispatch(rd, e))
			return -1;
		g = NULL;
	}
	if (g == NULL)
		g = rd->filling = range_take(rd, &pack);
	if (g->count == g->room) {
		g->room = g->room == 0 ? 8 : 2 * g->room;
		g->chunks = mem_grow(g->chunks, g->room, sizeof(*g->chunks));
	}
	g->chunks[g->count++] = chunk;
	g->plain_bytes += chunk.plain;
	return 0;
}

/* ---- lists ---- */

int
read_list_parse(const uint8_t *data, size_t bytes, size_t chunk_max, struct list_entry **entries, size_t *count, struct err *e)
{
	struct cursor c = cursor_over(data, bytes);

	*count = bytes / (CHUNK_ID_BYTES + 4);
	if (bytes % (CHUNK_ID_BYTES + 4) != 0)
		return err_set(e, ERR_CORRUPT, "a list of chunks has %zu bytes, not a whole number of entries", bytes);
	*entries = mem_alloc(*count * sizeof(**entries));
	for (size_t i = 0; i < *count; i++) {
		memcpy((*entries)[i].id, cursor_take(&c, CHUNK_ID_BYTES), CHUNK_ID_BYTES);
		(*entries)[i].plain = cursor_u32(&c);
		if ((*entries)[i].plain == 0 || (*entries)[i].plain > chunk_max) {
			free(*entries);
			return err_set(e, ERR_CORRUPT, "a list of chunks holds a chunk of impossible size");
		}
	}
	return 0;
}

int
read_list(struct repo *r, struct index *x, struct pack_keys *keys, const char *id_hex, struct list_entry **entries, size_t *count, struct err *e)
{
	struct range g = { .count = 1 };
	struct range_chunk chunk;
	struct place p;
	int rc = -1;

	if (strlen(id_hex) != 2 * CHUNK_ID_BYTES || !hex_decode(chunk.id, CHUNK_ID_BYTES, id_hex))
		return err_set(e, ERR_CORRUPT, "\"%.80s\" is not the id of a list", id_hex);
	if (index_find(x, chunk.id, &p, e)) {
		if (e->kind != ERR_NOT_FOUND)
			return -1;
		err_set(e, ERR_CORRUPT, "list %.16s... is in no pack that the index knows", id_hex);
		return err_hint(e, "If an index object was lost, `holdfast verify --rebuild-index` finds what is in the packs.");
	}
	if (p.plain > LIST_CHUNK_MAX || index_pack(x, p.pack).kind != PACK_LISTS)
		return err_set(e, ERR_CORRUPT, "list %.16s... does not lie where lists lie", id_hex);
	chunk.offset = p.offset;
	chunk.stored = p.stored;
	chunk.plain = p.plain;
	g.chunks = &chunk;
	g.pack = index_pack(x, p.pack);
	g.plain_bytes = p.plain;
	if (range_read(r, keys, &g, e) == 0)
		rc = read_list_parse(g.plain, g.plain_bytes, r->chunk_max, entries, count, e);
	range_clear(&g);
	return rc;
}

/* ---- a stream ---- */

static int
list_now(struct reader *rd, const char *id_hex, struct list_entry **entries, size_t *count, struct err *e)
{
	int rc = read_list(rd->repo, rd->index, rd->keys, id_hex, entries, count, e);

	if (rc != 0 && e->kind == ERR_NOT_FOUND && rd->renewed == NULL) {
		err_clear(e);
		rc = renew(rd, e) == 0 ? read_list(rd->repo, rd->index, rd->keys, id_hex, entries, count, e) : -1;
	}
	return rc;
}

static int
read_lists(struct reader *rd, const json_t *lists, struct err *e)
{
	json_t *list;
	size_t i;

	json_array_foreach(lists, i, list) {
		struct list_entry *entries;
		size_t count;
		int rc = list_now(rd, json_is_string(list) ? json_string_value(list) : "", &entries, &count, e);

		if (rc != 0)
			return -1;
		for (size_t k = 0; k < count && rc == 0; k++)
			rc = take_chunk(rd, &entries[k], e);
		free(entries);
		if (rc != 0)
			return -1;
	}
	if (dispatch(rd, e))
		return -1;
	while (rd->under_way > 0)
		if (deliver(rd, e))
			return -1;
	return 0;
}

/* Lets the receiver finish only when all that was recorded went to it, in the order recorded. */
static int
finish(struct reader *rd, const char *recorded, struct err *e)
{
	uint8_t digest[SHA256_BYTES];
	char hex[SHA256_HEX];

	hash_final(rd->order, digest);
	hex_encode(hex, digest, sizeof(digest));
	if (rd->left != 0)
		return err_set(e, ERR_CORRUPT, "it ends %llu bytes before the recorded end", (unsigned long long)rd->left);
	if (strcmp(hex, recorded) != 0)
		return err_set(e, ERR_CORRUPT, "it has the recorded length, but other content");
	return sink_finish(rd->to, e);
}

int
repo_read(struct repo *r, const json_t *stream, struct sink *to, struct err *e)
{
	struct reader rd = { .repo = r, .to = to };
	const char *name = json_need_str(stream, "name", e);
	const json_t *lists = json_need_array(stream, "lists", e);
	const char *digest;
	int rc = -1;

	digest = json_need_str(stream, "digest", e);
	rd.left = (uint64_t)json_need_int(stream, "bytes", 0, INT64_MAX, e);
	if (e->kind != ERR_NONE)
		return -1;
	if (!repo_can_read(r)) {
		err_set(e, ERR_KEY, "the key of \"%s\" is an agent's: it can back up and cannot read", r->self->name);
		return err_hint(e, "Use the key file of a recovery holder (--key-file) or its passphrase (--passphrase-file).");
	}
	if (r->index == NULL && index_load(r, e))
		return -1;
	rd.index = r->index;
	pthread_mutex_init(&rd.lock, NULL);
	pthread_cond_init(&rd.progress, NULL);
	rd.keys = pack_keys_new(r);
	rd.pool = pool_new(READ_THREADS, READ_AHEAD, false);
	rd.order = hash_sha256_new();
	rc = read_lists(&rd, lists, e);
	if (rc == 0)
		rc = finish(&rd, digest, e);
	if (rc != 0)
		err_wrap(e, "stream \"%s\"", name);
	if (rc != 0 && e->kind == ERR_NOT_FOUND)
		e->kind = ERR_CORRUPT;          /* the index of now says that it is there */
	pool_free(rd.pool);
	range_free(rd.filling);
	for (size_t i = 0; i < READ_AHEAD; i++)
		range_free(rd.ring[i]);
	for (struct range *g = rd.idle, *next; g != NULL; g = next) {
		next = g->next;
		range_free(g);
	}
	pack_keys_free(rd.keys);
	index_free(rd.renewed);
	hash_free(rd.order);
	pthread_mutex_destroy(&rd.lock);
	pthread_cond_destroy(&rd.progress);
	return rc;
}
