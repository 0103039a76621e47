#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/width.h"

static void
check_cut(const char *text, size_t columns, const char *expected)
{
	struct buf out = BUF_INIT;
	size_t used = width_add(&out, text, columns);

	buf_add(&out, NULL, 0);
	assert_string_equal((char *)out.data, expected);
	assert_int_equal(used, width_of(expected));
	assert_true(used <= columns);
	buf_free(&out);
}

static void
a_wide_character_takes_two_columns_and_a_combining_one_none(void **state)
{
	(void)state;
	assert_int_equal(width_of(""), 0);
	assert_int_equal(width_of("traces"), 6);
	assert_int_equal(width_of("größe"), 5);
	assert_int_equal(width_of("資料"), 4);
	assert_int_equal(width_of("e\xcc\x81"), 1);
}

static void
what_is_too_long_is_cut_between_characters(void **state)
{
	(void)state;
	check_cut("traces", 6, "traces");
	check_cut("traces", 5, "trac…");
	check_cut("traces", 1, "…");
	check_cut("traces", 0, "");
	check_cut("資料庫", 6, "資料庫");
	check_cut("資料庫", 5, "資料…");
	check_cut("資料庫", 4, "資…");
}

static void
a_name_cannot_send_an_escape_sequence_or_turn_the_line_around(void **state)
{
	(void)state;
	check_cut("a\033[2Jb", SIZE_MAX, "a\xef\xbf\xbd[2Jb");
	check_cut("a\nb\rc\x7f", SIZE_MAX, "a\xef\xbf\xbd" "b\xef\xbf\xbd" "c\xef\xbf\xbd");
	check_cut("\xe2\x80\xae" "gpj", SIZE_MAX, "\xef\xbf\xbd" "gpj");
	check_cut("\xc2\x9b" "31m", SIZE_MAX, "\xef\xbf\xbd" "31m");        /* CSI as one C1 character */
}

static void
bytes_that_are_no_text_are_replaced_one_by_one(void **state)
{
	(void)state;
	check_cut("\xff\xfe", SIZE_MAX, "\xef\xbf\xbd\xef\xbf\xbd");
	check_cut("\xc3", SIZE_MAX, "\xef\xbf\xbd");                            /* ends in the middle */
	check_cut("\xe8\xb3", SIZE_MAX, "\xef\xbf\xbd\xef\xbf\xbd");
	check_cut("\xc0\xaf", SIZE_MAX, "\xef\xbf\xbd\xef\xbf\xbd");            /* an overlong "/" */
	check_cut("\xed\xa0\x80", SIZE_MAX, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
}

static void
check_middle(const char *text, size_t columns, const char *expected)
{
	struct buf out = BUF_INIT;

	assert_int_equal(width_add_middle(&out, text, columns), width_of(expected));
	buf_add(&out, NULL, 0);
	assert_string_equal((char *)out.data, expected);
	buf_free(&out);
}

static void
a_name_that_is_cut_in_the_middle_keeps_both_ends(void **state)
{
	(void)state;
	check_middle("langfuse/public.observations", 28, "langfuse/public.observations");
	check_middle("langfuse/public.observations", 15, "langfus…vations");
	check_middle("abcdef", 2, "a…");
	check_middle("abcdef", 3, "a…f");
	check_middle("", 3, "");
	/* Wide characters are not halved, nor is an accent left without its letter. */
	check_middle("資料資料資料", 7, "資…料");
	check_middle("ae\xcc\x81xe\xcc\x81", 3, "a…e\xcc\x81");
	check_middle("a\033[2Jb\033[2Jc", 7, "a\xef\xbf\xbd[…2Jc");
}

static void
check_lines(const char *text, size_t columns, const char *expected)
{
	struct buf out = BUF_INIT;

	do {
		char *line = width_line(&text, columns);

		assert_true(width_of(line) <= columns);
		buf_addf(&out, "%s|", line);
		free(line);
	} while (*text != '\0');
	assert_string_equal((char *)out.data, expected);
	buf_free(&out);
}

static void
a_paragraph_is_broken_between_words_and_loses_none(void **state)
{
	(void)state;
	check_lines("", 10, "|");
	check_lines("one", 3, "one|");
	check_lines("one two three", 7, "one two|three|");
	check_lines("one two three", 8, "one two|three|");
	check_lines("one two three", 6, "one|two|three|");
	check_lines("one  two", 4, "one |two|");
	check_lines("資料 庫", 4, "資料|庫|");
	/* A word that is longer than a line. */
	check_lines("abcdefg hi", 3, "abc|def|g|hi|");
	check_lines("資料庫", 5, "資料|庫|");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wide_character_takes_two_columns_and_a_combining_one_none),
		cmocka_unit_test(what_is_too_long_is_cut_between_characters),
		cmocka_unit_test(a_name_cannot_send_an_escape_sequence_or_turn_the_line_around),
		cmocka_unit_test(bytes_that_are_no_text_are_replaced_one_by_one),
		cmocka_unit_test(a_name_that_is_cut_in_the_middle_keeps_both_ends),
		cmocka_unit_test(a_paragraph_is_broken_between_words_and_loses_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
