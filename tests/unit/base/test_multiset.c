#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/multiset.h"

static void
digest_of(uint8_t digest[MULTISET_BYTES], const char *const *members, size_t n, size_t piece)
{
	struct multiset m;

	multiset_begin(&m);
	for (size_t i = 0; i < n; i++) {
		size_t bytes = strlen(members[i]);

		for (size_t at = 0; at < bytes; at += piece)
			multiset_part(&m, members[i] + at, bytes - at < piece ? bytes - at : piece);
		multiset_end_member(&m);
	}
	multiset_sum(&m, digest);
}

static void
order_does_not_matter_and_content_does(void **state)
{
	static const char *const rows[] = { "1\tabc", "2\tdefghijklmnop", "", "3\t\\N", "2\tdefghijklmnop" };
	static const char *const moved[] = { "", "2\tdefghijklmnop", "3\t\\N", "2\tdefghijklmnop", "1\tabc" };
	static const char *const changed[] = { "", "2\tdefghijklmnoq", "3\t\\N", "2\tdefghijklmnop", "1\tabc" };
	static const char *const shifted[] = { "1\tabc2", "\tdefghijklmnop", "", "3\t\\N", "2\tdefghijklmnop" };
	static const char *const doubled[] = { "1\tabc", "1\tabc", "", "3\t\\N", "2\tdefghijklmnop" };
	uint8_t a[MULTISET_BYTES], b[MULTISET_BYTES];

	(void)state;
	digest_of(a, rows, 5, 1000);
	digest_of(b, moved, 5, 1000);
	assert_memory_equal(a, b, sizeof(a));
	for (size_t piece = 1; piece < 20; piece++) {
		digest_of(b, moved, 5, piece);
		assert_memory_equal(a, b, sizeof(a));
	}
	digest_of(b, changed, 5, 1000);
	assert_memory_not_equal(a, b, sizeof(a));
	digest_of(b, shifted, 5, 1000);
	assert_memory_not_equal(a, b, sizeof(a));
	digest_of(b, doubled, 5, 1000);
	assert_memory_not_equal(a, b, sizeof(a));
	digest_of(b, rows, 4, 1000);
	assert_memory_not_equal(a, b, sizeof(a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(order_does_not_matter_and_content_does) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
