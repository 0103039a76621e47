#include "repo/map.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"

#define MAP_HEAD_BYTES 48
#define MAP_PACK_BYTES 64

static const uint8_t magic[8] = { 'H', 'F', 'm', 'a', 'p', 0, 0, 3 };

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

static uint64_t
length_of(const struct head *head)
{
	return MAP_HEAD_BYTES + (uint64_t)head->ids * ID_BYTES + (uint64_t)head->packs * MAP_PACK_BYTES +
	    head->entries * sizeof(struct map_entry) + SHA256_BYTES;
}

/* Maps a file that is known to be good; `fd` is the map's from here on. */
static int
attach(struct map *m, int fd, const struct head *head, const char *path, struct err *e)
{
	size_t bytes = (size_t)length_of(head);
	uint8_t *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return err_sys(e, "map \"%s\"", path);
	/* Lookups jump about: reading ahead would only fill memory. */
	(void)madvise(memory, bytes, MADV_RANDOM);
	*m = (struct map){ .memory = memory, .bytes = bytes, .fd = fd, .id_count = head->ids, .pack_count = head->packs, .entry_count = head->entries };
	m->ids = (const uint8_t(*)[ID_BYTES])(memory + MAP_HEAD_BYTES);
	m->packs = memory + MAP_HEAD_BYTES + (size_t)head->ids * ID_BYTES;
	m->entries = (const void *)(m->packs + (size_t)head->packs * MAP_PACK_BYTES);
	return 0;
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
	wanted = length_of(&head);
	if ((uint64_t)st.st_size != wanted) {
		err_set(e, ERR_CORRUPT, "\"%s\" has another length than it says", path);
		goto out;
	}
	if (check_digest(fd, (size_t)wanted, path, e))
		goto out;
	rc = attach(m, fd, &head, path, e);
out:
	if (rc != 0)
		file_close(&fd);
	return rc;
}

void
map_close(struct map *m)
{
	if (m->memory != NULL) {
		munmap(m->memory, m->bytes);
		file_close(&m->fd);
	}
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
		while (guess + step < high && memcmp(m->entries[guess + step].id, id, MAP_ID_BYTES) < 0)
			low = guess + step, step *= 2;
		if (guess + step < high)
			high = guess + step + 1;
		for (step = 64; guess > step && low < guess - step && memcmp(m->entries[guess - step].id, id, MAP_ID_BYTES) >= 0; step *= 2)
			high = guess - step + 1;
		if (guess > step && low < guess - step)
			low = guess - step;
	}
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (memcmp(m->entries[middle].id, id, MAP_ID_BYTES) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (*count = 0; low + *count < m->entry_count && memcmp(m->entries[low + *count].id, id, MAP_ID_BYTES) == 0;)
		++*count;
	return low;
}

/* ---- runs ---- */

static int
by_id(const void *a, const void *b)
{
	uint64_t x = high_bits(a), y = high_bits(b);

	return x != y ? (x < y ? -1 : 1) : memcmp(a, b, MAP_ID_BYTES);
}

/* A file of which nothing stays, however we end. */
static int
open_nameless(const char *folder, struct err *e)
{
	char *path = mem_printf("%s/.tmp-XXXXXX", folder);
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		err_sys(e, "create a file in \"%s\"", folder);
	else
		unlink(path);
	free(path);
	return fd;
}

static int
spill(struct map_runs *runs, struct err *e)
{
	if (runs->fd < 0 && (runs->fd = open_nameless(runs->folder, e)) < 0)
		return -1;
	qsort(runs->entries, runs->count, sizeof(*runs->entries), by_id);
	if (file_write_all(runs->fd, runs->entries, runs->count * sizeof(*runs->entries), runs->folder, e))
		return -1;
	runs->spilled += runs->count;
	runs->count = 0;
	return 0;
}

void
map_runs_add(struct map_runs *runs, const struct map_entry *entry)
{
	struct err e = ERR_INIT;

	if (runs->count == MAP_RUN && !runs->failed && spill(runs, &e) != 0) {
		log_warning("no room to sort the index on disk (%s); it is held in memory", e.msg);
		runs->failed = true;
	}
	if (runs->count == runs->room) {
		runs->room = runs->room == 0 ? 1024 : 2 * runs->room;
		runs->entries = mem_grow(runs->entries, runs->room, sizeof(*runs->entries));
	}
	runs->entries[runs->count++] = *entry;
}

