#include "store/retry.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"

/* A store that never answered this program is called by a wrong name more often than it restarts: that is said after so many attempts. */
#define ATTEMPTS_UNHEARD 6u

struct retry {
	struct store store;
	struct store *inner;
	unsigned attempts;
	atomic_bool heard;              /* it has answered once */
	int64_t first_pause_ms, longest_pause_ms;
};

/* One call's tries. */
struct tries {
	struct retry *r;
	unsigned done;
	int64_t began_ms, pause_ms;
};

static struct tries
tries_begin(struct retry *r)
{
	return (struct tries){ .r = r, .done = 0, .began_ms = clock_mono_ms(), .pause_ms = r->first_pause_ms };
}

static int
answered(struct retry *r)
{
	atomic_store(&r->heard, true);
	return 0;
}

/*
 * After a try that failed with `e`: true when it should be tried again (`e` is cleared, the pause is over); false when the
 * failure stands.  Full jitter, so that agents that lost the same store do not come back to it at the same moments.
 */
static bool
tries_again(struct tries *t, struct err *e)
{
	char took[32];
	struct err stopped = ERR_INIT;
	unsigned most = t->r->attempts;

	t->done++;
	if (e->kind != ERR_STORE)
		(void)answered(t->r);
	if (most > ATTEMPTS_UNHEARD && !atomic_load(&t->r->heard))
		most = ATTEMPTS_UNHEARD;
	if (e->kind == ERR_STORE && t->done < most) {
		int64_t pause = (int64_t)rand_below((uint64_t)t->pause_ms + 1);

		log_debug("attempt %u of %u failed, again in %s: %s", t->done, most, clock_human(took, pause), e->msg);
		t->pause_ms = t->pause_ms < t->r->longest_pause_ms / 2 ? t->pause_ms * 2 : t->r->longest_pause_ms;
		if (clock_sleep_ms(pause, &stopped)) {
			*e = stopped;
			return false;
		}
		err_clear(e);
		return true;
	}
	if (t->done > 1)
		err_wrap(e, "after %u attempts in %s", t->done, clock_human(took, clock_mono_ms() - t->began_ms));
	return false;
}

/*
 * The name is taken, and a try of ours may be the reason: an earlier one, or this one, since libcurl itself sends a request once
 * more when a kept connection ends without an answer.  Bytes decide, not the length: 0 when they are ours; else -1 with `e` as
 * it was, or as the reading failed; whoever may not read learns that the name is taken.
 */
static int
is_ours(struct store *inner, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct buf there = BUF_INIT;
	struct err failed = ERR_INIT;
	int rc = -1;

	if (store_get(inner, name, 0, 0, &there, &failed) != 0) {
		if (failed.kind != ERR_NOT_FOUND && failed.kind != ERR_DENIED) {
			*e = failed;
			err_wrap(e, "reading back what an earlier attempt may have put");
		}
	} else if (there.bytes == bytes && (bytes == 0 || memcmp(there.data, data, bytes) == 0)) {
		err_clear(e);
		rc = 0;
	}
	buf_free(&there);
	return rc;
}

static int
retry_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct retry *r = (struct retry *)s;
	struct tries t = tries_begin(r);

	do {
		if (store_put(r->inner, name, data, bytes, e) == 0)
			return answered(r);
		if (e->kind == ERR_EXISTS && is_ours(r->inner, name, data, bytes, e) == 0)
			return answered(r);
	} while (tries_again(&t, e));
	return -1;
}

static int
retry_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	struct retry *r = (struct retry *)s;
	struct tries t = tries_begin(r);

	do {
		if (store_get(r->inner, name, offset, bytes, to, e) == 0)
			return answered(r);
	} while (tries_again(&t, e));
	return -1;
}

static int
retry_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	struct retry *r = (struct retry *)s;
	struct tries t = tries_begin(r);

	do {
		if (store_stat(r->inner, name, o, e) == 0)
			return answered(r);
	} while (tries_again(&t, e));
	return -1;
}

/* A held listing is a run of: size (8), time (8), name, 0. */
static int
hold(void *ctx, const struct store_object *o, struct err *e)
{
	struct buf *held = ctx;

	(void)e;
	buf_u64(held, o->bytes);
	buf_u64(held, (uint64_t)o->changed_us);
	buf_add(held, o->name, strlen(o->name) + 1);
	return 0;
}

static int
hand_on(const struct buf *held, store_each *each, void *ctx, struct err *e)
{
	struct cursor c = cursor_over(held->data, held->bytes);

	while (c.left > 0) {
		struct store_object o = { 0 };

		o.bytes = cursor_u64(&c);
		o.changed_us = (int64_t)cursor_u64(&c);
		o.name = (const char *)c.at;
		cursor_take(&c, strlen(o.name) + 1);
		if (each(ctx, &o, e))
			return -1;
	}
	return 0;
}

static int
retry_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct retry *r = (struct retry *)s;
	struct tries t = tries_begin(r);
	struct buf held = BUF_INIT;
	int rc;

	do {
		buf_clear(&held);
		rc = store_list(r->inner, prefix, hold, &held, e);
	} while (rc != 0 && tries_again(&t, e));
	if (rc == 0) {
		(void)answered(r);
		rc = hand_on(&held, each, ctx, e);
	}
	buf_free(&held);
	return rc;
}

static int
retry_remove(struct store *s, const char *name, struct err *e)
{
	struct retry *r = (struct retry *)s;
	struct tries t = tries_begin(r);

	do {
		if (store_remove(r->inner, name, e) == 0)
			return answered(r);
	} while (tries_again(&t, e));
	return -1;
}

static void
retry_free(struct store *s)
{
	struct retry *r = (struct retry *)s;

	store_free(r->inner);
	free(r);
}

static const struct store_ops retry_ops = {
	.put = retry_put,
	.get = retry_get,
	.stat = retry_stat,
	.list = retry_list,
	.remove = retry_remove,
	.free = retry_free,
};

struct store *
retry_new(struct store *inner, unsigned attempts, int64_t first_pause_ms, int64_t longest_pause_ms)
{
	struct retry *r = mem_zero(1, sizeof(*r));

	r->store.ops = &retry_ops;
	r->store.label = mem_strdup(store_label(inner));
	r->inner = inner;
	r->attempts = attempts;
	r->first_pause_ms = first_pause_ms;
	r->longest_pause_ms = longest_pause_ms;
	return &r->store;
}
