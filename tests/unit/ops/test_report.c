#include "ops/ops.h"
#include "unit/repo/forged.h"

/* Which of the stored reports counts, where a thief of an agent's key has put some of his own (docs/repository-format.md, section 9). */

#define LATER "2999-12-31T23:59:59Z"

struct reader {
	struct world *w;
	struct settings settings;
	struct ops ops;
};

static void
reader_begin(struct reader *r)
{
	memset(r, 0, sizeof(*r));
	r->w = world_new();
	r->settings.store = (struct store_config){ .kind = STORE_FOLDER, .path = r->w->objects };
	r->settings.key_file = r->w->key;
	r->ops.settings = &r->settings;
	r->ops.progress = progress_new(true);
}

static void
reader_end(struct reader *r)
{
	progress_free(r->ops.progress);
	world_free(r->w);
}

static json_t *
report(struct reader *r, const char *backup)
{
	struct err e = ERR_INIT;
	json_t *outcome;

	must(ops_report(&r->ops, backup, &outcome, &e));
	return outcome;
}

static char *
drill_of(const char *backup, const char *verdict, const char *finished)
{
	return mem_printf("{\"command\":\"drill\",\"backup\":{\"id\":\"%s\",\"bytes\":5},\"verdict\":\"%s\",\"finished\":\"%s\",\"rto_ms\":1}", backup,
	    verdict, finished);
}

static void
put_genuine(struct reader *r, const char *backup, const char *verdict, const char *finished, char id[33])
{
	struct err e = ERR_INIT;
	char *text = drill_of(backup, verdict, finished);
	json_t *drill = json_parse(text, strlen(text), "a drill", &e);

	must(repo_put_report(r->w->repo, drill, id, &e));
	json_decref(drill);
	free(text);
}

static void
put_forged(struct reader *r, const char *backup, const char *finished, const char *signer, char id[33])
{
	char *text = drill_of(backup, "proven", finished);

	forged_report(r->w, text, signer, id);
	free(text);
}

static void
assert_shown(const json_t *outcome, const char *id, const char *verdict, bool valid)
{
	const json_t *signature = json_object_get(outcome, "signature");

	assert_string_equal(json_opt_str(signature, "report_id", "none"), id);
	assert_int_equal(json_is_true(json_object_get(signature, "valid")), valid);
	assert_string_equal(json_opt_str(json_object_get(outcome, "drill"), "verdict", "none"), verdict);
}

static bool
warns(const json_t *outcome, const char *words)
{
	json_t *w;
	size_t i;

	json_array_foreach(json_object_get(outcome, "warnings"), i, w)
		if (strstr(json_string_value(w), words) != NULL)
			return true;
	return false;
}

static void
forged_reports_hide_no_drill_and_are_no_part_of_the_history(void **state)
{
	struct reader r;
	char backup[33], earlier[33], genuine[33], forged[33], signer[65], stranger[65];
	json_t *outcome, *history;

	(void)state;
	reader_begin(&r);
	memset(stranger, 'a', 64);
	stranger[64] = '\0';
	backup_of(r.w->repo, (const uint8_t *)"twelve bytes", 12, "2026-11-24T02:15:00Z", backup);
	put_genuine(&r, backup, "proven", "2026-11-24T03:00:00Z", earlier);
	put_genuine(&r, backup, "failed", "2026-11-25T03:00:00Z", genuine);
	outcome = report(&r, NULL);
	assert_shown(outcome, genuine, "failed", true);
	assert_int_equal(json_opt_int(outcome, "left_out", -1), 0);
	assert_int_equal(json_array_size(json_object_get(outcome, "warnings")), 0);
	snprintf(signer, sizeof(signer), "%s", json_opt_str(json_object_get(outcome, "signature"), "signer", ""));
	json_decref(outcome);

	put_forged(&r, backup, LATER, stranger, forged);
	/* In the name of one who may sign, and older than all others as well. */
	put_forged(&r, backup, LATER, signer, forged);
	put_forged(&r, backup, "1999-01-01T00:00:00Z", signer, forged);
	for (int named = 0; named < 2; named++) {
		outcome = report(&r, named ? backup : NULL);
		history = json_object_get(outcome, "history");
		assert_shown(outcome, genuine, "failed", true);
		assert_int_equal(json_array_size(history), 2);
		assert_string_equal(json_opt_str(json_array_get(history, 0), "verdict", ""), "proven");
		assert_string_equal(json_opt_str(json_array_get(history, 1), "verdict", ""), "failed");
		assert_int_equal(json_opt_int(outcome, "left_out", -1), 3);
		assert_true(warns(outcome, "3 reports"));
		/* What is shown is genuine: no word against it. */
		assert_false(warns(outcome, "proves nothing"));
		json_decref(outcome);
	}
	reader_end(&r);
}

static void
a_forged_report_is_shown_only_where_no_other_is_and_then_with_a_warning(void **state)
{
	struct reader r;
	struct err e = ERR_INIT;
	char one[33], two[33], three[33], genuine[33], forged[33], older[33], nobody[65];
	json_t *outcome;

	(void)state;
	reader_begin(&r);
	memset(nobody, '0', 64);
	nobody[64] = '\0';
	backup_of(r.w->repo, (const uint8_t *)"one", 3, "2026-11-24T02:15:00Z", one);
	backup_of(r.w->repo, (const uint8_t *)"two", 3, "2026-11-25T02:15:00Z", two);
	backup_of(r.w->repo, (const uint8_t *)"three", 5, "2026-11-26T02:15:00Z", three);
	put_forged(&r, two, "2998-01-01T00:00:00Z", nobody, older);
	put_forged(&r, two, LATER, nobody, forged);
	outcome = report(&r, NULL);
	assert_shown(outcome, forged, "proven", false);
	assert_true(warns(outcome, "proves nothing"));
	assert_int_equal(json_array_size(json_object_get(outcome, "history")), 0);
	json_decref(outcome);

	put_genuine(&r, one, "proven", "2026-11-24T03:00:00Z", genuine);
	outcome = report(&r, two);
	assert_shown(outcome, forged, "proven", false);
	assert_true(warns(outcome, "proves nothing"));
	json_decref(outcome);
	outcome = report(&r, NULL);
	assert_shown(outcome, genuine, "proven", true);
	assert_true(warns(outcome, "2 reports"));
	json_decref(outcome);
	/* Nothing at all is no report. */
	assert_int_equal(ops_report(&r.ops, three, &outcome, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	json_decref(outcome);
	reader_end(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forged_reports_hide_no_drill_and_are_no_part_of_the_history),
		cmocka_unit_test(a_forged_report_is_shown_only_where_no_other_is_and_then_with_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
