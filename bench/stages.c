/*
 * bench_stages DUMP FOLDER   how fast each stage is alone, on one thread, as JSON: MB (10^6 bytes) a second
 *
 * DUMP is a piece of a real pg_dump archive, the thing that goes through the stages on a real night: speeds on zeros or on noise
 * would be others.  FOLDER takes the objects that are put.  With HOLDFAST_TEST_S3_... in the environment (tests/with-s3) objects
 * are put there, too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/aead.h"
#include "codec/cut.h"
#include "codec/zst.h"
#include "pg/archive.h"
#include "store/store.h"

#define ROUNDS 5                        /* of which the middle one counts */
#define SLICE ((size_t)256 * 1024)      /* as child_pump brings it */
#define CHUNK_MAX ((size_t)2 << 20)
#define OBJECT_BYTES ((size_t)16 << 20)
#define OBJECTS 6

struct chunk {
	size_t at, bytes;
	uint8_t *packed, *sealed;
	size_t packed_bytes;
};

struct bench {
	struct buf dump;
	struct cut_rule cuts;
	struct chunk *chunks;
	size_t count, room;
	struct zst *zst;
	struct aead *aead;
	uint8_t key[32], *plain;
	struct store *store;
};

static _Noreturn void
die(const struct err *e)
{
	fprintf(stderr, "bench_stages: %s\n", e->msg);
	exit(1);
}

static void
cut(struct bench *b)
{
	struct cut_state s = { 0, 0 };
	size_t at = 0, begin = 0, most;
	bool ends;

	b->count = 0;
	for (; at < b->dump.bytes; at += most) {
		most = b->dump.bytes - at < SLICE ? b->dump.bytes - at : SLICE;
		most = cut_scan(&b->cuts, &s, b->dump.data + at, most, &ends);
		if (!ends && at + most < b->dump.bytes)
			continue;
		if (b->count == b->room) {
			b->room = b->room == 0 ? 256 : 2 * b->room;
			b->chunks = mem_grow(b->chunks, b->room, sizeof(*b->chunks));
		}
		b->chunks[b->count++] = (struct chunk){ .at = begin, .bytes = at + most - begin };
		begin = at + most;
	}
}

static void
digest(struct bench *b)
{
	struct hash *h = hash_sha256_new();
	uint8_t sha256[SHA256_BYTES];

	for (size_t at = 0; at < b->dump.bytes; at += SLICE)
		hash_update(h, b->dump.data + at, b->dump.bytes - at < SLICE ? b->dump.bytes - at : SLICE);
	hash_final(h, sha256);
	hash_free(h);
}

static void
identify(struct bench *b)
{
	uint8_t id[SHA256_BYTES];

	for (size_t i = 0; i < b->count; i++)
		hash_hmac(id, b->key, sizeof(b->key), b->dump.data + b->chunks[i].at, b->chunks[i].bytes);
}

static void
read_archive(struct bench *b, bool sets)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct err e = ERR_INIT;
	struct sink *s;

	d.row_sets = sets;
	s = archive_reader_new(&d, NULL, sink_null_new());
	for (size_t at = 0; at < b->dump.bytes; at += SLICE)
		if (sink_write(s, b->dump.data + at, b->dump.bytes - at < SLICE ? b->dump.bytes - at : SLICE, &e))
			die(&e);
	sink_free(s);                   /* not finished: it is a piece of an archive */
	archive_digest_free(&d);
}

static void
entries(struct bench *b)
{
	read_archive(b, false);
}

static void
entries_and_rows(struct bench *b)
{
	read_archive(b, true);
}

static void
compress(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct chunk *c = &b->chunks[i];

		if (c->packed == NULL)
			c->packed = mem_alloc(zst_bound(c->bytes));
		c->packed_bytes = zst_pack(b->zst, b->dump.data + c->at, c->bytes, c->packed);
	}
}

static void
seal(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct chunk *c = &b->chunks[i];

		if (c->sealed == NULL)
			c->sealed = mem_alloc(c->packed_bytes + AEAD_TAG_BYTES);
		aead_seal(b->aead, (uint32_t)i, b->key, sizeof(b->key), c->packed, c->packed_bytes, c->sealed);
	}
}

static void
open_sealed(struct bench *b)
{
	struct err e = ERR_INIT;

	for (size_t i = 0; i < b->count; i++)
		if (aead_open(b->aead, (uint32_t)i, b->key, sizeof(b->key), b->chunks[i].sealed, b->chunks[i].packed_bytes + AEAD_TAG_BYTES,
			b->plain, &e))
			die(&e);
}

