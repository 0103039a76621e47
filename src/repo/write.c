#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rand.h"
#include "codec/zst.h"
#include "repo/catalog.h"
#include "repo/runs.h"

/*
 * One run: streams are cut by the threads that bring them; workers hash, look up, compress and seal; packs that are full are
 * put by two more threads.  Everything that waits is bounded, so memory is: chunks in flight, one open pack a lane, two
 * packs on their way.
 *
 * A lane is an open pack.  A stream keeps one lane while it lasts, so that its chunks lie together and are read back in
 * long ranges; when it ends, the next stream goes on in the same lane, so that many small streams share packs.
 */
#define UPLOADS 2
#define LIST_MIN_ENTRIES 1024
#define LIST_MAX_ENTRIES 32768
#define LIST_CUT_MASK 0x0fff

struct lane {
	pthread_mutex_t lock;           /* guards pack */
	enum pack_kind kind;
	struct pack pack;
	bool open, taken;
	struct lane *next;
};

struct scratch {                        /* what a worker needs; kept from job to job */
	struct zst *zst;
	uint8_t *room;
	struct scratch *next;
};

struct chunk_ref {
	uint8_t id[CHUNK_ID_BYTES];
	uint32_t plain;
};

struct stream {
	char *name, *kind, *database;
	struct chunk_ref *chunks;
	size_t count, room, pending;
	uint64_t bytes;
	uint8_t sha256[SHA256_BYTES];
	json_t *lists;
	bool complete;
	struct stream *next;
};

struct chunk_buf {
	struct chunk_buf *next;
	size_t bytes;
	uint8_t data[];
};

struct repo_run {
	struct repo *repo;
	uint8_t run_id[RUN_ID_BYTES];
	struct pool *workers, *uploads;
	pthread_mutex_t lock;           /* guards all below */
	pthread_cond_t stream_idle;
	struct err error;               /* the first one; everything after it is without meaning */
	struct lane *lanes, *lists;
	struct scratch *scratches;
	struct chunk_buf *buffers;
	struct stream *streams;
	struct buf records;
	struct repo_stats stats;
	uint8_t *used;                  /* a bit for each pack, by number, that known chunks were found in */
	uint32_t used_packs;
	void (*seen)(void *ctx, uint64_t bytes, uint64_t known);
	void *seen_ctx;
};

struct job {
	struct repo_run *run;
	struct stream *stream;
	struct lane *lane;
	size_t at;
	struct chunk_buf *chunk;
};

static void
fail(struct repo_run *run, const struct err *e)
{
	pthread_mutex_lock(&run->lock);
	if (run->error.kind == ERR_NONE)
		run->error = *e;
	pthread_mutex_unlock(&run->lock);
}

static int
check(struct repo_run *run, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&run->lock);
	if (run->error.kind != ERR_NONE) {
		*e = run->error;
		rc = -1;
	}
	pthread_mutex_unlock(&run->lock);
	return rc;
}

static struct scratch *
scratch_take(struct repo_run *run)
{
	struct scratch *s;

	pthread_mutex_lock(&run->lock);
	s = run->scratches;
	if (s != NULL)
		run->scratches = s->next;
	pthread_mutex_unlock(&run->lock);
	if (s == NULL) {
		s = mem_zero(1, sizeof(*s));
		s->zst = zst_new(run->repo->level);
		s->room = mem_alloc(zst_bound(run->repo->chunk_max));
	}
	return s;
}

static void
scratch_give(struct repo_run *run, struct scratch *s)
{
	pthread_mutex_lock(&run->lock);
	s->next = run->scratches;
	run->scratches = s;
	pthread_mutex_unlock(&run->lock);
}

/* ---- packs on their way ---- */

struct upload {
	struct repo_run *run;
	struct pack pack;
};

