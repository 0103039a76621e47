#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static void
expect_name(const char *name, const char *text)
{
	char *got = json_name(name);
	json_t *value = json_string(got);       /* which refuses what is no UTF-8 */

	assert_string_equal(got, text);
	assert_non_null(value);
	json_decref(value);
	free(got);
}

static void
a_name_in_utf8_stays_as_it_is(void **state)
{
	(void)state;
	expect_name("", "");
	expect_name("app.traces", "app.traces");
	expect_name("заказы 漢 \xf0\x9f\x90\x98", "заказы 漢 \xf0\x9f\x90\x98");
	expect_name("a\\b \\x \\xe7 \\x41 \\xE \\", "a\\b \\x \\xe7 \\x41 \\xE \\");
}

static void
names_in_another_encoding_stay_apart(void **state)
{
	(void)state;
	expect_name("\xe7\xe0\xea\xe0\xe7\xfb", "\\xE7\\xE0\\xEA\\xE0\\xE7\\xFB");       /* "заказы" and "товары" in WIN1251 */
	expect_name("\xf2\xee\xe2\xe0\xf0\xfb", "\\xF2\\xEE\\xE2\\xE0\\xF0\\xFB");
	expect_name("caf\xe9", "caf\\xE9");
	expect_name("\xc3", "\\xC3");                   /* the first half of a character */
	expect_name("\xed\xa0\x80", "\\xED\\xA0\\x80"); /* a surrogate */
}

static void
a_name_that_reads_as_an_escape_is_none(void **state)
{
	(void)state;
	expect_name("\\xE7", "\\x5CxE7");
	expect_name("\\\\x80", "\\\\x5Cx80");
	expect_name("\\x5CxE7", "\\x5Cx5CxE7");
	expect_name("\\\xe7", "\\\\xE7");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_in_utf8_stays_as_it_is),
		cmocka_unit_test(names_in_another_encoding_stay_apart),
		cmocka_unit_test(a_name_that_reads_as_an_escape_is_none),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
