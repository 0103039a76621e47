#include "base/progress.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/width.h"

enum { DRAW_MS = 300, LOG_MS = 60000 };

/* The rate forgets with this time constant: a pause of a second does not make the estimate jump, a new table does. */
static const double smooth_ms = 5000;

struct item {                           /* a stage of a stream at work */
	struct sink sink;
	struct progress *progress;
	struct item *next;              /* begun later */
	atomic_uint_fast64_t bytes;
	bool counts;
	uint64_t sampled_bytes;
	double rate;
	char name[256];
};

struct progress {
	atomic_uint_fast64_t bytes, known;      /* added to by workers, once a chunk: no lock on that way */
	bool silent, terminal;
	pthread_t thread;
	pthread_mutex_t lock;                   /* all below */
	pthread_cond_t wake;
	bool over;
	char what[64];
	struct item *items;             /* oldest first */
	const struct item *named;       /* on the line now, or NULL */
	uint64_t expected;
	int64_t started_ms, sampled_ms;
	uint64_t sampled_bytes;
	double smoothed, weight;                /* bytes a millisecond; how much of the window has been seen, up to 1 */
};

static void
sample(struct progress *p, uint64_t bytes, int64_t now)
{
	double passed = (double)(now - p->sampled_ms), current, share;

	if (passed < 100 || bytes < p->sampled_bytes)
		return;
	current = (double)(bytes - p->sampled_bytes) / passed;
	/* share = passed / (passed + T) is the exponential window's first-order form, and needs no libm. */
	share = passed / (passed + smooth_ms);
	p->smoothed += share * (current - p->smoothed);
	p->weight += share * (1 - p->weight);
	p->sampled_ms = now;
	p->sampled_bytes = bytes;
	for (struct item *i = p->items; i != NULL; i = i->next) {
		uint64_t moved = atomic_load(&i->bytes);

		i->rate += share * ((double)(moved - i->sampled_bytes) / passed - i->rate);
		i->sampled_bytes = moved;
	}
}

/* Bytes a millisecond; 0: not known yet.  Divided by its weight, a young average is not held down by the nothing that it began with. */
static double
rate_of(const struct progress *p)
{
	return p->weight > 0 ? p->smoothed / p->weight : 0;
}

/* The one that moves most; the one that was named before unless another moves half as much again: a name that flickers between two
 * is read by nobody. */
static const struct item *
at_work(struct progress *p)
{
	const struct item *most = p->items;

	for (const struct item *i = p->items; i != NULL; i = i->next)
		if (i->rate > most->rate)
			most = i;
	if (p->named == NULL || most->rate > 1.5 * p->named->rate)
		p->named = most;
	return p->named;
}

/* "12 GiB of 40 GiB (30 %), 85 MiB/s, 5 min 42 s left, 91 % known" */
static void
describe(struct buf *to, struct progress *p, int64_t now)
{
	uint64_t bytes = atomic_load(&p->bytes), known = atomic_load(&p->known);
	char a[32], b[32];
	double rate;
	int64_t left;

	sample(p, bytes, now);
	rate = rate_of(p);
	/* A phase that moves no bytes, as a commit, has a name and nothing to count. */
	if (bytes == 0 && p->expected == 0)
		return;
	buf_addf(to, ": %s", bytes_human(a, bytes));
	/* What is expected is an estimate, which may have been too low: then "104 %" helps nobody, and 100 % would not be true. */
	if (p->expected > 0 && bytes > p->expected)
		buf_addstr(to, " (99 %)");
	else if (p->expected > 0)
		buf_addf(to, " of %s (%u %%)", bytes_human(b, p->expected), (unsigned)((double)bytes * 100 / (double)p->expected));
	/* When all has come, as while indexes are built, there is no rate of it. */
	if (rate > 0 && bytes != p->expected)
		buf_addf(to, ", %s/s", bytes_human(a, (uint64_t)(rate * 1000)));
	left = rate > 0 && p->expected > bytes ? (int64_t)((double)(p->expected - bytes) / rate / 1000) : 0;
	if (left > 0 && now - p->started_ms > 3000)
		buf_addf(to, ", %s left", clock_human(a, left * 1000));
	if (known > 0 && bytes > 0)
		buf_addf(to, ", %u %% known", (unsigned)((double)(known < bytes ? known : bytes) * 100 / (double)bytes));
}