static void
upload(void *arg)
{
	struct upload *u = arg;
	struct repo_run *run = u->run;
	struct err e = ERR_INIT;
	struct pack_info info = { .bytes = (uint32_t)u->pack.bytes.bytes, .chunks = u->pack.count, .kind = u->pack.kind };
	char *name = pack_name(u->pack.id);

	memcpy(info.id, u->pack.id, ID_BYTES);
	memcpy(info.sha256, u->pack.sha256, 32);
	if (check(run, &e) != 0)
		;                       /* the run is lost: do not put more */
	else if (store_put(run->repo->store, name, u->pack.bytes.data, u->pack.bytes.bytes, &e) != 0) {
		err_wrap(&e, "store \"%s\"", name);
		fail(run, &e);
	} else {
		index_add(run->repo->index, &info, u->pack.entries);
		pthread_mutex_lock(&run->lock);
		run->stats.packs++;
		run->stats.stored_bytes += info.bytes;
		index_record(&run->records, &info, u->pack.entries);
		/* The index follows its packs while a long run goes on, so that its objects stay small. */
		if (index_put(run->repo, &run->records, false, &e) != 0 && run->error.kind == ERR_NONE)
			run->error = e;
		pthread_mutex_unlock(&run->lock);
	}
	free(name);
	pack_free(&u->pack);
	free(u);
}

/* Closes the lane's pack and sends it on its way.  The lane is locked. */
static void
lane_ship(struct repo_run *run, struct lane *lane)
{
	struct upload *u;

	if (!lane->open)
		return;
	lane->open = false;
	u = mem_zero(1, sizeof(*u));
	u->run = run;
	u->pack = lane->pack;
	memset(&lane->pack, 0, sizeof(lane->pack));
	pack_close(&u->pack, run->repo);
	pool_submit(run->uploads, upload, u);
}

static int
lane_add(struct repo_run *run, struct lane *lane, const uint8_t *id, int packing, const void *data, size_t bytes, size_t plain_bytes, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&lane->lock);
	if (lane->open && (pack_size_with(&lane->pack, bytes) > PACK_TARGET || lane->pack.count == PACK_CHUNKS_MAX))
		lane_ship(run, lane);
	if (!lane->open) {
		rc = pack_begin(&lane->pack, run->repo, run->run_id, lane->kind, e);
		lane->open = rc == 0;
	}
	if (rc == 0)
		pack_add(&lane->pack, id, packing, data, bytes, plain_bytes);
	pthread_mutex_unlock(&lane->lock);
	return rc;
}

static struct lane *
lane_new(enum pack_kind kind)
{
	struct lane *lane = mem_zero(1, sizeof(*lane));

	pthread_mutex_init(&lane->lock, NULL);
	lane->kind = kind;
	return lane;
}

static struct lane *
lane_take(struct repo_run *run)
{
	struct lane *lane, *idle = NULL;

	pthread_mutex_lock(&run->lock);
	for (lane = run->lanes; lane != NULL; lane = lane->next)
		if (!lane->taken && (idle == NULL || lane->open))
			idle = lane;
	if (idle == NULL) {
		idle = lane_new(PACK_DATA);
		idle->next = run->lanes;
		run->lanes = idle;
	}
	idle->taken = true;
	pthread_mutex_unlock(&run->lock);
	return idle;
}

/* ---- chunks ---- */

static void
note_use(struct repo_run *run, uint32_t pack)
{
	if (pack < run->used_packs)
		run->used[pack / 8] |= (uint8_t)(1 << pack % 8);
}

/* Stores a chunk unless it is known.  *known tells. */
static int
deal_with(struct repo_run *run, struct lane *lane, const uint8_t *data, size_t bytes, uint8_t id[CHUNK_ID_BYTES], bool *known, struct err *e)
{
	struct scratch *s;
	uint32_t pack;
	size_t n;
	int rc;

	chunk_id(id, run->repo, lane->kind, data, bytes);
	*known = !index_claim(run->repo->index, id, &pack);
	if (*known) {
		pthread_mutex_lock(&run->lock);
		note_use(run, pack);
		pthread_mutex_unlock(&run->lock);
		return 0;
	}
	s = scratch_take(run);
	n = zst_pack(s->zst, data, bytes, s->room);
	rc = n < bytes ? lane_add(run, lane, id, PACKING_ZSTD, s->room, n, bytes, e) : lane_add(run, lane, id, PACKING_NONE, data, bytes, bytes, e);
	scratch_give(run, s);
	return rc;
}

