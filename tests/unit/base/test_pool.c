#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pool.h"

static atomic_int ran;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_t who;

static void
count(void *arg)
{
	(void)arg;
	atomic_fetch_add(&ran, 1);
}

static void
pass_gate(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	atomic_fetch_add(&ran, 1);
}

static void
note_thread(void *arg)
{
	(void)arg;
	who = pthread_self();
	atomic_fetch_add(&ran, 1);
}

static void
every_job_has_run_when_drain_returns(void **state)
{
	(void)state;
	for (int background = 0; background < 2; background++) {
		struct pool *p = pool_new(3, 5, background != 0);

		atomic_store(&ran, 0);
		for (int i = 0; i < 1000; i++)
			pool_submit(p, count, NULL);
		pool_drain(p);
		assert_int_equal(atomic_load(&ran), 1000);
		pool_submit(p, count, NULL);
		pool_free(p);
		assert_int_equal(atomic_load(&ran), 1001);
	}
}

/* As on a machine that is never idle, where background workers get nothing. */
static void
a_submitter_does_its_job_itself_when_background_workers_do_not_get_on(void **state)
{
	struct pool *p = pool_new(1, 1, true);

	(void)state;
	atomic_store(&ran, 0);
	pthread_mutex_lock(&gate);
	pool_submit(p, pass_gate, NULL);
	for (int i = 0; i < 20; i++)
		pool_submit(p, note_thread, NULL);
	assert_int_equal(atomic_load(&ran), 20);
	assert_true(pthread_equal(who, pthread_self()));
	pthread_mutex_unlock(&gate);
	pool_drain(p);
	assert_int_equal(atomic_load(&ran), 21);
	pool_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_job_has_run_when_drain_returns),
		cmocka_unit_test(a_submitter_does_its_job_itself_when_background_workers_do_not_get_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
