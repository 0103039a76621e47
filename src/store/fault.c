#include "store/fault.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct fault {
	struct store store;
	struct store *inner;
	struct store_faults *plan;
	pthread_mutex_t lock;           /* over the plan's counts */
};

enum fate { FATE_PASS, FATE_FAIL, FATE_FAIL_AFTER };

static const char *const verb_names[] = { "put", "get", "stat", "list", "remove" };

/* Counts a call and says what becomes of it; `*number` is which call of its verb it is. */
static enum fate
fault_count(struct fault *f, enum store_verb v, unsigned *number, enum err_kind *kind)
{
	struct store_faults *p = f->plan;
	unsigned first = p->verb[v].fail_at, times = p->verb[v].times > 0 ? p->verb[v].times : 1, all;

	pthread_mutex_lock(&f->lock);
	*number = ++p->calls[v];
	all = ++p->all_calls;
	pthread_mutex_unlock(&f->lock);
	*kind = ERR_STORE;
	if (p->die_at > 0 && all >= p->die_at)
		return FATE_FAIL;
	if (first == 0 || *number < first || *number - first >= times)
		return FATE_PASS;
	*kind = p->verb[v].kind;
	return p->verb[v].after ? FATE_FAIL_AFTER : FATE_FAIL;
}

static int
fault_fail(enum store_verb v, const char *name, unsigned number, enum err_kind kind, struct err *e)
{
	return err_set(e, kind, "%s of \"%s\": fails on purpose, as the plan says of %s number %u", verb_names[v], name,
	    verb_names[v], number);
}

/* Every verb is: count; fail before; do; fail after. */
#define FAULT_AROUND(verb_, name_, call_)                                       \
	do {                                                                    \
		enum fate fate = fault_count(f, (verb_), &number, &kind);       \
										\
		if (fate == FATE_FAIL)                                          \
			return fault_fail((verb_), (name_), number, kind, e);   \
		if (call_)                                                      \
			return -1;                                              \
		if (fate == FATE_FAIL_AFTER)                                    \
			return fault_fail((verb_), (name_), number, kind, e);   \
	} while (0)

static int
fault_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct fault *f = (struct fault *)s;
	enum err_kind kind;
	unsigned number;

	FAULT_AROUND(STORE_PUT, name, store_put(f->inner, name, data, bytes, e));
	return 0;
}

static int
fault_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	struct fault *f = (struct fault *)s;
	const struct store_faults *p = f->plan;
	size_t before = to->bytes, got;
	enum err_kind kind;
	unsigned number;

	FAULT_AROUND(STORE_GET, name, store_get(f->inner, name, offset, bytes, to, e));
	if (number != p->get_at)
		return 0;
	got = to->bytes - before;
	if (p->flip >= 0 && (uint64_t)p->flip < got)
		to->data[before + (size_t)p->flip] ^= 1;
	if (p->cut > 0 && p->cut <= got) {
		to->bytes -= p->cut;
		to->data[to->bytes] = '\0';
	}
	return 0;
}

static int
fault_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	struct fault *f = (struct fault *)s;
	enum err_kind kind;
	unsigned number;

	FAULT_AROUND(STORE_STAT, name, store_stat(f->inner, name, o, e));
	return 0;
}

struct sieve {
	const char *hide;
	store_each *each;
	void *ctx;
};

static int
sift(void *ctx, const struct store_object *o, struct err *e)
{
	struct sieve *v = ctx;

	if (v->hide != NULL && strstr(o->name, v->hide) != NULL)
		return 0;
	return v->each(v->ctx, o, e);
}

static int
fault_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct fault *f = (struct fault *)s;
	struct sieve v = { .hide = f->plan->hide, .each = each, .ctx = ctx };
	enum err_kind kind;
	unsigned number;

	FAULT_AROUND(STORE_LIST, prefix, store_list(f->inner, prefix, sift, &v, e));
	return 0;
}

static int
fault_remove(struct store *s, const char *name, struct err *e)
{
	struct fault *f = (struct fault *)s;
	enum err_kind kind;
	unsigned number;

	FAULT_AROUND(STORE_REMOVE, name, store_remove(f->inner, name, e));
	return 0;
}

static void
fault_free(struct store *s)
{
	struct fault *f = (struct fault *)s;

	store_free(f->inner);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static const struct store_ops fault_ops = {
	.put = fault_put,
	.get = fault_get,
	.stat = fault_stat,
	.list = fault_list,
	.remove = fault_remove,
	.free = fault_free,
};

struct store *
store_fault_new(struct store *inner, struct store_faults *plan)
{
	struct fault *f = mem_zero(1, sizeof(*f));

	f->store.ops = &fault_ops;
	f->store.label = mem_strdup(store_label(inner));
	f->inner = inner;
	f->plan = plan;
	pthread_mutex_init(&f->lock, NULL);
	return &f->store;
}
