#include "repo/mark.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "repo/read.h"

void
mark_begin(struct mark *m, struct repo *r)
{
	m->repo = r;
	m->pack_count = index_packs(r->index);
	m->packs = mem_zero(m->pack_count / 8 + 1, 1);
}

void
mark_end(struct mark *m)
{
	free(m->packs);
	m->packs = NULL;
}

bool
mark_has(const struct mark *m, uint32_t pack)
{
	return pack < m->pack_count && (m->packs[pack / 8] & 1 << pack % 8) != 0;
}

/* Marks the pack of one chunk, and counts a chunk that is nowhere. */
static int
mark_chunk(struct mark *m, const uint8_t id[CHUNK_ID_BYTES], uint32_t plain, struct err *e)
{
	struct place p;
	int rc = index_find(m->repo->index, id, &p, e);

	m->chunks++;
	if (rc != 0 && e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	if (rc != 0 || (plain != 0 && p.plain != plain) || p.pack >= m->pack_count) {
		if (m->missing++ == 0)
			hex_encode(m->first_missing, id, CHUNK_ID_BYTES);
		return 0;
	}
	m->packs[p.pack / 8] |= (uint8_t)(1 << p.pack % 8);
	if (m->uses != NULL)
		m->uses(m->ctx, p.pack);
	return 0;
}

/* What the lists of a stream add up to. */
struct sum {
	struct hash *order;
	uint64_t bytes, chunks;
	bool whole;                     /* all lists could be read */
};

static int
mark_list(struct mark *m, struct pack_keys *keys, struct sum *sum, const char *backup, const char *id_hex, struct err *e)
{
	struct list_entry *entries;
	uint8_t id[CHUNK_ID_BYTES], plain[4];
	size_t count;
	int rc = 0;

	if (read_list(m->repo, m->repo->index, keys, id_hex, &entries, &count, e)) {
		struct err own = *e;

		if (e->kind != ERR_CORRUPT && e->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(e);
		sum->whole = false;
		return m->lost(m->ctx, backup, own.msg, e);
	}
	if (hex_decode(id, CHUNK_ID_BYTES, id_hex))
		rc = mark_chunk(m, id, 0, e);
	for (size_t i = 0; i < count && rc == 0; i++) {
		bytes_put_u32(plain, entries[i].plain);
		hash_update(sum->order, entries[i].id, CHUNK_ID_BYTES);
		hash_update(sum->order, plain, sizeof(plain));
		sum->bytes += entries[i].plain;
		sum->chunks++;
		rc = mark_chunk(m, entries[i].id, entries[i].plain, e);
	}
	free(entries);
	return rc;
}

static int
mark_stream(struct mark *m, struct pack_keys *keys, const char *backup, const json_t *stream, struct err *e)
{
	struct sum sum = { .order = hash_sha256_new(), .whole = true };
	uint8_t digest[SHA256_BYTES];
	char hex[SHA256_HEX], *what;
	const json_t *list;
	size_t i;
	int rc = 0;

	json_array_foreach(json_object_get(stream, "lists"), i, list)
		if (rc == 0)
			rc = mark_list(m, keys, &sum, backup, json_is_string(list) ? json_string_value(list) : "", e);
	hash_final(sum.order, digest);
	hash_free(sum.order);
	hex_encode(hex, digest, sizeof(digest));
	if (rc == 0 && sum.whole && (strcmp(json_opt_str(stream, "digest", ""), hex) != 0 ||
	    json_opt_int(stream, "bytes", -1) != (int64_t)sum.bytes || json_opt_int(stream, "chunks", -1) != (int64_t)sum.chunks)) {
		what = mem_printf("the chunks of stream \"%s\" are not those that were recorded", json_opt_str(stream, "name", ""));
		rc = m->lost(m->ctx, backup, what, e);
		free(what);
	}
	return rc;
}

int
mark_backup(struct mark *m, const char *id, const json_t *detail, struct err *e)
{
	struct pack_keys *keys = pack_keys_new(m->repo);
	const json_t *stream;
	size_t i;
	char *what;
	int rc = 0;

	m->missing = 0;
	json_array_foreach(json_object_get(detail, "streams"), i, stream)
		if (rc == 0)
			rc = mark_stream(m, keys, id, stream, e);
	if (rc == 0 && m->missing > 0) {
		what = mem_printf("%" PRIu64 " chunk%s cannot be found (the first is %s)", m->missing, m->missing == 1 ? "" : "s", m->first_missing);
		rc = m->lost(m->ctx, id, what, e);
		free(what);
	}
	pack_keys_free(keys);
	return rc;
}
