/*
 * A repository as it is after years, without its data: index objects with random ids and manifests of every night, written by the
 * repo room's own functions.  The packs have their size and nothing in them: whoever opens, lists, plans or backs up lists them, and
 * does not read one.
 *
 *   bench_growth fill FOLDER KEY CHUNKS NIGHTS   adds so many chunks, spread over so many nightly backups, oldest first
 *   bench_growth open FOLDER KEY CACHE           opens it and loads the index
 *   bench_growth backup FOLDER KEY CACHE BYTES   backs up BYTES of noise, and counts what the store is asked
 *
 * The last two print JSON.  A request is what S3 would be asked: a listing is one for every thousand names.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rand.h"
#include "repo/catalog.h"
#include "repo/index.h"
#include "store/store.h"

#define CHUNKS_A_PACK 140               /* 512 KiB, packed to a fourth, up to 16 MiB */
#define STORED 117000
#define PAGE 1000                       /* names in one answer to a LIST */
#define DAY_US 86400000000LL

static _Noreturn void
die(const struct err *e)
{
	fprintf(stderr, "bench_growth: %s\n", e->msg);
	exit(1);
}

/* ---- a store that counts ---- */

struct counting {
	struct store store;
	struct store *inner;
	pthread_mutex_t lock;           /* guards the counts */
	unsigned put, get, stat, list, remove;
};

static void
count(struct store *s, unsigned *what, unsigned n)
{
	struct counting *c = (struct counting *)s;

	pthread_mutex_lock(&c->lock);
	*what += n;
	pthread_mutex_unlock(&c->lock);
}

static int
counting_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	count(s, &((struct counting *)s)->put, 1);
	return store_put(((struct counting *)s)->inner, name, data, bytes, e);
}

static int
counting_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	count(s, &((struct counting *)s)->get, 1);
	return store_get(((struct counting *)s)->inner, name, offset, bytes, to, e);
}

static int
counting_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	count(s, &((struct counting *)s)->stat, 1);
	return store_stat(((struct counting *)s)->inner, name, o, e);
}

struct counted_listing {
	store_each *each;
	void *ctx;
	unsigned names;
};

static int
counted(void *ctx, const struct store_object *o, struct err *e)
{
	struct counted_listing *l = ctx;

	l->names++;
	return l->each(l->ctx, o, e);
}

static int
counting_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct counted_listing l = { .each = each, .ctx = ctx };
	int rc = store_list(((struct counting *)s)->inner, prefix, counted, &l, e);

	count(s, &((struct counting *)s)->list, l.names == 0 ? 1 : (l.names + PAGE - 1) / PAGE);
	return rc;
}

static int
counting_remove(struct store *s, const char *name, struct err *e)
{
	count(s, &((struct counting *)s)->remove, 1);
	return store_remove(((struct counting *)s)->inner, name, e);
}

static void
counting_free(struct store *s)
{
	store_free(((struct counting *)s)->inner);
	pthread_mutex_destroy(&((struct counting *)s)->lock);
	free(s);
}