static void
work(void *arg)
{
	struct job *job = arg;
	struct repo_run *run = job->run;
	struct stream *stream = job->stream;
	uint8_t id[CHUNK_ID_BYTES];
	struct err e = ERR_INIT;
	bool known = false;
	size_t bytes = job->chunk->bytes;
	uint64_t known_bytes;

	if (check(run, &e) == 0 && deal_with(run, job->lane, job->chunk->data, bytes, id, &known, &e) != 0)
		fail(run, &e);
	known_bytes = known ? bytes : 0;
	pthread_mutex_lock(&run->lock);
	if (e.kind == ERR_NONE) {
		memcpy(stream->chunks[job->at].id, id, CHUNK_ID_BYTES);
		stream->chunks[job->at].plain = (uint32_t)bytes;
	}
	run->stats.bytes += bytes;
	run->stats.new_bytes += bytes - known_bytes;
	job->chunk->next = run->buffers;
	run->buffers = job->chunk;
	if (--stream->pending == 0)
		pthread_cond_broadcast(&run->stream_idle);
	if (run->seen != NULL)
		run->seen(run->seen_ctx, bytes, known_bytes);
	pthread_mutex_unlock(&run->lock);
	free(job);
}

/* ---- a stream as a sink ---- */

struct stream_sink {
	struct sink sink;
	struct repo_run *run;
	struct stream *stream;
	struct lane *lane;
	struct cut_state cut;
	struct chunk_buf *chunk;        /* being filled */
	struct hash *hash;
};

static struct chunk_buf *
buffer_take(struct repo_run *run)
{
	struct chunk_buf *b;

	pthread_mutex_lock(&run->lock);
	b = run->buffers;
	if (b != NULL)
		run->buffers = b->next;
	pthread_mutex_unlock(&run->lock);
	if (b == NULL)
		b = mem_alloc(sizeof(*b) + run->repo->chunk_max);
	b->bytes = 0;
	return b;
}

static void
submit(struct stream_sink *s)
{
	struct job *job = mem_zero(1, sizeof(*job));
	struct stream *stream = s->stream;

	job->run = s->run;
	job->stream = stream;
	job->lane = s->lane;
	job->chunk = s->chunk;
	s->chunk = NULL;
	pthread_mutex_lock(&s->run->lock);
	if (stream->count == stream->room) {
		stream->room = stream->room == 0 ? 64 : 2 * stream->room;
		stream->chunks = mem_grow(stream->chunks, stream->room, sizeof(*stream->chunks));
	}
	job->at = stream->count++;
	stream->pending++;
	pthread_mutex_unlock(&s->run->lock);
	pool_submit(s->run->workers, work, job);
}

static int
stream_write(struct sink *sink, const void *data, size_t bytes, struct err *e)
{
	struct stream_sink *s = (struct stream_sink *)sink;
	const uint8_t *p = data;

	if (check(s->run, e))
		return -1;
	hash_update(s->hash, data, bytes);
	s->stream->bytes += bytes;
	while (bytes > 0) {
		bool ends;
		size_t n;

		if (s->chunk == NULL)
			s->chunk = buffer_take(s->run);
		n = cut_scan(&s->run->repo->cuts, &s->cut, p, bytes, &ends);
		memcpy(s->chunk->data + s->chunk->bytes, p, n);
		s->chunk->bytes += n;
		p += n;
		bytes -= n;
		if (ends)
			submit(s);
	}
	return 0;
}

static int
put_list(struct repo_run *run, struct stream *stream, const struct buf *list, struct err *e)
{
	uint8_t id[CHUNK_ID_BYTES];
	char hex[2 * CHUNK_ID_BYTES + 1];
	bool known;

	if (deal_with(run, run->lists, list->data, list->bytes, id, &known, e))
		return -1;
	hex_encode(hex, id, sizeof(id));
	json_add(stream->lists, json_string(hex));
	return 0;
}

