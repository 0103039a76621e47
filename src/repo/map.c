#include "repo/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"

#define MAP_HEAD_BYTES 48
#define MAP_PACK_BYTES 64

static const uint8_t magic[8] = { 'H', 'F', 'm', 'a', 'p', 0, 0, 2 };

struct head {
	uint8_t magic[8], uuid[16];
	uint32_t ids, packs;
	uint64_t entries, reserved;
};

_Static_assert(sizeof(struct head) == MAP_HEAD_BYTES, "no padding");

/* The digest over all but itself, read through a small window so that it costs no memory. */
static int
check_digest(int fd, size_t bytes, const char *path, struct err *e)
{
	struct hash *hash = hash_sha256_new();
	uint8_t *window = mem_alloc(1 << 20), seen[SHA256_BYTES], wanted[SHA256_BYTES];
	size_t at = 0, got, end = bytes - SHA256_BYTES;
	int rc = -1;

	for (; at < end; at += got) {
		size_t n = end - at < (1 << 20) ? end - at : (1 << 20);

		if (file_pread(fd, window, n, at, &got, path, e))
			goto out;
		if (got == 0)
			break;
		hash_update(hash, window, got);
	}
	hash_final(hash, seen);
	if (file_pread(fd, wanted, sizeof(wanted), end, &got, path, e))
		goto out;
	if (at != end || got != sizeof(wanted) || memcmp(seen, wanted, sizeof(seen)) != 0)
		err_set(e, ERR_CORRUPT, "\"%s\" is damaged", path);
	else
		rc = 0;
out:
	free(window);
	hash_free(hash);
	return rc;
}

int
map_open(struct map *m, const char *path, const uint8_t uuid[16], struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;
	struct head head;
	struct stat st;
	uint64_t wanted;

	memset(m, 0, sizeof(*m));
	if (fd < 0)
		return err_sys(e, "open \"%s\"", path);
	if (fstat(fd, &st) != 0) {
		err_sys(e, "stat \"%s\"", path);
		goto out;
	}
	if (st.st_size < MAP_HEAD_BYTES + SHA256_BYTES || pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head.magic, magic, sizeof(magic)) != 0 || memcmp(head.uuid, uuid, 16) != 0 || head.entries > (uint64_t)1 << 40) {
		err_set(e, ERR_CORRUPT, "\"%s\" is not the map of this repository's index", path);
		goto out;
	}
	wanted = MAP_HEAD_BYTES + (uint64_t)head.ids * ID_BYTES + (uint64_t)head.packs * MAP_PACK_BYTES + head.entries * sizeof(struct map_entry) +
	    SHA256_BYTES;
	if ((uint64_t)st.st_size != wanted) {
		err_set(e, ERR_CORRUPT, "\"%s\" has another length than it says", path);
		goto out;
	}
	if (check_digest(fd, (size_t)wanted, path, e))
		goto out;
	m->bytes = (size_t)wanted;
	m->memory = mmap(NULL, m->bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (m->memory == MAP_FAILED) {
		m->memory = NULL;
		err_sys(e, "map \"%s\"", path);
		goto out;
	}
	/* Lookups jump about: reading ahead would only fill memory. */
	(void)madvise(m->memory, m->bytes, MADV_RANDOM);
	m->ids = (const uint8_t(*)[ID_BYTES])((uint8_t *)m->memory + MAP_HEAD_BYTES);
	m->id_count = head.ids;
	m->packs = (const uint8_t *)m->memory + MAP_HEAD_BYTES + (size_t)head.ids * ID_BYTES;
	m->pack_count = head.packs;
	m->entries = (const void *)(m->packs + (size_t)head.packs * MAP_PACK_BYTES);
	m->entry_count = head.entries;
	rc = 0;
out:
	file_close(&fd);
	return rc;
}

void
map_close(struct map *m)
{
	if (m->memory != NULL)
		munmap(m->memory, m->bytes);
	memset(m, 0, sizeof(*m));
}

static void
pack_to_bytes(uint8_t to[MAP_PACK_BYTES], const struct pack_info *info)
{
	memset(to, 0, MAP_PACK_BYTES);
	memcpy(to, info->id, ID_BYTES);
	memcpy(to + 16, info->sha256, 32);
	bytes_put_u32(to + 48, info->bytes);
	bytes_put_u32(to + 52, info->chunks);
	to[56] = (uint8_t)info->kind;
}

