#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/stop.h"
#include "ops/common.h"

struct parallel {
	pthread_mutex_t lock;           /* guards error */
	struct err error;
	atomic_bool failed;
	int (*task)(void *ctx, struct parallel *p, size_t i, struct err *e);
	void *ctx;
};

struct task {
	struct parallel *p;
	size_t i;
};

static void
work(void *arg)
{
	struct task *t = arg;
	struct parallel *p = t->p;
	struct err e = ERR_INIT;

	if (!atomic_load(&p->failed) && (stop_check(&e) != 0 || p->task(p->ctx, p, t->i, &e) != 0)) {
		pthread_mutex_lock(&p->lock);
		if (p->error.kind == ERR_NONE)
			p->error = e;
		pthread_mutex_unlock(&p->lock);
		atomic_store(&p->failed, true);
	}
	free(t);
}

int
parallel_run(unsigned jobs, size_t count, int (*task)(void *ctx, struct parallel *p, size_t i, struct err *e), void *ctx, struct err *e)
{
	struct parallel p = { .task = task, .ctx = ctx };
	struct pool *pool = pool_new(jobs, jobs, false);
	int rc = 0;

	pthread_mutex_init(&p.lock, NULL);
	for (size_t i = 0; i < count; i++) {
		struct task *t = mem_zero(1, sizeof(*t));

		t->p = &p;
		t->i = i;
		pool_submit(pool, work, t);
	}
	pool_free(pool);
	if (p.error.kind != ERR_NONE) {
		*e = p.error;
		rc = -1;
	}
	pthread_mutex_destroy(&p.lock);
	return rc;
}

struct guard {
	struct sink sink;
	struct parallel *parallel;
};

static int
guard_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	if (atomic_load(&((struct guard *)s)->parallel->failed))
		return err_set(e, ERR_STOPPED, "given up, since another stream failed");
	return sink_write(s->next, data, bytes, e);
}

static int
guard_finish(struct sink *s, struct err *e)
{
	return sink_finish(s->next, e);
}

static void
guard_free(struct sink *s)
{
	free(s);
}

struct sink *
parallel_guard(struct parallel *p, struct sink *next)
{
	static const struct sink_ops ops = { guard_write, guard_finish, guard_free };
	struct guard *g = mem_zero(1, sizeof(*g));

	g->sink.ops = &ops;
	g->sink.next = next;
	g->parallel = p;
	return &g->sink;
}