/* The list of the stream's chunks, cut by content like everything else, so that what did not change is stored once. */
static int
put_lists(struct repo_run *run, struct stream *stream, struct err *e)
{
	struct buf list = BUF_INIT;
	size_t entries = 0;
	int rc = 0;

	for (size_t i = 0; i < stream->count && rc == 0; i++) {
		const struct chunk_ref *c = &stream->chunks[i];

		buf_add(&list, c->id, CHUNK_ID_BYTES);
		buf_u32(&list, c->plain);
		entries++;
		if (i + 1 == stream->count || entries == LIST_MAX_ENTRIES ||
		    (entries >= LIST_MIN_ENTRIES && (bytes_get_u16(c->id + CHUNK_ID_BYTES - 2) & LIST_CUT_MASK) == 0)) {
			rc = put_list(run, stream, &list, e);
			buf_clear(&list);
			entries = 0;
		}
	}
	buf_free(&list);
	return rc;
}

static int
stream_finish(struct sink *sink, struct err *e)
{
	struct stream_sink *s = (struct stream_sink *)sink;
	struct stream *stream = s->stream;

	if (s->chunk != NULL)
		submit(s);
	pthread_mutex_lock(&s->run->lock);
	while (stream->pending > 0)
		pthread_cond_wait(&s->run->stream_idle, &s->run->lock);
	pthread_mutex_unlock(&s->run->lock);
	hash_final(s->hash, stream->sha256);
	if (check(s->run, e) || put_lists(s->run, stream, e))
		return -1;
	pthread_mutex_lock(&s->run->lock);
	stream->complete = true;
	pthread_mutex_unlock(&s->run->lock);
	return 0;
}

static void
stream_free(struct sink *sink)
{
	struct stream_sink *s = (struct stream_sink *)sink;
	struct repo_run *run = s->run;

	pthread_mutex_lock(&run->lock);
	while (s->stream->pending > 0)
		pthread_cond_wait(&run->stream_idle, &run->lock);
	s->lane->taken = false;
	if (s->chunk != NULL) {
		s->chunk->next = run->buffers;
		run->buffers = s->chunk;
	}
	pthread_mutex_unlock(&run->lock);
	hash_free(s->hash);
	free(s);
}

static void
stream_reset(struct stream *stream)
{
	free(stream->chunks);
	stream->chunks = NULL;
	stream->count = stream->room = 0;
	stream->bytes = 0;
	stream->complete = false;
	json_array_clear(stream->lists);
}

struct sink *
repo_write(struct repo_run *run, const char *name, const char *kind, const char *database)
{
	static const struct sink_ops ops = { stream_write, stream_finish, stream_free };
	struct stream_sink *s = mem_zero(1, sizeof(*s));
	struct stream *stream;

	pthread_mutex_lock(&run->lock);
	for (stream = run->streams; stream != NULL && strcmp(stream->name, name) != 0;)
		stream = stream->next;
	if (stream != NULL) {
		stream_reset(stream);
	} else {
		stream = mem_zero(1, sizeof(*stream));
		stream->name = mem_strdup(name);
		stream->kind = mem_strdup(kind);
		stream->database = mem_strdup(database);
		stream->lists = json_array();
		stream->next = run->streams;
		run->streams = stream;
	}
	pthread_mutex_unlock(&run->lock);
	s->sink.ops = &ops;
	s->run = run;
	s->stream = stream;
	s->lane = lane_take(run);
	s->hash = hash_sha256_new();
	return &s->sink;
}

/* ---- begin and end ---- */

struct repo_run *
repo_begin(struct repo *r, const char *command, struct err *e)
{
	struct repo_run *run = mem_zero(1, sizeof(*run));

	rand_bytes(run->run_id, sizeof(run->run_id));
	run->repo = r;
	pthread_mutex_init(&run->lock, NULL);
	pthread_cond_init(&run->stream_idle, NULL);
	run->workers = pool_new(r->workers, 2 * (size_t)r->workers + 2, r->low_priority);
	run->uploads = pool_new(UPLOADS, UPLOADS, r->low_priority);
	run->lists = lane_new(PACK_LISTS);
	/* The marker comes first: from here on nobody deletes what we are about to rely on. */
	if (runs_begin(r, run->run_id, command, e) || index_load(r, e) ||
	    runs_adopt(r, run->run_id, &run->records, &run->stats.resumed_packs, e)) {
		struct err ignored = ERR_INIT;

		if (runs_end(r, run->run_id, &ignored) != 0)
			log_debug("%s", ignored.msg);
		run->stats.resumed_packs = 0;
		buf_free(&run->records);
		repo_abandon(run);
		return NULL;
	}
	run->used_packs = index_packs(r->index);
	run->used = mem_zero(run->used_packs / 8 + 1, 1);
	return run;
}

