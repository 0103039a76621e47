#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pg/quote.h"

static void
a_name_is_quoted_when_sql_needs_it(void **state)
{
	static const struct {
		const char *schema, *name, *expect;
	} cases[] = {
		{ "public", "traces", "public.traces" },
		{ NULL, "traces", "traces" },
		{ "", "traces", "traces" },
		{ "public", "Traces", "public.\"Traces\"" },
		{ "public", "user", "public.\"user\"" },
		{ "public", "users", "public.users" },
		{ "public", "7up", "public.\"7up\"" },
		{ "public", "a$b", "public.\"a$b\"" },
		{ "a.b", "c\"d", "\"a.b\".\"c\"\"d\"" },
		{ "public", "", "public.\"\"" },
		{ "public", "new\nline", "public.\"new\nline\"" },
		{ "public", "\xc3\xbc", "public.\"\xc3\xbc\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = quote_name(cases[i].schema, cases[i].name);

		assert_string_equal(text, cases[i].expect);
		free(text);
	}
}

static void
a_pattern_is_always_quoted(void **state)
{
	char *text = quote_pattern("public", "a*\"b");

	(void)state;
	assert_string_equal(text, "\"public\".\"a*\"\"b\"");
	free(text);
}

static void
a_literal_does_not_depend_on_settings(void **state)
{
	struct buf text = BUF_INIT;

	(void)state;
	quote_literal(&text, "it's");
	buf_addc(&text, ' ');
	quote_literal(&text, "a\\'b");
	assert_string_equal((char *)text.data, "'it''s' E'a\\\\''b'");
	buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_quoted_when_sql_needs_it),
		cmocka_unit_test(a_pattern_is_always_quoted),
		cmocka_unit_test(a_literal_does_not_depend_on_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
