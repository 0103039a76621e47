#include <stdlib.h>

#include <libxml/HTMLparser.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "base/mem.h"
#include "outcome.h"
#include "report/render.h"

/* The page of an outcome, read as XML: a parser that forgives nothing. */
static xmlDocPtr
page_of(const json_t *outcome)
{
	char *html = report_html(outcome);
	xmlDocPtr doc = xmlReadMemory(
	    html, (int)strlen(html), "report.html", "UTF-8", XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);

	if (doc == NULL)
		fail_msg("the page is not well-formed: %s", xmlGetLastError() == NULL ? "?" : xmlGetLastError()->message);
	free(html);
	return doc;
}

static double
count(xmlDocPtr doc, const char *path)
{
	xmlXPathContextPtr context = xmlXPathNewContext(doc);
	char *expression = mem_printf("count(%s)", path);
	xmlXPathObjectPtr result = xmlXPathEvalExpression((const xmlChar *)expression, context);
	double n;

	assert_non_null(result);
	n = result->floatval;
	xmlXPathFreeObject(result);
	xmlXPathFreeContext(context);
	free(expression);
	return n;
}

/* Elements by local name, since HTML and SVG have a namespace each. */
#define ELEMENT(name) "//*[local-name()='" name "']"

static void
assert_count(xmlDocPtr doc, const char *path, int expected)
{
	double n = count(doc, path);

	if ((int)n != expected)
		fail_msg("%s: %d instead of %d", path, (int)n, expected);
}

static void
assert_page_says(const json_t *outcome, const char *words)
{
	char *html = report_html(outcome);

	if (strstr(html, words) == NULL)
		fail_msg("the page does not say \"%s\"", words);
	free(html);
}

static void
assert_headline(const json_t *outcome, const char *headline)
{
	char *path = mem_printf("//*[local-name()='h1'][.='%s']", headline);
	xmlDocPtr doc = page_of(outcome);

	assert_count(doc, path, 1);
	assert_count(doc, ELEMENT("h1"), 1);
	xmlFreeDoc(doc);
	free(path);
}

static void
each_verdict_is_the_one_headline_of_its_page(void **state)
{
	static const char *const words[][2] = {
		{ "'proven'", "Proven" },
		{ "'differs'", "Differs" },
		{ "'failed'", "Failed" },
		{ "'not verifiable here'", "Not verifiable here" },
	};
	json_t *r = outcome_report();

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		outcome_set(outcome_drill_of(r), "verdict", words[i][0]);
		assert_headline(r, words[i][1]);
	}
	json_object_del(r, "drill");
	assert_headline(r, "No drill yet");
	json_decref(r);
}

/* The renderer is the last to see an outcome before a person does: whatever does not fit "proven" takes the word away. */
static void
nothing_that_contradicts_it_is_called_proven(void **state)
{
	static const char *const members[][2] = {
		{ "differences", "[{'database':'d','entry':'e','what':'rows'}]" }, { "checks", "[{'name':'c','ok':false}]" },
		{ "checks", "[{'name':'c'}]" }, { "amcheck", "{'ran':true,'problems':['torn']}" },
		{ "databases", "[{'name':'d','entries':5,'equal':4}]" }, { "databases", "[{'name':'d','entries':5}]" },
		{ "databases", "[{'name':'d','schema':'differs'}]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *r = outcome_report();

		outcome_set(outcome_drill_of(r), members[i][0], members[i][1]);
		assert_headline(r, "Failed");
		json_decref(r);
	}
}

static void
a_verdict_that_is_none_of_ours_is_failed(void **state)
{
	static const char *const words[] = { "'PROVEN'", "'proven '", "''", "null", "true", "1" };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		json_t *r = outcome_report();

		outcome_set(outcome_drill_of(r), "verdict", words[i]);
		assert_headline(r, "Failed");
		json_decref(r);
	}
}

/* R47 */
static void
a_report_whose_signature_does_not_hold_says_so_first(void **state)
{
	json_t *r = outcome_report();

	(void)state;
	outcome_set(json_object_get(r, "signature"), "valid", "false");
	assert_headline(r, "Signature not valid");
	json_object_del(json_object_get(r, "signature"), "valid");
	assert_headline(r, "Signature not valid");
	json_decref(r);
}