void
repo_run_stats(struct repo_run *run, struct repo_stats *st)
{
	pthread_mutex_lock(&run->lock);
	*st = run->stats;
	pthread_mutex_unlock(&run->lock);
}

void
repo_run_watch(struct repo_run *run, void (*seen)(void *ctx, uint64_t bytes, uint64_t known), void *ctx)
{
	run->seen = seen;
	run->seen_ctx = ctx;
}

static void
flush(struct repo_run *run)
{
	struct lane *lane;

	pool_drain(run->workers);
	for (lane = run->lanes; lane != NULL; lane = lane->next) {
		pthread_mutex_lock(&lane->lock);
		lane_ship(run, lane);
		pthread_mutex_unlock(&lane->lock);
	}
	pthread_mutex_lock(&run->lists->lock);
	lane_ship(run, run->lists);
	pthread_mutex_unlock(&run->lists->lock);
	pool_drain(run->uploads);
}

/* R28: a pack that somebody condemned since we began, and on which we rely, must still be there. */
static int
recheck_packs(struct repo_run *run, struct err *e)
{
	struct repo *r = run->repo;
	uint8_t (*sweeps)[ID_BYTES];
	size_t count, k;
	json_t *pack;
	int rc = 0;

	if (catalog_list(r, CATALOG_SWEEP, &sweeps, NULL, &count, e))
		return -1;
	for (size_t i = 0; i < count && rc == 0; i++) {
		struct buf section = BUF_INIT;
		json_t *sweep = NULL;

		if (catalog_get(r, CATALOG_SWEEP, sweeps[i], &section, 1, e) == 0)
			sweep = json_parse(section.data, section.bytes, "a sweep object", e);
		rc = sweep != NULL ? 0 : -1;
		json_array_foreach(json_object_get(sweep, "packs"), k, pack) {
			struct store_object o;
			uint8_t id[ID_BYTES];
			uint32_t number;
			char *name;

			if (rc != 0 || !json_is_string(pack) || !id_parse(id, json_string_value(pack)) || !index_find_pack(r->index, id, &number) ||
			    number >= run->used_packs || (run->used[number / 8] & 1 << number % 8) == 0)
				continue;
			name = pack_name(id);
			rc = store_stat(r->store, name, &o, e);
			if (rc != 0 && e->kind == ERR_NOT_FOUND) {
				err_set(e, ERR_FAILED, "\"%s\", which this backup relies on, was swept while it ran", name);
				err_hint(e, "Run the backup again; and set `keep.grace` longer than any backup takes.");
			}
			free(name);
		}
		json_decref(sweep);
		buf_free(&section);
	}
	free(sweeps);
	return rc;
}

static int
streams_json(struct repo_run *run, json_t *array, struct err *e)
{
	for (struct stream *s = run->streams; s != NULL; s = s->next) {
		char sha256[SHA256_HEX];
		json_t *o;

		if (!s->complete)
			return err_set(e, ERR_FAILED, "stream \"%s\" is not complete", s->name);
		hex_encode(sha256, s->sha256, sizeof(s->sha256));
		o = json_object();
		json_put_str(o, "name", s->name);
		json_put_str(o, "kind", s->kind);
		json_put_str(o, "database", s->database);
		json_put_int(o, "bytes", (int64_t)s->bytes);
		json_put_str(o, "sha256", sha256);
		json_put_int(o, "chunks", (int64_t)s->count);
		json_put(o, "lists", json_incref(s->lists));
		json_array_insert_new(array, 0, o);     /* the list of streams has the newest first */
	}
	return 0;
}

