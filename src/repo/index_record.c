/* The records that index objects are made of: docs/repository-format.md, section 7. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "repo/catalog.h"
#include "repo/index.h"

#define INDEX_PLAIN_MAX (4u << 20)      /* of one index object: ids do not compress, and a reader holds FETCHERS of them, three times */

void
index_record(struct buf *to, const struct pack_info *info, const struct pack_entry *entries)
{
	buf_add(to, info->id, ID_BYTES);
	buf_u8(to, (uint8_t)info->kind);
	buf_add(to, "\0\0", 3);
	buf_u32(to, info->bytes);
	buf_add(to, info->sha256, 32);
	buf_u32(to, info->chunks);
	for (uint32_t i = 0; i < info->chunks; i++) {
		buf_add(to, entries[i].id, CHUNK_ID_BYTES);
		buf_u32(to, entries[i].stored);
		buf_u32(to, entries[i].plain);
	}
}

/* Reads one record; the sum of its chunks must fit into the pack. */
static int
read_record(struct cursor *c, struct pack_info *info, struct pack_entry **entries, struct err *e)
{
	const uint8_t *id = cursor_take(c, ID_BYTES), *sha256;
	uint64_t total = PACK_HEAD_BYTES + PACK_FOOT_BYTES;

	memset(info, 0, sizeof(*info));
	info->kind = cursor_u8(c) == PACK_LISTS ? PACK_LISTS : PACK_DATA;
	cursor_take(c, 3);
	info->bytes = cursor_u32(c);
	sha256 = cursor_take(c, 32);
	info->chunks = cursor_u32(c);
	if (c->short_read || info->chunks > PACK_CHUNKS_MAX || (uint64_t)info->chunks * PACK_ENTRY_BYTES > c->left || info->bytes > STORE_OBJECT_MAX)
		return err_set(e, ERR_CORRUPT, "a pack record of the index is malformed");
	memcpy(info->id, id, ID_BYTES);
	memcpy(info->sha256, sha256, 32);
	*entries = mem_alloc(info->chunks * sizeof(**entries));
	for (uint32_t i = 0; i < info->chunks; i++) {
		struct pack_entry *x = &(*entries)[i];

		memcpy(x->id, cursor_take(c, CHUNK_ID_BYTES), CHUNK_ID_BYTES);
		x->stored = cursor_u32(c);
		x->plain = cursor_u32(c);
		total += x->stored;
		if (x->plain == 0 || total > info->bytes) {
			free(*entries);
			return err_set(e, ERR_CORRUPT, "a chunk of the index lies outside its pack");
		}
	}
	return 0;
}

int
index_parse(const struct buf *section, int (*each)(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e),
    void *ctx, struct err *e)
{
	struct cursor c = cursor_over(section->data, section->bytes);

	while (c.left > 0) {
		struct pack_entry *entries = NULL;
		struct pack_info info;
		int rc;

		if (read_record(&c, &info, &entries, e))
			return -1;
		rc = each(ctx, &info, entries, e);
		free(entries);
		if (rc != 0)
			return -1;
	}
	return 0;
}

bool
index_full(const struct buf *records)
{
	return records->bytes >= INDEX_PLAIN_MAX;
}

int
index_put(struct repo *r, struct buf *records, bool last, struct err *e)
{
	uint8_t id[ID_BYTES];

	if (records->bytes == 0 || (!last && !index_full(records)))
		return 0;
	rand_bytes(id, sizeof(id));
	if (catalog_put(r, CATALOG_INDEX, id, records, 1, e))
		return err_wrap(e, "write the index");
	buf_clear(records);
	return 0;
}
