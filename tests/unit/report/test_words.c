#include <stdlib.h>

#include "base/width.h"
#include "outcome.h"
#include "report/clean.h"
#include "report/facts.h"
#include "report/render.h"
#include "report/say.h"

static void
assert_clean(const char *text, size_t limit, const char *expected)
{
	struct buf b = BUF_INIT;

	clean_line(&b, text, limit);
	buf_add(&b, "", 0);
	assert_string_equal((char *)b.data, expected);
	buf_free(&b);
}

static void
control_characters_become_pictures_of_themselves(void **state)
{
	(void)state;
	assert_clean("a\x1b[2J\n\x7f", 99, "a␛[2J␊␡");
	assert_clean("\xc2\x9b" "31m", 99, "\xef\xbf\xbd" "31m");
	assert_clean(
	    "\xff\xc0\xaf\xed\xa0\x80z", 99, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
	assert_clean("a\xe2\x80\xae" "b\xe2\x80\x8b", 99, "a‹U+202E›b‹U+200B›");
}

static void
names_of_any_script_stay_as_they_are(void **state)
{
	(void)state;
	assert_clean("表 naïve 🐈 👩\xe2\x80\x8d💻", 99, "表 naïve 🐈 👩\xe2\x80\x8d💻");
	/* Isolated, so that the words around keep their order. */
	assert_clean("שלום", 99, "\xe2\x81\xa8שלום\xe2\x81\xa9");
}

static void
a_long_name_keeps_its_beginning_and_its_end(void **state)
{
	(void)state;
	assert_clean("0123456789abcdef", 9, "012345…def");
	assert_clean("012345678", 9, "012345678");
}

static void
numbers_are_said_as_people_read_them(void **state)
{
	(void)state;
	assert_string_equal(COUNT(0), "0");
	assert_string_equal(COUNT(999), "999");
	assert_string_equal(COUNT(1234567), "1,234,567");
	assert_string_equal(COUNT(INT64_MAX), "9,223,372,036,854,775,807");
	assert_string_equal(COUNT(-1), "unknown");
	assert_string_equal(MS(50LL * 3600 * 1000), "2 d 02 h");
	assert_string_equal(PERCENT(1, 1000), "under 1 %");
	assert_string_equal(PERCENT(1, 0), "unknown");
	assert_string_equal(TIME(0), "1970-01-01 00:00:00 UTC");
}

static void
the_loss_is_counted_from_the_newest_proven_backup_and_not_from_the_newest(void **state)
{
	json_t *r = outcome_report(), *newest = json_array_get(json_object_get(r, "backups"), 1);
	struct facts f;

	(void)state;
	facts_read(&f, r);
	assert_string_equal(f.proven_id, "bbbb2222");
	assert_int_equal(facts_age_ms(&f, f.proven_us), 6 * 3600 * 1000);
	assert_int_equal(f.gap_ms, 24 * 3600 * 1000);
	/* Proven once, but its newest drill failed: not one to count on. */
	outcome_set(newest, "last_verdict", "'failed'");
	outcome_set(outcome_drill_of(r), "verdict", "'failed'");
	facts_read(&f, r);
	assert_string_equal(f.proven_id, "aaaa1111");
	assert_string_equal(f.newest_id, "bbbb2222");
	/* Proven once, and since then only looked at where it could not be verified: as proven as before. */
	outcome_set(newest, "last_verdict", "'not verifiable here'");
	facts_read(&f, r);
	assert_string_equal(f.proven_id, "bbbb2222");
	json_decref(r);
}

/* R47 */
static void
a_forged_report_proves_nothing_about_its_backup(void **state)
{
	json_t *r = outcome_report();
	struct facts f;

	(void)state;
	json_object_del(r, "backups");
	facts_read(&f, r);
	assert_true(f.proven_us > 0);
	outcome_set(json_object_get(r, "signature"), "valid", "false");
	facts_read(&f, r);
	assert_true(f.forged);
	assert_int_equal(f.proven_us, -1);
	json_decref(r);
}

/* R22: order is by time, whatever the order of the list. */
static void
the_newest_backup_is_the_newest_by_time(void **state)
{
	json_t *r = outcome_parse(
	    "{'backups':[{'id':'b','time':'2026-11-02T00:00:00Z'},{'id':'a','time':'2026-11-01T00:00:00Z'},{'id':'c'}]}");
	struct facts f;

	(void)state;
	facts_read(&f, r);
	assert_string_equal(f.newest_id, "b");
	json_decref(r);
}

/* ---- Markdown ---- */

static size_t
bars(const char *line, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		if (line[i] == '\\')
			i++;
		else if (line[i] == '|')
			n++;
	return n;
}

static void
every_row_of_a_markdown_table_has_the_cells_of_its_head(void **state)
{
	json_t *r = outcome_report();
	size_t head = 0, rows = 0;
	char *text;

	(void)state;
	outcome_set(outcome_drill_of(r), "differences", "[{'database':'d','entry':'e','what':'rows'}]");
	outcome_rename(r, HOSTILE_NAME);
	text = report_markdown(r);
	for (char *line = text, *end; *line != '\0'; line = end + 1) {
		end = strchrnul(line, '\n');
		if (*line != '|')
			head = 0;
		else if (head == 0)
			head = bars(line, (size_t)(end - line));
		else if (rows++, bars(line, (size_t)(end - line)) != head)
			fail_msg("another number of cells: %.*s", (int)(end - line), line);
		if (*end == '\0')
			break;
	}
	assert_true(rows > 20);
	free(text);
	json_decref(r);
}

static void
markdown_lets_no_name_act(void **state)
{
	json_t *r = outcome_report();
	char *text, *fenced;

	(void)state;
	outcome_rename(r, HOSTILE_NAME);
	text = report_markdown(r);
	/* A schema's text stands as it is, inside its fence. */
	fenced = strstr(text, "```diff");
	assert_non_null(fenced);
	fenced = strstr(fenced + 7, "\n```\n");
	assert_non_null(fenced);
	assert_null(strchr(fenced, '<'));
	assert_null(strstr(fenced, "[a]("));
	assert_non_null(strstr(fenced, "\\[a\\](javascript"));
	assert_null(strchr(text, '\x1b'));
	assert_null(strchr(text, '\r'));
	free(text);
	json_decref(r);
}

static void
a_schema_cannot_close_the_fence_around_it(void **state)
{
	json_t *r = outcome_report(), *db = json_array_get(json_object_get(outcome_drill_of(r), "databases"), 0);
	char *text;

	(void)state;
	json_put_str(db, "schema_diff", "-a\n```\n# not a heading\n````\n");
	text = report_markdown(r);
	assert_non_null(strstr(text, "\n`````diff\n-a\n```\n# not a heading\n````\n`````\n"));
	free(text);
	json_decref(r);
}

/* ---- terminal ---- */

/* Columns of a line; fails at any control character but the colours that are ours. */
static size_t
columns(const char *line, size_t length, bool colour)
{
	struct buf plain = BUF_INIT;
	size_t n;

	for (size_t i = 0; i < length; i++) {
		if (colour && line[i] == '\033') {
			size_t m = strspn(line + i, "\033[0123456789");

			assert_int_equal(line[i + m], 'm');
			i += m;
			continue;
		}
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			fail_msg("control character %#x for a terminal", line[i]);
		buf_addc(&plain, line[i]);
	}
	buf_add(&plain, "", 0);
	n = width_of((char *)plain.data);
	buf_free(&plain);
	return n;
}

static void
assert_fits(const json_t *r, bool colour, unsigned width)
{
	char *text = report_text(r, colour, width);

	for (char *line = text, *end; *line != '\0'; line = end + 1) {
		size_t n;

		end = strchr(line, '\n');
		assert_non_null(end);
		n = columns(line, (size_t)(end - line), colour);
		if (n > width || (strncmp(line, "│", 3) == 0 && n != width))
			fail_msg("%zu columns instead of %u: %.*s", n, width, (int)(end - line), line);
	}
	free(text);
}

static void
a_terminal_gets_no_control_character_and_no_line_that_is_too_long(void **state)
{
	static const unsigned widths[] = { 48, 80, 100, 132 };
	json_t *r = outcome_report(), *h = outcome_report();

	(void)state;
	outcome_set(
	    outcome_drill_of(h), "differences", "[{'database':'d','entry':'e','what':'rows','source_rows':1,'restored_rows':0}]");
	outcome_rename(h, HOSTILE_NAME);
	for (size_t i = 0; i < 4; i++) {
		assert_fits(r, false, widths[i]);
		assert_fits(r, true, widths[i]);
		assert_fits(h, false, widths[i]);
		assert_fits(h, true, widths[i]);
	}
	json_decref(r);
	json_decref(h);
}

static void
the_verdict_is_the_first_thing_on_the_terminal(void **state)
{
	json_t *r = outcome_report();
	char *text = report_text(r, false, 0);

	(void)state;
	assert_non_null(strstr(text, "✔ PROVEN"));
	assert_true(strstr(text, "✔ PROVEN") < strstr(text, "Restore"));
	assert_non_null(strstr(text, "1 of 2 measures enforced; not: landlock"));
	free(text);
	json_decref(r);
}

static void
the_outcome_of_a_drill_alone_is_a_report_too(void **state)
{
	json_t *r = outcome_report();
	char *text = report_markdown(outcome_drill_of(r));

	(void)state;
	assert_non_null(strstr(text, "**Proven.**"));
	assert_non_null(strstr(text, "the backup of this drill"));
	assert_non_null(strstr(text, "carries no signature"));
	free(text);
	json_decref(r);
}

/* Words of a text as one line each reads, whatever the lines are broken to. */
static bool
says(const char *text, const char *words)
{
	for (; *text != '\0'; text++) {
		const char *a = text, *b = words;

		while (*b != '\0' && (*a == *b || (*b == ' ' && (*a == '\n' || strncmp(a, "│", 3) == 0)))) {
			if (*b == ' ')
				while (*a == ' ' || *a == '\n' || strncmp(a, "│", 3) == 0)
					a += strncmp(a, "│", 3) == 0 ? 3 : 1;
			else
				a++;
			b++;
		}
		if (*b == '\0')
			return true;
	}
	return false;
}

static void
rows_in_another_order_are_a_note_and_no_difference(void **state)
{
	json_t *r = outcome_report(), *database = json_array_get(json_object_get(outcome_drill_of(r), "databases"), 0);
	char *text, *markdown, *html;

	(void)state;
	outcome_set(database, "row_order", "['public.heap']");
	text = report_text(r, false, 80);
	markdown = report_markdown(r);
	html = report_html(r);
	assert_non_null(strstr(text, "✔ PROVEN"));
	/* It is not called what it is not. */
	assert_true(says(text, "what came back is, row for row, what was in the snapshot"));
	assert_null(strstr(text, "byte for byte"));
	assert_true(says(text, "1 table came back with the same rows in another order, which counts as equal"));
	assert_non_null(strstr(markdown, "the rows of 1 table (public.heap) came back in another order"));
	assert_non_null(strstr(html, "came back in another order"));
	assert_non_null(strstr(markdown, "None were found."));
	free(text);
	free(markdown);
	free(html);
	json_decref(r);
}

static void
what_failed_beside_equal_entries_is_not_called_a_difference(void **state)
{
	json_t *r = outcome_report(), *drill = outcome_drill_of(r);
	char *text;

	(void)state;
	outcome_set(drill, "verdict", "'differs'");
	outcome_set(drill, "reason", "'1 check failed'");
	outcome_set(drill, "checks", "[{'name':'recent','database':'langfuse','ok':false,'value':'0','expected':'1'}]");
	text = report_text(r, false, 80);
	assert_true(says(text, "every entry came back equal, but it is not proven: 1 check failed."));
	free(text);
	json_decref(r);
}

static void
objects_that_did_not_come_back_are_shown_and_contradict_a_proof(void **state)
{
	json_t *r = outcome_report(), *database = json_array_get(json_object_get(outcome_drill_of(r), "databases"), 0);
	char *text;

	(void)state;
	outcome_set(database, "objects", "[{'class':'tables','source':5,'restored':5},{'class':'triggers','source':3,'restored':2}]");
	text = report_text(r, false, 80);
	assert_null(strstr(text, "✔ PROVEN"));
	assert_non_null(strstr(text, "triggers"));
	assert_null(strstr(text, "tables  "));          /* only what differs */
	free(text);
	json_decref(r);
}

static void
warnings_of_a_drill_that_was_read_back_are_on_the_terminal(void **state)
{
	json_t *r = outcome_report();
	char *text;

	(void)state;
	outcome_set(outcome_drill_of(r), "warnings", "['a setting was left out']");
	text = report_text(r, false, 80);
	assert_non_null(strstr(text, "a setting was left out"));
	/* Whoever prints the report says its own on stderr. */
	assert_null(strstr(text, "roles were dumped without passwords"));
	free(text);
	json_decref(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters_become_pictures_of_themselves),
		cmocka_unit_test(names_of_any_script_stay_as_they_are),
		cmocka_unit_test(a_long_name_keeps_its_beginning_and_its_end),
		cmocka_unit_test(numbers_are_said_as_people_read_them),
		cmocka_unit_test(the_loss_is_counted_from_the_newest_proven_backup_and_not_from_the_newest),
		cmocka_unit_test(a_forged_report_proves_nothing_about_its_backup),
		cmocka_unit_test(the_newest_backup_is_the_newest_by_time),
		cmocka_unit_test(every_row_of_a_markdown_table_has_the_cells_of_its_head),
		cmocka_unit_test(markdown_lets_no_name_act),
		cmocka_unit_test(a_schema_cannot_close_the_fence_around_it),
		cmocka_unit_test(a_terminal_gets_no_control_character_and_no_line_that_is_too_long),
		cmocka_unit_test(the_verdict_is_the_first_thing_on_the_terminal),
		cmocka_unit_test(the_outcome_of_a_drill_alone_is_a_report_too),
		cmocka_unit_test(rows_in_another_order_are_a_note_and_no_difference),
		cmocka_unit_test(what_failed_beside_equal_entries_is_not_called_a_difference),
		cmocka_unit_test(objects_that_did_not_come_back_are_shown_and_contradict_a_proof),
		cmocka_unit_test(warnings_of_a_drill_that_was_read_back_are_on_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
