#include "repo/write.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LIST_MIN_ENTRIES 1024
#define LIST_MAX_ENTRIES 32768
#define LIST_CUT_MASK 0x0fff
#define LIST_BYTES_MAX (LIST_MAX_ENTRIES * (CHUNK_ID_BYTES + 4))

struct job {
	struct repo_run *run;
	struct stream *stream;
	struct lane *lane;
	size_t at;
	struct chunk_buf *chunk;
};

void
write_fail(struct repo_run *run, const struct err *e)
{
	pthread_mutex_lock(&run->lock);
	if (run->error.kind == ERR_NONE)
		run->error = *e;
	pthread_mutex_unlock(&run->lock);
}

int
write_check(struct repo_run *run, struct err *e)
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
		s->room = mem_alloc(zst_bound(run->repo->chunk_max > LIST_BYTES_MAX ? run->repo->chunk_max : LIST_BYTES_MAX));
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

/* The pack is stored.  The index follows its packs while a long run goes on, so that its objects stay small. */
static int
take_up(struct repo_run *run, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	struct buf full = BUF_INIT;
	int rc;

	index_add(run->repo->index, info, entries);
	pthread_mutex_lock(&run->lock);
	run->stats.packs++;
	run->stats.stored_bytes += info->bytes;
	index_record(&run->records, info, entries);
	if (index_full(&run->records)) {
		full = run->records;
		run->records = (struct buf)BUF_INIT;
	}
	pthread_mutex_unlock(&run->lock);
	/* Without the lock: all streams would wait for a slow store. */
	rc = index_put(run->repo, &full, true, e);
	buf_free(&full);
	return rc;
}

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
	if (write_check(run, &e) != 0)
		;                       /* the run is lost: do not put more */
	else if (store_put(run->repo->store, name, u->pack.bytes.data, u->pack.bytes.bytes, &e) != 0) {
		err_wrap(&e, "store \"%s\"", name);
		write_fail(run, &e);
	} else if (take_up(run, &info, u->pack.entries, &e) != 0) {
		write_fail(run, &e);
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

struct lane *
write_lane_new(enum pack_kind kind)
{
	struct lane *lane = mem_zero(1, sizeof(*lane));

	pthread_mutex_init(&lane->lock, NULL);
	lane->kind = kind;
	return lane;
}

void
write_lane_free(struct lane *lane)
{
	pack_free(&lane->pack);
	pthread_mutex_destroy(&lane->lock);
	free(lane);
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
		idle = write_lane_new(PACK_DATA);
		idle->next = run->lanes;
		run->lanes = idle;
	}
	idle->taken = true;
	pthread_mutex_unlock(&run->lock);
	return idle;
}

/* ---- chunks ---- */

/* Stores a chunk unless it is known.  *known tells. */
static int
deal_with(struct repo_run *run, struct lane *lane, const uint8_t *data, size_t bytes, uint8_t id[CHUNK_ID_BYTES], bool *known, struct err *e)
{
	struct scratch *s;
	bool ours;
	size_t n;
	int rc;

	pack_chunk_id(id, run->repo, lane->kind, data, bytes);
	if (index_claim(run->repo->index, id, &ours, e))
		return -1;
	*known = !ours;
	if (*known)
		return 0;
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

	if (write_check(run, &e) == 0 && deal_with(run, job->lane, job->chunk->data, bytes, id, &known, &e) != 0)
		write_fail(run, &e);
	known_bytes = known ? bytes : 0;
	pthread_mutex_lock(&run->lock);
	if (e.kind == ERR_NONE) {
		memcpy(stream->chunks[job->at].id, id, CHUNK_ID_BYTES);
		stream->chunks[job->at].plain = (uint32_t)bytes;
	}
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

	if (write_check(s->run, e))
		return -1;
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

/* The list of the stream's chunks, cut by content like everything else, so that what did not change is stored once; and its
 * digest, which proves the order: the id of a chunk proves its bytes. */
static int
put_lists(struct repo_run *run, struct stream *stream, struct err *e)
{
	struct hash *whole = hash_sha256_new();
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
			hash_update(whole, list.data, list.bytes);
			rc = put_list(run, stream, &list, e);
			buf_clear(&list);
			entries = 0;
		}
	}
	buf_free(&list);
	hash_final(whole, stream->digest);
	hash_free(whole);
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
	if (write_check(s->run, e) || put_lists(s->run, stream, e))
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
	free(s);
}

void
write_stream_free(struct stream *s)
{
	free(s->name);
	free(s->kind);
	free(s->database);
	free(s->chunks);
	json_decref(s->lists);
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
	return &s->sink;
}

/* ---- the end ---- */

void
write_flush(struct repo_run *run)
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
