#include "repo/mark.h"

#include <stdlib.h>
#include <string.h>

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

/* Marks the pack of one chunk, and reports a chunk that is nowhere. */
static int
mark_chunk(struct mark *m, const char *backup, const uint8_t id[CHUNK_ID_BYTES], uint32_t plain, struct err *e)
{
	char object[2 * CHUNK_ID_BYTES + 16];
	struct place p;

	m->chunks++;
	if (!index_find(m->repo->index, id, &p) || (plain != 0 && p.plain != plain) || p.pack >= m->pack_count) {
		memcpy(object, "chunk ", 6);
		hex_encode(object + 6, id, CHUNK_ID_BYTES);
		return m->lost(m->ctx, backup, object, e);
	}
	m->packs[p.pack / 8] |= (uint8_t)(1 << p.pack % 8);
	if (m->uses != NULL)
		m->uses(m->ctx, p.pack);
	return 0;
}

static int
mark_list(struct mark *m, struct pack_keys *keys, const char *backup, const char *id_hex, struct err *e)
{
	struct list_entry *entries;
	uint8_t id[CHUNK_ID_BYTES];
	size_t count;
	int rc = 0;

	if (read_list(m->repo, keys, id_hex, &entries, &count, e)) {
		if (e->kind != ERR_CORRUPT && e->kind != ERR_NOT_FOUND)
			return -1;
		return m->lost(m->ctx, backup, e->msg, e);
	}
	if (hex_decode(id, CHUNK_ID_BYTES, id_hex))
		rc = mark_chunk(m, backup, id, 0, e);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = mark_chunk(m, backup, entries[i].id, entries[i].plain, e);
	free(entries);
	return rc;
}

int
mark_backup(struct mark *m, const char *id, const json_t *detail, struct err *e)
{
	struct pack_keys *keys = pack_keys_new(m->repo);
	json_t *stream, *list;
	size_t i, k;
	int rc = 0;

	json_array_foreach(json_object_get(detail, "streams"), i, stream)
		json_array_foreach(json_object_get(stream, "lists"), k, list)
			if (rc == 0)
				rc = mark_list(m, keys, id, json_is_string(list) ? json_string_value(list) : "", e);
	pack_keys_free(keys);
	return rc;
}
