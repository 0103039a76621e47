#include "store/throttle.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

/* A token bucket that may go into debt: who takes more than there is waits until the debt is paid. */
struct throttle {
	struct store store;
	struct store *inner;
	int64_t rate;                   /* bytes a second */
	pthread_mutex_t lock;           /* over the two below */
	int64_t tokens;                 /* bytes that may go at once; below 0: owed */
	int64_t filled_ms;
};

static int
throttle_take(struct throttle *t, uint64_t bytes, struct err *e)
{
	int64_t now = clock_mono_ms(), owed_ms, passed;

	pthread_mutex_lock(&t->lock);
	/* A pause of hours is as good as one that fills the bucket, and does not overflow. */
	passed = now - t->filled_ms;
	if (passed > 1000 + 1000 * (t->tokens < 0 ? -t->tokens / t->rate + 1 : 0))
		t->tokens = t->rate;
	else
		t->tokens += t->rate / 1000 * passed + t->rate % 1000 * passed / 1000;
	if (t->tokens > t->rate)
		t->tokens = t->rate;
	t->filled_ms = now;
	t->tokens -= (int64_t)bytes;
	owed_ms = t->tokens < 0 ? -t->tokens / t->rate * 1000 + -t->tokens % t->rate * 1000 / t->rate : 0;
	pthread_mutex_unlock(&t->lock);
	return owed_ms > 0 ? clock_sleep_ms(owed_ms, e) : 0;
}

static int
throttle_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct throttle *t = (struct throttle *)s;

	if (throttle_take(t, bytes, e))
		return -1;
	return store_put(t->inner, name, data, bytes, e);
}

static int
throttle_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	struct throttle *t = (struct throttle *)s;
	size_t before = to->bytes;

	/* Only afterwards is known how much it was. */
	if (store_get(t->inner, name, offset, bytes, to, e))
		return -1;
	return throttle_take(t, to->bytes - before, e);
}

static int
throttle_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	return store_stat(((struct throttle *)s)->inner, name, o, e);
}

static int
throttle_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	return store_list(((struct throttle *)s)->inner, prefix, each, ctx, e);
}

static int
throttle_remove(struct store *s, const char *name, struct err *e)
{
	return store_remove(((struct throttle *)s)->inner, name, e);
}

static void
throttle_free(struct store *s)
{
	struct throttle *t = (struct throttle *)s;

	store_free(t->inner);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static const struct store_ops throttle_ops = {
	.put = throttle_put,
	.get = throttle_get,
	.stat = throttle_stat,
	.list = throttle_list,
	.remove = throttle_remove,
	.free = throttle_free,
};

struct store *
throttle_new(struct store *inner, uint64_t bytes_per_second)
{
	struct throttle *t = mem_zero(1, sizeof(*t));

	t->store.ops = &throttle_ops;
	t->store.label = mem_strdup(store_label(inner));
	t->inner = inner;
	/* Above 1 TiB/s nothing is throttled, and the sums above stay far from overflowing. */
	t->rate = (int64_t)(bytes_per_second < (UINT64_C(1) << 40) ? bytes_per_second : UINT64_C(1) << 40);
	t->tokens = t->rate;
	t->filled_ms = clock_mono_ms();
	pthread_mutex_init(&t->lock, NULL);
	return &t->store;
}