static void
a_page_needs_nothing_from_outside_and_runs_nothing(void **state)
{
	json_t *r = outcome_report();
	xmlDocPtr doc = page_of(r);
	char *html = report_html(r);

	(void)state;
	assert_count(doc, ELEMENT("script"), 0);
	assert_count(doc, "//@src | //@href | //@*[starts-with(local-name(), 'on')]", 0);
	assert_count(doc,
	    "//*[local-name()='meta'][@http-equiv='Content-Security-Policy'][starts-with(@content, \"default-src 'none'\")]", 1);
	assert_null(strstr(html, "url("));
	assert_null(strstr(html, "@import"));
	free(html);
	xmlFreeDoc(doc);
	json_decref(r);
}

static void
charts_and_tables_can_be_followed_without_seeing_them(void **state)
{
	json_t *r = outcome_report();
	xmlDocPtr doc = page_of(r);

	(void)state;
	assert_true(count(doc, "//*[local-name()='svg'][@role='img']") >= 8);
	assert_count(doc, "//*[local-name()='svg'][@role='img'][not(*[local-name()='title'] and *[local-name()='desc'])]", 0);
	assert_count(doc,
	    "//*[local-name()='svg'][@role='img'][@aria-labelledby != concat(*[local-name()='title']/@id, ' ', "
	    "*[local-name()='desc']/@id)]",
	    0);
	assert_count(doc, "//*[local-name()='svg'][not(@role='img') and not(@aria-hidden='true')]", 0);
	assert_count(doc, "//*[local-name()='th'][not(@scope)]", 0);
	assert_count(doc, "//*[local-name()='table'][not(*[local-name()='caption'])]", 0);
	assert_count(doc, "//@id[. = preceding::*/@id]", 0);
	xmlFreeDoc(doc);
	json_decref(r);
}

