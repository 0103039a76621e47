#ifndef TEST_REPO_KEYRING_H
#define TEST_REPO_KEYRING_H

/* Who holds a key, and whether what one sealed another reads. */
#include "unit/repo/world.h"

static inline struct holder
named(struct repo *r, const char *name)
{
	struct err e = ERR_INIT;
	struct holder *holders, found = { .objects = 0 };
	size_t count, foreign;

	must(keys_list(r, &holders, &count, &foreign, &e));
	assert_int_equal(foreign, 0);
	for (size_t i = 0; i < count; i++)
		if (strcmp(holders[i].name, name) == 0)
			found = holders[i];
	free(holders);
	return found;
}

/* Takes a backup of new data with one key and reads it with another. */
static inline void
sealed_by_is_read_by(struct world *w, const char *writer, const char *reader, unsigned seed, char id[33])
{
	struct err e = ERR_INIT;
	struct repo *from = world_open(w, writer, false, &e), *to;
	uint8_t *data = noise(100000, seed);
	struct buf back = BUF_INIT;

	assert_non_null(from);
	backup_of(from, data, 100000, "2026-11-24T02:15:00Z", id);
	repo_free(from);
	to = world_open(w, reader, false, &e);
	assert_non_null(to);
	must(read_back(to, id, 0, &back, &e));
	assert_memory_equal(back.data, data, 100000);
	repo_free(to);
	buf_free(&back);
	free(data);
}

static inline void
is_read_by(struct world *w, const char *reader, const char *id)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, reader, false, &e);
	struct buf back = BUF_INIT;

	assert_non_null(r);
	must(read_back(r, id, 0, &back, &e));
	repo_free(r);
	buf_free(&back);
}

/* A second key that reads; its path is owned by the caller. */
static inline char *
let_in_verifier(struct world *w)
{
	struct err e = ERR_INIT;
	struct identity *i = identity_new("verifier", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/verifier.key", w->dir), holder[33];

	must(identity_write(i, path, &e));
	identity_public(i, public_key);
	identity_free(i);
	must(keys_add(w->repo, "verifier", KEY_RECOVERY, public_key, NULL, holder, &e));
	return path;
}

#endif
