#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pool.h"

static atomic_int ran;

static void
count(void *arg)
{
	(void)arg;
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_job_has_run_when_drain_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