int
map_runs_take(struct map_runs *runs, const struct map_entry **entries, size_t *count, struct err *e)
{
	size_t got;

	if (runs->count == 0 && runs->spilled > 0) {
		size_t last = runs->spilled % MAP_RUN == 0 ? MAP_RUN : runs->spilled % MAP_RUN;

		/* There is room: this run came out of this memory. */
		if (file_pread(runs->fd, runs->entries, last * sizeof(*runs->entries), (runs->spilled - last) * sizeof(*runs->entries), &got,
			runs->folder, e))
			return -1;
		if (got != last * sizeof(*runs->entries))
			return err_set(e, ERR_FAILED, "a file in \"%s\" has lost its end", runs->folder);
		runs->spilled -= last;
		runs->count = last;
	}
	*entries = runs->entries;
	*count = runs->count;
	runs->count = 0;
	return 0;
}

void
map_runs_free(struct map_runs *runs)
{
	free(runs->entries);
	file_close(&runs->fd);
	*runs = (struct map_runs)MAP_RUNS_INIT(runs->folder);
}

/* ---- building ---- */

#define STALE_S 86400                   /* no build takes a day */

/* Whoever was killed in the midst of a build left his file, which may be large. */
static void
remove_stale(const char *folder)
{
	DIR *d = opendir(folder);
	struct stat st;

	for (struct dirent *x; d != NULL && (x = readdir(d)) != NULL;)
		if (strstr(x->d_name, ".tmp-") != NULL && fstatat(dirfd(d), x->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    st.st_mtime < time(NULL) - STALE_S)
			(void)unlinkat(dirfd(d), x->d_name, 0);
	if (d != NULL)
		closedir(d);
}

#define WINDOWS (16u << 20)             /* memory of all sources together */
#define WINDOW_MOST 4096                /* entries that one source reads ahead */

/* Sorted entries in a file, from one offset to another, read through a small window. */
struct source {
	int fd;
	uint64_t at, end;               /* offsets of what is not read yet */
	struct map_entry *window;
	size_t next, have;
};

struct merge {
	struct source *sources;
	struct source **heap;           /* the one whose next entry is the least is the first */
	size_t count, used, window;
	const char *name;               /* for messages */
};

/* Makes the next entry of a source be there; *ended when there is none. */
static int
refill(const struct merge *g, struct source *s, bool *ended, struct err *e)
{
	size_t wanted = g->window * sizeof(*s->window), got;

	*ended = false;
	if (s->next < s->have)
		return 0;
	if (wanted > s->end - s->at)
		wanted = (size_t)(s->end - s->at);
	*ended = wanted == 0;
	if (file_pread(s->fd, s->window, wanted, s->at, &got, g->name, e))
		return -1;
	if (got != wanted)
		return err_set(e, ERR_FAILED, "\"%s\" has lost its end", g->name);
	s->at += got;
	s->next = 0;
	s->have = got / sizeof(*s->window);
	return 0;
}

static void
sink_down(struct merge *g, size_t at)
{
	for (size_t child; (child = 2 * at + 1) < g->used; at = child) {
		struct source *s = g->heap[at];

		if (child + 1 < g->used &&
		    by_id(&g->heap[child + 1]->window[g->heap[child + 1]->next], &g->heap[child]->window[g->heap[child]->next]) < 0)
			child++;
		if (by_id(&s->window[s->next], &g->heap[child]->window[g->heap[child]->next]) <= 0)
			return;
		g->heap[at] = g->heap[child];
		g->heap[child] = s;
	}
}

static int
merge_begin(struct merge *g, const struct map *base, const struct map_runs *runs, struct err *e)
{
	size_t n = (size_t)((runs->spilled + MAP_RUN - 1) / MAP_RUN) + 1, size = sizeof(struct map_entry);
	uint64_t first = base->memory == NULL ? 0 : (uint64_t)((const uint8_t *)base->entries - (const uint8_t *)base->memory);

	g->count = n;
	g->window = WINDOWS / n / size < WINDOW_MOST ? WINDOWS / n / size + 1 : WINDOW_MOST;
	g->sources = mem_zero(n, sizeof(*g->sources));
	g->heap = mem_zero(n, sizeof(struct source *));
	for (size_t i = 0; i < n; i++) {
		uint64_t at = (uint64_t)i * MAP_RUN, end = at + MAP_RUN < runs->spilled ? at + MAP_RUN : runs->spilled;
		bool ended;

		g->sources[i] = i == n - 1 ? (struct source){ .fd = base->fd, .at = first, .end = first + base->entry_count * size }
					   : (struct source){ .fd = runs->fd, .at = at * size, .end = end * size };
		g->sources[i].window = mem_alloc(g->window * size);
		if (refill(g, &g->sources[i], &ended, e))
			return -1;
		if (!ended)
			g->heap[g->used++] = &g->sources[i];
	}
	for (size_t i = g->used / 2; i-- > 0;)
		sink_down(g, i);
	return 0;
}

/* The next entry in order, or *ended. */
static int
merge_next(struct merge *g, struct map_entry *entry, bool *ended, struct err *e)
{
	struct source *s;
	bool empty;

	*ended = g->used == 0;
	if (*ended)
		return 0;
	s = g->heap[0];
	*entry = s->window[s->next++];
	if (refill(g, s, &empty, e))
		return -1;
	if (empty)
		g->heap[0] = g->heap[--g->used];
	sink_down(g, 0);
	return 0;
}

static void
merge_end(struct merge *g)
{
	for (size_t i = 0; i < g->count; i++)
		free(g->sources[i].window);
	free(g->sources);
	free(g->heap);
}

struct writer {
	int fd;
	const char *name;
	struct hash *hash;
	uint8_t *block;
	size_t used;
};

#define BLOCK ((size_t)1 << 18)

static int
put(struct writer *w, const void *data, size_t bytes, struct err *e)
{
	const uint8_t *p = data;

	while (bytes > 0) {
		size_t n = bytes < BLOCK - w->used ? bytes : BLOCK - w->used;

		memcpy(w->block + w->used, p, n);
		w->used += n;
		p += n;
		bytes -= n;
		if (w->used < BLOCK)
			break;
		hash_update(w->hash, w->block, BLOCK);
		if (file_write_all(w->fd, w->block, BLOCK, w->name, e))
			return -1;
		w->used = 0;
	}
	return 0;
}

static int
put_end(struct writer *w, struct err *e)
{
	uint8_t digest[SHA256_BYTES];

	hash_update(w->hash, w->block, w->used);
	hash_final(w->hash, digest);
	if (file_write_all(w->fd, w->block, w->used, w->name, e))
		return -1;
	return file_write_all(w->fd, digest, sizeof(digest), w->name, e);
}

static int
write_packs(struct writer *w, const struct pack_info *packs, size_t count, struct err *e)
{
	uint8_t record[MAP_PACK_BYTES];

	for (size_t i = 0; i < count; i++) {
		pack_to_bytes(record, &packs[i]);
		if (put(w, record, sizeof(record), e))
			return -1;
	}
	return 0;
}

static int
write_entries(struct writer *w, const struct map *base, const struct map_runs *runs, struct err *e)
{
	struct merge g = { .name = runs->folder };
	struct map_entry entry;
	bool ended = false;
	int rc = merge_begin(&g, base, runs, e);

	while (rc == 0 && !ended) {
		rc = merge_next(&g, &entry, &ended, e);
		if (rc == 0 && !ended)
			rc = put(w, &entry, sizeof(entry), e);
	}
	merge_end(&g);
	return rc;
}

int
map_build(struct map *m, const char *path, const uint8_t uuid[16], const uint8_t (*ids)[ID_BYTES], size_t id_count,
    const struct pack_info *packs, size_t pack_count, struct map_runs *runs, struct err *e)
{
	struct head head = { .ids = (uint32_t)id_count, .packs = (uint32_t)pack_count };
	char unique[RAND_ID_TEXT], *temporary = NULL;
	struct writer w = { .fd = -1, .name = runs->folder };
	struct map fresh;
	int rc = -1;

	if (runs->count > 0 && spill(runs, e))
		return -1;
	head.entries = m->entry_count + runs->spilled;
	memcpy(head.magic, magic, sizeof(magic));
	memcpy(head.uuid, uuid, 16);
	if (path != NULL) {
		remove_stale(runs->folder);
		rand_id(unique);
		temporary = mem_printf("%s.tmp-%s", path, unique);
		w.fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
		if (w.fd < 0)
			err_sys(e, "create \"%s\"", temporary);
	} else {
		w.fd = open_nameless(runs->folder, e);
	}
	if (w.fd < 0) {
		free(temporary);
		return -1;
	}
	w.hash = hash_sha256_new();
	w.block = mem_alloc(BLOCK);
	/* No fsync: after a power cut a map that is not whole is noticed by its digest and built again. */
	if (put(&w, &head, sizeof(head), e) || put(&w, ids, id_count * ID_BYTES, e) || write_packs(&w, packs, pack_count, e) ||
	    write_entries(&w, m, runs, e) || put_end(&w, e) || attach(&fresh, w.fd, &head, w.name, e))
		goto out;
	/* It is mapped already: behind `path` could soon be the map of another process, whose pack numbers are not ours. */
	if (temporary != NULL && rename(temporary, path) != 0)
		unlink(temporary);
	map_close(m);
	*m = fresh;
	map_runs_free(runs);
	rc = 0;
out:
	if (rc != 0 && temporary != NULL)
		unlink(temporary);
	if (rc != 0)
		file_close(&w.fd);
	hash_free(w.hash);
	free(w.block);
	free(temporary);
	return rc;
}