void
map_pack(const struct map *m, uint32_t number, struct pack_info *info)
{
	const uint8_t *p = m->packs + (size_t)number * MAP_PACK_BYTES;

	memset(info, 0, sizeof(*info));
	memcpy(info->id, p, ID_BYTES);
	memcpy(info->sha256, p + 16, 32);
	info->bytes = bytes_get_u32(p + 48);
	info->chunks = bytes_get_u32(p + 52);
	info->kind = p[56] == PACK_LISTS ? PACK_LISTS : PACK_DATA;
}

static uint64_t
high_bits(const uint8_t *id)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | id[i];
	return v;
}

uint64_t
map_find(const struct map *m, const uint8_t id[CHUNK_ID_BYTES], uint64_t *count)
{
	uint64_t low = 0, high = m->entry_count, guess, step = 64;

	/* Ids are uniform, so their value tells where they are, give or take a square root; then halve. */
	if (high > 4096) {
		guess = (uint64_t)((unsigned __int128)high_bits(id) * high >> 64);
		while (guess + step < high && memcmp(m->entries[guess + step].id, id, 24) < 0)
			low = guess + step, step *= 2;
		if (guess + step < high)
			high = guess + step + 1;
		for (step = 64; guess > step && low < guess - step && memcmp(m->entries[guess - step].id, id, 24) >= 0; step *= 2)
			high = guess - step + 1;
		if (guess > step && low < guess - step)
			low = guess - step;
	}
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (memcmp(m->entries[middle].id, id, 24) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (*count = 0; low + *count < m->entry_count && memcmp(m->entries[low + *count].id, id, 24) == 0;)
		++*count;
	return low;
}

struct writer {
	FILE *file;
	struct hash *hash;
	bool failed;
};

static void
put(struct writer *w, const void *data, size_t bytes)
{
	if (bytes > 0 && fwrite(data, 1, bytes, w->file) != bytes)
		w->failed = true;
	hash_update(w->hash, data, bytes);
}

int
map_write(const char *path, const uint8_t uuid[16], const uint8_t (*ids)[ID_BYTES], size_t id_count, const struct pack_info *packs,
    size_t pack_count, const struct map *base, const struct map_entry *added, size_t added_count, struct err *e)
{
	struct head head = { .ids = (uint32_t)id_count, .packs = (uint32_t)pack_count, .entries = base->entry_count + added_count };
	char unique[RAND_ID_TEXT], *temporary;
	struct writer w = { .hash = hash_sha256_new() };
	uint8_t digest[SHA256_BYTES];
	uint64_t b = 0;
	size_t a = 0;
	int rc = -1;

	rand_id(unique);
	temporary = mem_printf("%s.tmp-%s", path, unique);
	w.file = fopen(temporary, "wex");
	if (w.file == NULL) {
		err_sys(e, "create \"%s\"", temporary);
		goto out;
	}
	setvbuf(w.file, NULL, _IOFBF, 1 << 20);
	memcpy(head.magic, magic, sizeof(magic));
	memcpy(head.uuid, uuid, 16);
	put(&w, &head, sizeof(head));
	put(&w, ids, id_count * ID_BYTES);
	for (size_t i = 0; i < pack_count; i++) {
		uint8_t record[MAP_PACK_BYTES];

		pack_to_bytes(record, &packs[i]);
		put(&w, record, sizeof(record));
	}
	while ((b < base->entry_count || a < added_count) && !w.failed) {
		bool from_base = a == added_count || (b < base->entry_count && memcmp(base->entries[b].id, added[a].id, 24) <= 0);

		put(&w, from_base ? &base->entries[b++] : &added[a++], sizeof(struct map_entry));
	}
	hash_final(w.hash, digest);
	if (fwrite(digest, 1, sizeof(digest), w.file) != sizeof(digest) || fflush(w.file) != 0 || w.failed) {
		err_sys(e, "write \"%s\"", temporary);
		goto out;
	}
	/* No fsync: after a power cut a map that is not whole is noticed by its digest and built again. */
	if (rename(temporary, path) != 0) {
		err_sys(e, "rename to \"%s\"", path);
		goto out;
	}
	rc = 0;
out:
	if (w.file != NULL) {
		fclose(w.file);
		if (rc != 0)
			unlink(temporary);
	}
	hash_free(w.hash);
	free(temporary);
	return rc;
}