/* Whoever may create a table in the source writes into this page; it must have the same elements whatever the name is. */
static void
a_hostile_name_changes_no_element_of_the_page(void **state)
{
	json_t *tame = outcome_report(), *hostile = outcome_report();
	xmlDocPtr a, b;
	char *html;

	(void)state;
	outcome_set(outcome_drill_of(tame), "differences", "[{'database':'d','entry':'e','what':'rows'}]");
	outcome_set(outcome_drill_of(hostile), "differences", "[{'database':'d','entry':'e','what':'rows'}]");
	outcome_rename(tame, "x");
	outcome_rename(hostile, HOSTILE_NAME);
	a = page_of(tame);
	b = page_of(hostile);
	assert_count(b, "//*", (int)count(a, "//*"));
	assert_count(b, "//@*", (int)count(a, "//@*"));
	assert_count(b, ELEMENT("script") " | " ELEMENT("img"), 0);
	html = report_html(hostile);
	for (const char *c = html; *c != '\0'; c++)
		if (((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f)
			fail_msg("control character %#x in the page", *c);
	assert_null(strstr(html, "\xe2\x80\xae"));
	assert_non_null(strstr(html, "U+202E"));
	free(html);
	xmlFreeDoc(a);
	xmlFreeDoc(b);
	json_decref(tame);
	json_decref(hostile);
}

/* HTML parsers forgive; ours must give them nothing to forgive. */
static void
the_page_reads_the_same_as_html(void **state)
{
	json_t *r = outcome_report();
	char *html = report_html(r);
	xmlDocPtr as_xml = page_of(r);
	htmlDocPtr as_html = htmlReadMemory(
	    html, (int)strlen(html), "report.html", "UTF-8", HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET);

	(void)state;
	assert_non_null(as_html);
	assert_count(as_html, "//*", (int)count(as_xml, "//*"));
	xmlFreeDoc(as_html);
	xmlFreeDoc(as_xml);
	free(html);
	json_decref(r);
}

static void
render_all(const json_t *outcome)
{
	char *text = report_text(outcome, true, 80), *markdown = report_markdown(outcome);

	xmlFreeDoc(page_of(outcome));
	free(text);
	free(markdown);
}

static void
replace_each(json_t *root, json_t *object)
{
	static const char *const values[] = { "null", "true", "-1", "9223372036854775807", "1.5", "''", "[]", "{}",
		"[null,1,'x',[],{}]" };
	const char *key;
	json_t *member;
	void *next;

	json_object_foreach_safe(object, next, key, member) {
		json_t *old = json_incref(member);

		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			outcome_set(object, key, values[i]);
			render_all(root);
		}
		json_put(object, key, old);
		replace_each(root, old);
	}
}

static void
a_member_that_is_missing_or_of_another_type_spoils_no_report(void **state)
{
	static const char *const wholes[] = { "{}", "[]", "{'drill':null}", "{'drill':[]}", "{'command':'drill'}",
		"{'backups':[{}],'history':[{}]}" };
	json_t *r = outcome_report();

	(void)state;
	for (size_t i = 0; i < sizeof(wholes) / sizeof(wholes[0]); i++) {
		json_t *o = outcome_parse(wholes[i]);

		render_all(o);
		json_decref(o);
	}
	replace_each(r, r);
	json_decref(r);
}

static json_t *
many(const char *element, size_t n)
{
	json_t *holder = json_object(), *list = json_array();

	outcome_set(holder, "element", element);
	for (size_t i = 0; i < n; i++)
		json_add(list, json_incref(json_object_get(holder, "element")));
	json_decref(holder);
	return list;
}

static void
a_thousand_backups_and_ten_thousand_differences_stay_readable(void **state)
{
	json_t *r = outcome_report();
	char *html, *markdown, *text;

	(void)state;
	json_put(r, "backups", many("{'id':'aaaa1111','time':'2026-11-23T02:00:00Z','bytes':7,'last_verdict':'failed'}", 1000));
	json_put(r, "history", many("{'time':'2026-11-23T02:00:00Z','verdict':'failed','rto_ms':7}", 1000));
	outcome_set(outcome_drill_of(r), "verdict", "'differs'");
	json_put(outcome_drill_of(r), "differences",
	    many("{'database':'d','entry':'e','what':'rows','source_rows':2,'restored_rows':1}", 10000));
	json_put(outcome_drill_of(r), "not_covered", many("'this'", 10000));
	assert_page_says(r, "and 9,950 more");
	assert_page_says(r, "newest 90 of 1,000");
	html = report_html(r);
	markdown = report_markdown(r);
	text = report_text(r, false, 80);
	assert_true(strlen(html) < 256 * 1024);
	assert_true(strlen(markdown) < 32 * 1024);
	assert_true(strlen(text) < 8 * 1024);
	assert_non_null(strstr(markdown, "and 9,950 more"));
	assert_non_null(strstr(text, "and 9,990 more"));
	xmlFreeDoc(page_of(r));
	free(html);
	free(markdown);
	free(text);
	json_decref(r);
}

static void
a_single_backup_or_none_makes_a_page_too(void **state)
{
	json_t *r = outcome_report();

	(void)state;
	json_array_remove(json_object_get(r, "backups"), 0);
	render_all(r);
	json_array_clear(json_object_get(r, "backups"));
	json_array_clear(json_object_get(r, "history"));
	render_all(r);
	json_decref(r);
}

static void
the_same_outcome_gives_the_same_bytes(void **state)
{
	json_t *r = outcome_report();
	char *first = report_html(r), *second = report_html(r);

	(void)state;
	assert_string_equal(first, second);
	free(first);
	free(second);
	json_decref(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_verdict_is_the_one_headline_of_its_page),
		cmocka_unit_test(nothing_that_contradicts_it_is_called_proven),
		cmocka_unit_test(a_verdict_that_is_none_of_ours_is_failed),
		cmocka_unit_test(a_report_whose_signature_does_not_hold_says_so_first),
		cmocka_unit_test(a_page_needs_nothing_from_outside_and_runs_nothing),
		cmocka_unit_test(charts_and_tables_can_be_followed_without_seeing_them),
		cmocka_unit_test(a_hostile_name_changes_no_element_of_the_page),
		cmocka_unit_test(the_page_reads_the_same_as_html),
		cmocka_unit_test(a_member_that_is_missing_or_of_another_type_spoils_no_report),
		cmocka_unit_test(a_thousand_backups_and_ten_thousand_differences_stay_readable),
		cmocka_unit_test(a_single_backup_or_none_makes_a_page_too),
		cmocka_unit_test(the_same_outcome_gives_the_same_bytes),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	xmlCleanupParser();
	return failed;
}