static void
show(struct progress *p, int64_t now)
{
	struct buf numbers = BUF_INIT, line = BUF_INIT;
	size_t columns = width_terminal(STDERR_FILENO, 80) - 1, left;
	const struct item *item;

	describe(&numbers, p, now);
	item = at_work(p);
	buf_add(&numbers, NULL, 0);
	/* The numbers are what is looked at; the item's name takes what room is left, at least a little. */
	left = width_of((char *)numbers.data) + width_of(p->what) + 2;
	left = p->terminal ? (left < columns ? columns - left : 0) : sizeof(item->name);
	width_add(&line, p->what, sizeof(p->what));
	if (item != NULL && left >= 8) {
		buf_addc(&line, ' ');
		width_add_middle(&line, item->name, left);
	}
	buf_add(&line, numbers.data, numbers.bytes);
	if (p->terminal)
		log_status((const char *)line.data);
	else
		log_info("%s", (const char *)line.data);
	buf_free(&line);
	buf_free(&numbers);
}

static void *
draw(void *arg)
{
	struct progress *p = arg;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	pthread_mutex_lock(&p->lock);
	while (!p->over) {
		int64_t ns = until.tv_nsec + (int64_t)(p->terminal ? DRAW_MS : LOG_MS) * 1000000;

		until.tv_sec += ns / 1000000000;
		until.tv_nsec = ns % 1000000000;
		while (!p->over && pthread_cond_timedwait(&p->wake, &p->lock, &until) == 0)
			continue;
		if (!p->over && p->what[0] != '\0')
			show(p, clock_mono_ms());
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals belong to the thread that works: its system calls are the ones that a stop must interrupt. */
static void
start_thread(struct progress *p)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* A run without its line is better than no run. */
	if (pthread_create(&p->thread, NULL, draw, p) != 0)
		p->silent = true;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct progress *
progress_new(bool silent)
{
	struct progress *p = mem_zero(1, sizeof(*p));
	pthread_condattr_t attr;

	p->silent = silent;
	p->terminal = log_has_terminal();
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (!silent)
		start_thread(p);
	return p;
}

void
progress_free(struct progress *p)
{
	if (p == NULL)
		return;
	if (!p->silent) {
		pthread_mutex_lock(&p->lock);
		p->over = true;
		pthread_cond_signal(&p->wake);
		pthread_mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
		log_status(NULL);
	}
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void
progress_phase(struct progress *p, const char *what, uint64_t expected_bytes)
{
	pthread_mutex_lock(&p->lock);
	snprintf(p->what, sizeof(p->what), "%s", what);
	p->expected = expected_bytes;
	p->started_ms = p->sampled_ms = clock_mono_ms();
	p->sampled_bytes = 0;
	p->smoothed = p->weight = 0;
	atomic_store(&p->bytes, 0);
	atomic_store(&p->known, 0);
	pthread_mutex_unlock(&p->lock);
}

void
progress_add(struct progress *p, uint64_t bytes)
{
	atomic_fetch_add_explicit(&p->bytes, bytes, memory_order_relaxed);
}

void
progress_known(struct progress *p, uint64_t bytes)
{
	atomic_fetch_add_explicit(&p->known, bytes, memory_order_relaxed);
}

uint64_t
progress_bytes(const struct progress *p)
{
	return atomic_load_explicit(&p->bytes, memory_order_relaxed);
}

/* ---- streams at work ---- */

static int
item_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct item *i = (struct item *)s;

	atomic_fetch_add_explicit(&i->bytes, bytes, memory_order_relaxed);
	if (i->counts)
		progress_add(i->progress, bytes);
	return sink_write(s->next, data, bytes, e);
}

static int
item_finish(struct sink *s, struct err *e)
{
	return sink_finish(s->next, e);
}

static void
item_free(struct sink *s)
{
	struct item *i = (struct item *)s, **at;
	struct progress *p = i->progress;

	pthread_mutex_lock(&p->lock);
	for (at = &p->items; *at != i; at = &(*at)->next)
		continue;
	*at = i->next;
	if (p->named == i)
		p->named = NULL;
	pthread_mutex_unlock(&p->lock);
	free(i);
}

struct sink *
progress_sink_new(struct progress *p, const char *name, bool counts, struct sink *next)
{
	static const struct sink_ops ops = { item_write, item_finish, item_free };
	struct item *i = mem_zero(1, sizeof(*i)), **at;

	i->sink.ops = &ops;
	i->sink.next = next;
	i->progress = p;
	i->counts = counts;
	snprintf(i->name, sizeof(i->name), "%s", name);
	pthread_mutex_lock(&p->lock);
	for (at = &p->items; *at != NULL; at = &(*at)->next)
		continue;
	*at = i;
	pthread_mutex_unlock(&p->lock);
	return &i->sink;
}