static void
section_of(struct buf *to, const json_t *value)
{
	char *text = json_text(value, JSON_COMPACT);

	buf_addstr(to, text);
	free(text);
}

/* The newest backup that we know, or null: one link of the chain by which a listing that lacks something is noticed (R24). */
static int
previous_of(struct repo *r, json_t *summary, struct err *e)
{
	json_t *backups;

	if (repo_list(r, &backups, e))
		return -1;
	json_put_str(summary, "previous", json_opt_str(json_array_get(backups, 0), "id", NULL));
	json_decref(backups);
	return 0;
}

static int
put_manifest(struct repo_run *run, json_t *summary, json_t *detail, char id_text[33], struct err *e)
{
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	json_t *streams = json_array();
	uint8_t id[ID_BYTES];
	int rc = -1;

	rand_bytes(id, sizeof(id));
	hex_encode(id_text, id, sizeof(id));
	if (streams_json(run, streams, e) || previous_of(run->repo, summary, e)) {
		json_decref(streams);
		return -1;
	}
	json_put_str(summary, "id", id_text);
	json_put_int(summary, "bytes", (int64_t)run->stats.bytes);
	json_put_int(summary, "new_bytes", (int64_t)run->stats.new_bytes);
	json_put_int(summary, "stored_bytes", (int64_t)run->stats.stored_bytes);
	json_put(detail, "streams", streams);
	section_of(&sections[0], summary);
	section_of(&sections[1], detail);
	rc = catalog_put(run->repo, CATALOG_MANIFEST, id, sections, 2, e);
	buf_free(&sections[0]);
	buf_free(&sections[1]);
	return rc == 0 ? 0 : err_wrap(e, "write the manifest");
}

int
repo_commit(struct repo_run *run, json_t *summary, json_t *detail, char id[33], struct err *e)
{
	struct err late = ERR_INIT;
	int rc = -1;

	flush(run);
	if (check(run, e) == 0 && index_put(run->repo, &run->records, true, e) == 0 && recheck_packs(run, e) == 0)
		rc = put_manifest(run, summary, detail, id, e);
	json_decref(summary);
	json_decref(detail);
	if (rc == 0) {
		/* The backup stands; a marker too many costs the next run a listing. */
		if (runs_end(run->repo, run->run_id, &late) != 0 || runs_bury(run->repo, run->run_id, &late) != 0)
			log_warning("the backup is complete, but its marker could not be removed: %s", late.msg);
		run->stats.packs = 0;   /* nothing is left to be found again */
	}
	repo_abandon(run);
	return rc;
}

void
repo_abandon(struct repo_run *run)
{
	struct err ignored = ERR_INIT;

	if (run == NULL)
		return;
	pool_drain(run->workers);
	pool_free(run->workers);
	pool_free(run->uploads);
	/* What was stored is found again through the marker; where nothing was, the marker would only be in the way. */
	if (run->stats.packs == 0 && run->used != NULL && runs_end(run->repo, run->run_id, &ignored) != 0)
		log_debug("%s", ignored.msg);
	for (struct lane *lane = run->lanes, *next; lane != NULL; lane = next) {
		next = lane->next;
		pack_free(&lane->pack);
		pthread_mutex_destroy(&lane->lock);
		free(lane);
	}
	pack_free(&run->lists->pack);
	pthread_mutex_destroy(&run->lists->lock);
	free(run->lists);
	for (struct scratch *s = run->scratches, *next; s != NULL; s = next) {
		next = s->next;
		zst_free(s->zst);
		free(s->room);
		free(s);
	}
	for (struct chunk_buf *b = run->buffers, *next; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	for (struct stream *s = run->streams, *next; s != NULL; s = next) {
		next = s->next;
		free(s->name);
		free(s->kind);
		free(s->database);
		free(s->chunks);
		json_decref(s->lists);
		free(s);
	}
	buf_free(&run->records);
	free(run->used);
	pthread_mutex_destroy(&run->lock);
	pthread_cond_destroy(&run->stream_idle);
	free(run);
}
