#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "repo/catalog.h"
#include "repo/write.h"

/* The life of a run: its beginning, its commit, its end. */

struct repo_run *
repo_begin(struct repo *r, const char *command, struct err *e)
{
	struct repo_run *run = mem_zero(1, sizeof(*run));

	rand_bytes(run->run_id, sizeof(run->run_id));
	run->repo = r;
	pthread_mutex_init(&run->lock, NULL);
	pthread_cond_init(&run->stream_idle, NULL);
	run->workers = pool_new(r->workers, 2 * (size_t)r->workers + 2, true);
	run->uploads = pool_new(WRITE_UPLOADS, WRITE_UPLOADS, true);
	run->lists = write_lane_new(PACK_LISTS);
	/* The marker comes first: from here on nobody deletes what we are about to rely on.  What is gone already is stored again. */
	if (runs_begin(r, run->run_id, command, e) || index_load(r, e) ||
	    runs_adopt(r, run->run_id, &run->records, &run->adopted, e)) {
		struct err ignored = ERR_INIT;

		if (runs_end(r, run->run_id, &ignored) != 0)
			log_debug("%s", ignored.msg);
		repo_abandon(run);
		return NULL;
	}
	run->stats.resumed_packs = run->adopted.packs;
	run->begun = true;
	return run;
}

void
repo_forget(struct repo_run *run, const char *database)
{
	pthread_mutex_lock(&run->lock);
	for (struct stream **at = &run->streams, *s; (s = *at) != NULL;) {
		if (s->database != NULL && strcmp(s->database, database) == 0) {
			*at = s->next;
			write_stream_free(s);
		} else {
			at = &s->next;
		}
	}
	pthread_mutex_unlock(&run->lock);
}

void
repo_run_stats(struct repo_run *run, struct repo_stats *st)
{
	pthread_mutex_lock(&run->lock);
	*st = run->stats;
	st->bytes = 0;
	for (const struct stream *s = run->streams; s != NULL; s = s->next)
		if (s->complete)
			st->bytes += s->bytes;
	pthread_mutex_unlock(&run->lock);
}

void
repo_run_watch(struct repo_run *run, void (*seen)(void *ctx, uint64_t bytes, uint64_t known), void *ctx)
{
	run->seen = seen;
	run->seen_ctx = ctx;
}

/*
 * R28: as long as our marker stands, nobody deletes a pack that we rely on, ours or another's.  If somebody took it for that of a
 * dead run, all that this run believed may be gone.
 */
static int
check_marker(struct repo_run *run, struct err *e)
{
	if (runs_stands(run->repo, run->run_id, e) == 0)
		return 0;
	if (e->kind == ERR_NOT_FOUND) {
		err_set(e, ERR_FAILED, "the marker of this run was removed while it ran: what it relies on may have been swept");
		err_hint(e, "Run the backup again. A run that takes more than two days and the grace period is taken for dead by an `expire` on another host.");
	}
	return -1;
}

static int
streams_json(struct repo_run *run, json_t *array, uint64_t *bytes, struct err *e)
{
	*bytes = 0;
	for (struct stream *s = run->streams; s != NULL; s = s->next) {
		char digest[SHA256_HEX];
		json_t *o;

		if (!s->complete)
			return err_set(e, ERR_FAILED, "stream \"%s\" is not complete", s->name);
		hex_encode(digest, s->digest, sizeof(s->digest));
		o = json_object();
		json_put_str(o, "name", s->name);
		json_put_str(o, "kind", s->kind);
		json_put_str(o, "database", s->database);
		json_put_int(o, "bytes", (int64_t)s->bytes);
		*bytes += s->bytes;
		json_put_str(o, "digest", digest);
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

/* All backups that we know, the newest one first: by these a listing that lacks something is noticed (R24). */
static int
note_known(struct repo *r, json_t *summary, json_t *detail, struct err *e)
{
	json_t *backups, *known, *backup;
	size_t i;

	if (repo_list_readable(r, &backups, e))
		return -1;
	known = json_array();
	json_array_foreach(backups, i, backup)
		json_add(known, json_str(json_opt_str(backup, "id", "")));
	json_put(detail, "known", known);
	json_put_str(summary, "previous", json_opt_str(json_array_get(backups, 0), "id", NULL));
	json_decref(backups);
	return 0;
}

static int
put_manifest(struct repo_run *run, json_t *summary, json_t *detail, char id_text[33], struct err *e)
{
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	json_t *streams = json_array();
	uint64_t bytes;
	uint8_t id[ID_BYTES];
	int rc = -1;

	rand_bytes(id, sizeof(id));
	hex_encode(id_text, id, sizeof(id));
	if (streams_json(run, streams, &bytes, e) || note_known(run->repo, summary, detail, e)) {
		json_decref(streams);
		return -1;
	}
	json_put_str(summary, "id", id_text);
	json_put_int(summary, "bytes", (int64_t)bytes);
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

static void
warn_of_absent(struct repo *r)
{
	uint32_t n = index_absent(r->index);

	if (n > 0)
		log_warning("%u packs that the index names are not in %s: what they held and this backup needs was stored again; "
		    "`holdfast verify` tells which backups they are missing from", n, store_label(r->store));
}

int
repo_commit(struct repo_run *run, json_t *summary, json_t *detail, char id[33], struct err *e)
{
	struct err late = ERR_INIT;
	int rc = -1;

	write_flush(run);
	if (write_check(run, e) == 0 && index_put(run->repo, &run->records, true, e) == 0 && check_marker(run, e) == 0)
		rc = put_manifest(run, summary, detail, id, e);
	json_decref(summary);
	json_decref(detail);
	if (rc == 0) {
		warn_of_absent(run->repo);
		/* The backup stands; a marker too many costs the next run a listing.  The packs of the dead are in the index now. */
		if (runs_end(run->repo, run->run_id, &late) != 0)
			log_warning("the backup is complete, but its marker could not be removed: %s", late.msg);
		for (size_t i = 0; i < run->adopted.dead_count; i++)
			if (runs_end(run->repo, run->adopted.dead[i], &late) != 0)
				log_warning("the marker of a run that died could not be removed: %s", late.msg);
		run->begun = false;     /* nothing is left to be found again */
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
	if (run->begun && run->stats.packs == 0 && runs_end(run->repo, run->run_id, &ignored) != 0)
		log_debug("%s", ignored.msg);
	for (struct lane *lane = run->lanes, *next; lane != NULL; lane = next) {
		next = lane->next;
		write_lane_free(lane);
	}
	write_lane_free(run->lists);
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
		write_stream_free(s);
	}
	buf_free(&run->records);
	free(run->adopted.dead);
	pthread_mutex_destroy(&run->lock);
	pthread_cond_destroy(&run->stream_idle);
	free(run);
}
