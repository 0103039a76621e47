#ifndef TEST_REPO_WORLD_H
#define TEST_REPO_WORLD_H

/* A repository in a folder of its own, for the tests of this room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "repo/repo.h"
#include "store/store.h"

struct world {
	char dir[64];
	char *objects, *cache, *key, *agent_key;
	char uuid[37];
	struct store *store;
	struct repo *repo;
};

#define must(call) must_at((call), &e, #call, __LINE__)

static inline void
must_at(int rc, struct err *e, const char *what, int line)
{
	if (rc != 0)
		fail_msg("line %d: %s: %s", line, what, e->msg);
}

static inline struct repo *
world_open(struct world *w, const char *key, bool cached, struct err *e)
{
	struct repo_options o = { .cache_dir = cached ? w->cache : NULL, .key_file = key, .workers = 2 };

	return repo_open(w->store, &o, e);
}

static inline struct world *
world_new(void)
{
	struct world *w = mem_zero(1, sizeof(*w));
	struct identity *first = identity_new("recovery", KEY_RECOVERY), *agent = identity_new("agent", KEY_AGENT);
	struct err e = ERR_INIT;

	log_set_level(LOG_ERROR);
	strcpy(w->dir, "/tmp/holdfast-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->objects = mem_printf("%s/objects", w->dir);
	w->cache = mem_printf("%s/cache", w->dir);
	w->key = mem_printf("%s/recovery.key", w->dir);
	w->agent_key = mem_printf("%s/agent.key", w->dir);
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	w->store = store_open(&config, true, &e);
	if (w->store == NULL)
		fail_msg("%s", e.msg);
	must(repo_create(w->store, first, agent, NULL, NULL, NULL, w->uuid, &e));
	must(identity_write(first, w->key, &e));
	must(identity_write(agent, w->agent_key, &e));
	identity_free(first);
	identity_free(agent);
	w->repo = world_open(w, w->key, true, &e);
	if (w->repo == NULL)
		fail_msg("%s", e.msg);
	return w;
}

static inline void
world_free(struct world *w)
{
	struct err e = ERR_INIT;

	repo_free(w->repo);
	store_free(w->store);
	must(file_remove_tree(w->dir, &e));
	free(w->objects);
	free(w->cache);
	free(w->key);
	free(w->agent_key);
	free(w);
}

/* Deterministic bytes that do not compress much and differ by seed. */
static inline uint8_t *
noise(size_t bytes, uint64_t seed)
{
	uint8_t *p = mem_alloc(bytes);
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < bytes; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p[i] = (uint8_t)(x >> 24) & 0x7f;
	}
	return p;
}

static inline json_t *
summary_of(const char *time)
{
	return json_pack("{s:s, s:[s], s:s}", "time", time, "databases", "langfuse", "source", "test");
}

/* One backup with one stream "d/rest". */
static inline void
backup_of(struct repo *r, const uint8_t *data, size_t bytes, const char *time, char id[33])
{
	struct err e = ERR_INIT;
	struct repo_run *run = repo_begin(r, "backup", &e);
	struct sink *s;

	if (run == NULL)
		fail_msg("%s", e.msg);
	s = repo_write(run, "d/rest", "dump", "d");
	for (size_t at = 0; at < bytes; at += 300000)
		must(sink_write(s, data + at, bytes - at < 300000 ? bytes - at : 300000, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	must(repo_commit(run, summary_of(time), json_object(), id, &e));
}

/* Reads stream `number` of a backup into `to`. */
static inline int
read_back(struct repo *r, const char id[33], size_t number, struct buf *to, struct err *e)
{
	json_t *summary, *detail;
	struct sink *s = sink_buf_new(to, (size_t)1 << 30);
	int rc = repo_load(r, id, &summary, &detail, e);

	if (rc == 0)
		rc = repo_read(r, json_array_get(json_object_get(detail, "streams"), number), s, e);
	sink_free(s);
	json_decref(summary);
	json_decref(detail);
	return rc;
}

#endif