static void
unpack(struct bench *b)
{
	struct err e = ERR_INIT;

	for (size_t i = 0; i < b->count; i++)
		if (zst_unpack(b->zst, b->chunks[i].packed, b->chunks[i].packed_bytes, b->plain, b->chunks[i].bytes, &e))
			die(&e);
}

static void
put(struct bench *b)
{
	struct err e = ERR_INIT;
	uint8_t *object = mem_alloc(OBJECT_BYTES);

	rand_bytes(object, 1 << 16);    /* the store neither packs nor compares */
	for (size_t at = 1 << 16; at < OBJECT_BYTES; at += 1 << 16)
		memcpy(object + at, object, 1 << 16);
	for (int i = 0; i < OBJECTS; i++) {
		char id[RAND_ID_TEXT], *name;

		rand_id(id);
		name = mem_printf("stages/%s", id);
		if (store_put(b->store, name, object, OBJECT_BYTES, &e))
			die(&e);
		free(name);
	}
	free(object);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What computes is measured by the thread's own processor time, what waits by the wall's. */
static void
measure(struct bench *b, const char *name, void (*stage)(struct bench *b), size_t bytes)
{
	static const char *comma = "";
	clockid_t clock = stage == put ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
	double speeds[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		double began = seconds(clock);

		stage(b);
		speeds[i] = (double)bytes / 1e6 / (seconds(clock) - began);
	}
	qsort(speeds, ROUNDS, sizeof(speeds[0]), by_value);
	printf("%s\n\t\"%s\": %.0f", comma, name, speeds[ROUNDS / 2]);
	fflush(stdout);
	comma = ",";
}

static void
put_to(struct bench *b, const char *name, const struct store_config *config)
{
	struct err e = ERR_INIT;

	b->store = store_open(config, true, &e);
	if (b->store == NULL)
		die(&e);
	measure(b, name, put, OBJECTS * OBJECT_BYTES);
	store_free(b->store);
}

static void
put_to_s3(struct bench *b)
{
	struct store_config config = {
		.kind = STORE_S3,
		.endpoint = getenv("HOLDFAST_TEST_S3_ENDPOINT"),
		.bucket = getenv("HOLDFAST_TEST_S3_BUCKET"),
		.prefix = "stages/",
	};

	if (config.endpoint == NULL)
		return;
	setenv("AWS_ACCESS_KEY_ID", getenv("HOLDFAST_TEST_S3_ACCESS_KEY"), 1);
	setenv("AWS_SECRET_ACCESS_KEY", getenv("HOLDFAST_TEST_S3_SECRET_KEY"), 1);
	put_to(b, "put s3", &config);
}

int
main(int argc, char **argv)
{
	struct store_config folder = { .kind = STORE_FOLDER };
	struct bench b = { .dump = BUF_INIT };
	struct err e = ERR_INIT;
	size_t bytes, packed = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: bench_stages DUMP FOLDER\n");
		return 2;
	}
	if (file_read(&b.dump, argv[1], (size_t)1 << 30, &e))
		die(&e);
	folder.path = argv[2];
	bytes = b.dump.bytes;
	rand_bytes(b.key, sizeof(b.key));
	cut_rule_init(&b.cuts, b.key, 128 << 10, 512 << 10, CHUNK_MAX);
	b.zst = zst_new(3);
	b.aead = aead_new(b.key);
	b.plain = mem_alloc(zst_bound(CHUNK_MAX));
	printf("{");
	measure(&b, "cut", cut, bytes);
	measure(&b, "entries", entries, bytes);
	measure(&b, "entries and row sets", entries_and_rows, bytes);
	measure(&b, "sha256", digest, bytes);
	measure(&b, "chunk id", identify, bytes);
	measure(&b, "zstd", compress, bytes);
	measure(&b, "unzstd", unpack, bytes);
	for (size_t i = 0; i < b.count; i++)
		packed += b.chunks[i].packed_bytes;
	measure(&b, "seal", seal, packed);
	measure(&b, "open", open_sealed, packed);
	put_to(&b, "put folder", &folder);
	put_to_s3(&b);
	printf(",\n\t\"chunks\": %zu, \"bytes\": %zu, \"packed\": %zu\n}\n", b.count, bytes, packed);
	for (size_t i = 0; i < b.count; i++) {
		free(b.chunks[i].packed);
		free(b.chunks[i].sealed);
	}
	free(b.chunks);
	free(b.plain);
	zst_free(b.zst);
	aead_free(b.aead);
	buf_free(&b.dump);
	return 0;
}
