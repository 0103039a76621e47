#include "unit/store/contract.h"
#include "unit/store/s3_env.h"

#include "base/stop.h"

/* The contract of a store, on a real S3 server: both signatures, with and without TLS. */

#ifdef __SANITIZE_THREAD__
/* libs3 calls mktime, whose lock inside of libc TSan does not see. */
const char *__tsan_default_suppressions(void);

const char *
__tsan_default_suppressions(void)
{
	return "called_from_lib:libs3.so.2\n";
}
#endif

static struct {
	const char *name, *signature;
	bool tls;
} const variants[] = {
	{ "contract of S3, v4 over http", "v4", false },
	{ "contract of S3, v4 over https with ca_file", "v4", true },
	{ "contract of S3, v2 over http", "v2", false },
	{ "contract of S3, v2 over https, not verified", "v2", true },
};
static size_t variant;

static int
setup(void **state)
{
	char *prefix = mem_printf("contract-%zu/deep.er/", variant);
	struct store_config c = s3_config(variants[variant].tls, variants[variant].signature, prefix);

	(void)state;
	contract.store = s3_open(&c);
	contract.exclusive = strcmp(variants[variant].signature, "v4") == 0;
	contract.many = 2500;
	free(prefix);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	store_free(contract.store);
	return 0;
}

int
main(void)
{
	int failed = 0;

	s3_env_need();
	/* A zone that is not UTC: the store's times are. */
	setenv("TZ", "America/New_York", 1);
	stop_install();
	s3_env_begin();
	for (variant = 0; variant < sizeof(variants) / sizeof(variants[0]); variant++)
		failed += cmocka_run_group_tests_name(variants[variant].name, contract_tests, setup, teardown);
	s3_env_end();
	return failed;
}