static struct counting *
counting_new(const char *folder)
{
	static const struct store_ops ops = {
		counting_put, counting_get, counting_stat, counting_list, counting_remove, counting_free
	};
	const struct store_config config = { .kind = STORE_FOLDER, .path = folder };
	struct counting *c = mem_zero(1, sizeof(*c));
	struct err e = ERR_INIT;

	c->inner = store_open(&config, false, &e);
	if (c->inner == NULL)
		die(&e);
	c->store.ops = &ops;
	c->store.label = mem_strdup(store_label(c->inner));
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

static struct repo *
open_it(struct counting *c, const char *key, const char *cache)
{
	const struct repo_options options = { .cache_dir = cache, .key_file = key };
	struct err e = ERR_INIT;
	struct repo *r = repo_open(&c->store, &options, &e);

	if (r == NULL)
		die(&e);
	return r;
}

/* ---- filling ---- */

/* A file with a hole in it of the pack's size. */
static void
hollow_pack(const char *folder, const struct pack_info *info)
{
	char *name = pack_name(info->id), *path = mem_printf("%s/%s", folder, name), *above = mem_strndup(path, strlen(path) - 33);
	struct err e = ERR_INIT;
	int fd;

	if (file_mkdirs(above, S_IRWXU, &e))
		die(&e);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (fd < 0 || ftruncate(fd, info->bytes) != 0) {
		err_sys(&e, "make \"%s\"", path);
		die(&e);
	}
	file_close(&fd);
	free(above);
	free(path);
	free(name);
}

static void
one_pack(const char *folder, struct buf *records, const uint8_t run_id[8], uint32_t chunks)
{
	struct pack_entry entries[CHUNKS_A_PACK];
	struct pack_info info = { .chunks = chunks, .kind = PACK_DATA, .bytes = PACK_HEAD_BYTES + PACK_FOOT_BYTES };

	rand_bytes(entries, chunks * sizeof(entries[0]));
	for (uint32_t i = 0; i < chunks; i++) {
		entries[i].stored = STORED;
		entries[i].plain = 512 << 10;
		info.bytes += STORED + PACK_ENTRY_BYTES;
	}
	memcpy(info.id, run_id, 8);
	rand_bytes(info.id + 8, 8);
	rand_bytes(info.sha256, sizeof(info.sha256));
	hollow_pack(folder, &info);
	index_record(records, &info, entries);
}

static void
text_section(struct buf *to, json_t *value)
{
	char *text = json_text(value, JSON_COMPACT);

	buf_addstr(to, text);
	free(text);
	json_decref(value);
}

/* A manifest like that of one Langfuse database: 40 tables, whose streams lead to list chunks that do not exist. */
static void
one_manifest(struct repo *r, int64_t time_us, uint64_t chunks, char previous[ID_TEXT])
{
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	json_t *summary = json_object(), *detail = json_object(), *streams = json_array(), *entries = json_array(), *databases = json_array();
	char time[CLOCK_TEXT], id_text[ID_TEXT], hex[65];
	uint8_t id[ID_BYTES], noise[32];
	struct err e = ERR_INIT;

	rand_bytes(id, sizeof(id));
	hex_encode(id_text, id, sizeof(id));
	json_add(databases, json_str("langfuse"));
	json_put_str(summary, "id", id_text);
	json_put_str(summary, "time", clock_format_s(time, time_us));
	json_put_str(summary, "finished", clock_format_s(time, time_us + 600000000));
	json_put_str(summary, "source", "langfuse");
	json_put_str(summary, "system_identifier", "7440000000000000001");
	json_put_str(summary, "server_version", "15.14");
	json_put_str(summary, "pg_dump_version", "15.14");
	json_put(summary, "databases", databases);
	json_put_str(summary, "label", NULL);
	json_put_int(summary, "rows", 1000000);
	json_put_int(summary, "entries", 40);
	json_put_int(summary, "duration_ms", 600000);
	json_put_int(summary, "bytes", (int64_t)chunks << 19);
	json_put_int(summary, "new_bytes", (int64_t)chunks << 19);
	json_put_int(summary, "stored_bytes", (int64_t)chunks * STORED);
	json_put_str(summary, "suspect", NULL);
	json_put_str(summary, "previous", previous[0] != '\0' ? previous : NULL);
	for (int i = 0; i < 40; i++) {
		json_t *entry = json_object(), *stream = json_object(), *lists = json_array();
		char *name = mem_printf("public.table_%d", i);

		rand_bytes(noise, sizeof(noise));
		hex_encode(hex, noise, sizeof(noise));
		json_put_str(entry, "database", "langfuse");
		json_put_str(entry, "type", "table");
		json_put_str(entry, "name", name);
		json_put_int(entry, "rows", 25000);
		json_put_int(entry, "bytes", 1 << 20);
		json_put_str(entry, "sha256", hex);
		json_add(entries, entry);
		json_put_str(stream, "name", name);
		json_put_str(stream, "kind", "dump");
		json_put_str(stream, "digest", hex);
		json_add(lists, json_str(hex));
		json_put(stream, "lists", lists);
		json_add(streams, stream);
		free(name);
	}
	json_put(detail, "streams", streams);
	json_put(detail, "entries", entries);
	text_section(&sections[0], summary);
	text_section(&sections[1], detail);
	if (catalog_put(r, CATALOG_MANIFEST, id, sections, 2, &e))
		die(&e);
	memcpy(previous, id_text, ID_TEXT);
	buf_free(&sections[0]);
	buf_free(&sections[1]);
}

static int
fill(const char *folder, const char *key, uint64_t chunks, unsigned nights)
{
	struct counting *c = counting_new(folder);
	struct repo *r = open_it(c, key, NULL);
	int64_t first_us = clock_wall_us() - (int64_t)nights * DAY_US;
	char previous[ID_TEXT] = "";
	uint64_t done = 0;
	struct err e = ERR_INIT;

	for (unsigned night = 0; night < nights; night++) {
		uint64_t until = chunks * (night + 1) / nights, tonight = until - done;
		struct buf records = BUF_INIT;
		uint8_t run_id[8];

		rand_bytes(run_id, sizeof(run_id));
		for (; done < until; done += CHUNKS_A_PACK) {
			one_pack(folder, &records, run_id, until - done < CHUNKS_A_PACK ? (uint32_t)(until - done) : CHUNKS_A_PACK);
			if (index_put(r, &records, false, &e))
				die(&e);
		}
		done = until;
		if (index_put(r, &records, true, &e))
			die(&e);
		one_manifest(r, first_us + night * DAY_US, tonight, previous);
		buf_free(&records);
	}
	repo_free(r);
	store_free(&c->store);
	return 0;
}

/* ---- measuring ---- */

static int
open_and_load(const char *folder, const char *key, const char *cache)
{
	struct counting *c = counting_new(folder);
	int64_t began = clock_mono_ms();
	struct repo *r = open_it(c, key, cache);
	struct repo_totals t;
	struct err e = ERR_INIT;

	if (repo_totals(r, &t, &e))
		die(&e);
	printf("{ \"ms\": %" PRId64 ", \"chunks\": %" PRIu64 ", \"packs\": %" PRIu64 ", \"index_objects\": %" PRIu64
	    ", \"mapped\": %s, \"requests\": %u }\n", clock_mono_ms() - began, t.chunks, t.packs, t.index_objects, t.mapped ? "true" : "false",
	    c->put + c->get + c->stat + c->list + c->remove);
	repo_free(r);
	store_free(&c->store);
	return 0;
}

static int
backup(const char *folder, const char *key, const char *cache, size_t bytes)
{
	struct counting *c = counting_new(folder);
	int64_t began = clock_mono_ms();
	struct repo *r = open_it(c, key, cache);
	struct err e = ERR_INIT;
	struct repo_run *run = repo_begin(r, "bench", &e);
	struct sink *s;
	json_t *summary = json_object(), *databases = json_array();
	char id[33], time[CLOCK_TEXT];
	uint8_t noise[1 << 16];

	if (run == NULL)
		die(&e);
	s = repo_write(run, "noise", "dump", NULL);
	for (size_t at = 0; at < bytes; at += sizeof(noise)) {
		rand_bytes(noise, sizeof(noise));
		if (sink_write(s, noise, sizeof(noise), &e))
			die(&e);
	}
	if (sink_finish(s, &e))
		die(&e);
	sink_free(s);
	json_put_str(summary, "time", clock_format_s(time, clock_wall_us()));
	json_put(summary, "databases", databases);
	if (repo_commit(run, summary, json_object(), id, &e))
		die(&e);
	printf("{ \"ms\": %" PRId64 ", \"id\": \"%s\", \"put\": %u, \"get\": %u, \"stat\": %u, \"list\": %u, \"remove\": %u }\n",
	    clock_mono_ms() - began, id, c->put, c->get, c->stat, c->list, c->remove);
	repo_free(r);
	store_free(&c->store);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "fill") == 0)
		return fill(argv[2], argv[3], strtoull(argv[4], NULL, 10), (unsigned)strtoul(argv[5], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "open") == 0)
		return open_and_load(argv[2], argv[3], argv[4]);
	if (argc == 6 && strcmp(argv[1], "backup") == 0)
		return backup(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 10));
	fprintf(stderr, "usage: bench_growth fill FOLDER KEY CHUNKS NIGHTS | open FOLDER KEY CACHE | backup FOLDER KEY CACHE BYTES\n");
	return 2;
}
