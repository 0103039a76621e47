#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

/*
 * Where the machine is full, the first thread of a background pool gets its share, and the others fill gaps.  With equal
 * shares, a backend that has a processor nearly for itself loses a tenth of it to one of our threads now and then (docs/benchmarks.md).
 */
#define FIRST_NICE 5
#define OTHERS_NICE 19

struct job {
	void (*run)(void *arg);
	void *arg;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, room, idle;
	struct job *ring;
	size_t depth, first, queued, running;
	bool ending;
	bool background;
	unsigned threads, begun;
	pthread_t *ids;
};

/* Runs the oldest job that nobody has begun.  Locked on entry and on return, not meanwhile. */
static void
run_next(struct pool *p)
{
	struct job job = p->ring[p->first];

	p->first = (p->first + 1) % p->depth;
	p->queued--;
	p->running++;
	pthread_mutex_unlock(&p->lock);
	job.run(job.arg);
	pthread_mutex_lock(&p->lock);
	p->running--;
	pthread_cond_signal(&p->room);
	if (p->queued == 0 && p->running == 0)
		pthread_cond_broadcast(&p->idle);
}

static void *
worker(void *arg)
{
	struct pool *p = arg;
	bool first;

	pthread_mutex_lock(&p->lock);
	first = p->begun++ == 0;
	pthread_mutex_unlock(&p->lock);
	/* On Linux both belong to a thread (sched(7)).  Without them we are only less polite.  Not SCHED_IDLE: on a machine that is
	 * never idle its threads stand still for seconds, with a lock in hand, and who is not root never gets out of it. */
	if (p->background) {
		(void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), first ? FIRST_NICE : OTHERS_NICE);
	}
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->queued == 0 && !p->ending)
			pthread_cond_wait(&p->work, &p->lock);
		if (p->queued == 0)
			break;
		run_next(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct pool *
pool_new(unsigned threads, size_t depth, bool background)
{
	struct pool *p = mem_zero(1, sizeof(*p));
	sigset_t all, old;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->room, NULL);
	pthread_cond_init(&p->idle, NULL);
	p->depth = depth;
	p->ring = mem_zero(depth, sizeof(*p->ring));
	p->background = background;
	p->threads = threads;
	p->ids = mem_zero(threads, sizeof(*p->ids));
	/* Signals go to the main thread alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&p->ids[i], NULL, worker, p) != 0) {
			fprintf(stderr, "holdfast: cannot start a thread: is a limit on processes in force?\n");
			exit(1);
		}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p;
}

void
pool_submit(struct pool *p, void (*run)(void *arg), void *arg)
{
	pthread_mutex_lock(&p->lock);
	while (p->queued + p->running >= p->depth)
		pthread_cond_wait(&p->room, &p->lock);
	p->ring[(p->first + p->queued) % p->depth] = (struct job){ run, arg };
	p->queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void
pool_drain(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->queued > 0)
		run_next(p);
	while (p->running > 0)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void
pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->ids[i], NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->room);
	pthread_cond_destroy(&p->idle);
	free(p->ring);
	free(p->ids);
	free(p);
}
