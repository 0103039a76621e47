#ifndef TEST_REPO_HOOKED_H
#define TEST_REPO_HOOKED_H

/* A store around another one, through which a test sees each call before it is made, and says what a listing shows. */
#include "unit/repo/world.h"

struct hooked {
	struct store store;
	struct store *inner;            /* borrowed */
	void *ctx;
	void (*before)(void *ctx, const char *verb, const char *name);          /* may be NULL */
	int (*shown)(void *ctx, const char *prefix, const char *name);          /* how often a listing of prefix shows a name; may be NULL: once */
};

static inline struct store *
hooked_before(struct store *s, const char *verb, const char *name)
{
	struct hooked *h = (struct hooked *)s;

	if (h->before != NULL)
		h->before(h->ctx, verb, name);
	return h->inner;
}

static inline int
hooked_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	return store_put(hooked_before(s, "put", name), name, data, bytes, e);
}

static inline int
hooked_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	return store_get(hooked_before(s, "get", name), name, offset, bytes, to, e);
}

static inline int
hooked_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	return store_stat(hooked_before(s, "stat", name), name, o, e);
}

static inline int
hooked_remove(struct store *s, const char *name, struct err *e)
{
	return store_remove(hooked_before(s, "remove", name), name, e);
}

struct hooked_listing {
	struct hooked *h;
	const char *prefix;
	store_each *each;
	void *ctx;
};

static inline int
hooked_show(void *ctx, const struct store_object *o, struct err *e)
{
	struct hooked_listing *l = ctx;
	int rc = 0;

	for (int times = l->h->shown == NULL ? 1 : l->h->shown(l->h->ctx, l->prefix, o->name); times > 0 && rc == 0; times--)
		rc = l->each(l->ctx, o, e);
	return rc;
}

static inline int
hooked_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct hooked_listing l = { .h = (struct hooked *)s, .prefix = prefix, .each = each, .ctx = ctx };

	return store_list(hooked_before(s, "list", prefix), prefix, hooked_show, &l, e);
}

static inline void
hooked_free(struct store *s)
{
	free(s->label);
}

/* Call hooked_free(&h->store) at the end. */
static inline void
hooked_init(struct hooked *h, struct world *w)
{
	static const struct store_ops ops = {
		.put = hooked_put, .get = hooked_get, .stat = hooked_stat, .list = hooked_list, .remove = hooked_remove, .free = hooked_free
	};

	memset(h, 0, sizeof(*h));
	h->store.ops = &ops;
	h->store.label = mem_strdup("a store with a test in it");
	h->inner = w->store;
}

static inline struct repo *
hooked_open(struct hooked *h, const struct world *w, const char *cache)
{
	struct err e = ERR_INIT;
	struct repo *r = repo_open(&h->store, &(struct repo_options){ .key_file = w->key, .workers = 2, .cache_dir = cache }, &e);

	if (r == NULL)
		fail_msg("%s", e.msg);
	return r;
}

#endif
