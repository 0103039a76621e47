#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "repo/catalog.h"
#include "repo/index.h"
#include "repo/map.h"
#include "repo/pack.h"
#include "repo/read.h"

/*
 * The repository's own parsers, each behind one byte that chooses it.  Where a tag guards the bytes in real life, the parser behind
 * it is called directly: an agent's thief can make what is sealed with the catalog key.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int
each(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	uint64_t *sum = ctx;

	(void)e;
	for (uint32_t i = 0; i < info->chunks; i++)
		*sum += entries[i].stored;
	return 0;
}

/* A map's digest guards against a torn disk, not against somebody: behind it is made what a reader may meet. */
static void
map(struct buf *all, const uint8_t *uuid)
{
	uint8_t digest[SHA256_BYTES];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char *path = mem_printf("/proc/self/fd/%d", fd);
	struct pack_info info;
	struct err e = ERR_INIT;
	struct map m;

	hash_sha256(digest, all->data, all->bytes);
	buf_add(all, digest, sizeof(digest));
	if (fd < 0 || file_write_all(fd, all->data, all->bytes, "fuzz", &e))
		abort();
	if (map_open(&m, path, uuid, &e) == 0) {
		for (uint32_t i = 0; i < m.pack_count; i++)
			map_pack(&m, i, &info);
		for (uint64_t i = 0; i < m.entry_count; i++) {
			uint8_t id[CHUNK_ID_BYTES] = { 0 };
			uint64_t count, first;

			memcpy(id, m.entries[i].id, sizeof(m.entries[i].id));
			first = map_find(&m, id, &count);
			if (first + count > m.entry_count)
				abort();
		}
		map_close(&m);
	} else if (e.kind != ERR_CORRUPT) {
		abort();
	}
	free(path);
	file_close(&fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint8_t zero[64];
	struct err e = ERR_INIT;
	struct buf all = BUF_INIT, out[2] = { BUF_INIT, BUF_INIT };
	struct list_entry *list = NULL;
	struct pack_entry *entries = NULL;
	enum pack_kind kind;
	uint32_t a, b;
	uint64_t sum = 0;
	size_t count;

	if (bytes < 1)
		return 0;
	buf_add(&all, data + 1, bytes - 1);
	switch (data[0] % 6) {
	case 0:
		(void)!index_parse(&all, each, &sum, &e);
		break;
	case 1:
		if (read_list_parse(all.data, all.bytes, 2u << 20, &list, &count, &e) == 0)
			free(list);
		break;
	case 2:
		(void)!catalog_open(all.data, zero, CATALOG_MANIFEST, zero, &all, out, 2, &e);
		break;
	case 3:
		if (all.bytes >= PACK_HEAD_BYTES)
			(void)!pack_read_head(all.data, zero, zero, &kind, &a, &e);
		if (all.bytes >= PACK_FOOT_BYTES)
			(void)!pack_read_foot(all.data, all.bytes * 8, &a, &b, &e);
		break;
	case 4:
		map(&all, zero);
		break;
	default:
		if (all.bytes >= PACK_HEAD_BYTES + PACK_FOOT_BYTES &&
		    pack_open_directory(zero, zero, all.data, all.data + PACK_HEAD_BYTES, all.bytes - PACK_HEAD_BYTES - PACK_FOOT_BYTES,
			all.data + all.bytes - PACK_FOOT_BYTES, all.bytes, &entries, &a, &e) == 0)
			free(entries);
	}
	buf_free(&out[0]);
	buf_free(&out[1]);
	buf_free(&all);
	return 0;
}
