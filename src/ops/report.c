#include <string.h>

#include "base/clock.h"
#include "ops/common.h"

static json_t *
history_row(const json_t *drill)
{
	const json_t *backup = json_object_get(drill, "backup");
	json_t *row = json_object();

	json_put_str(row, "time", json_opt_str(drill, "finished", NULL));
	json_put_str(row, "backup", json_opt_str(backup, "id", NULL));
	json_put_str(row, "verdict", json_opt_str(drill, "verdict", NULL));
	json_put(row, "rto_ms", json_incref(json_object_get(drill, "rto_ms") != NULL ? json_object_get(drill, "rto_ms") : json_null()));
	json_put_int(row, "bytes", json_opt_int(backup, "bytes", 0));
	return row;
}

static void
put_signature(json_t *outcome, const struct repo_report *report)
{
	json_t *signature = json_object();

	json_put_str(signature, "signer", report->signer);
	json_put_str(signature, "holder", report->signer_name);
	json_put_bool(signature, "valid", report->valid);
	json_put_str(signature, "report_id", report->id);
	json_put(outcome, "signature", signature);
	if (!report->valid)
		ops_warn(outcome, "report %.12s was changed, or its signer is no holder of this repository (any more): it proves nothing", report->id);
}

static void
put_backups(json_t *outcome, json_t *backups)
{
	json_t *oldest_first = json_array();

	for (size_t i = json_array_size(backups); i-- > 0;)
		json_add(oldest_first, json_incref(json_array_get(backups, i)));
	json_put(outcome, "backups", oldest_first);
}

static bool
is_of(const struct repo_report *report, const char *wanted)
{
	return wanted == NULL || strcmp(json_opt_str(json_object_get(report->outcome, "backup"), "id", ""), wanted) == 0;
}

/*
 * The newest one that counts.  Whoever has an agent's key can put a report of any date, but no valid one (format, section 9): only where
 * there is nothing else is such a one shown, with its warning, since somebody may want to see what was put.
 */
static const struct repo_report *
choose(const struct repo_report *reports, size_t count, const char *wanted)
{
	const struct repo_report *chosen = NULL;

	for (size_t i = 0; i < count; i++)      /* oldest first */
		if (is_of(&reports[i], wanted) && (chosen == NULL || reports[i].valid || !chosen->valid))
			chosen = &reports[i];
	return chosen;
}

/* What does not count has no place among the drills, and its absence is said: it is a trace of whoever put it. */
static void
put_history(json_t *outcome, const struct repo_report *reports, size_t count)
{
	json_t *history = json_array();
	size_t left_out = 0;

	for (size_t i = 0; i < count; i++) {
		if (reports[i].valid)
			json_add(history, history_row(reports[i].outcome));
		else
			left_out++;
	}
	json_put(outcome, "history", history);
	json_put_int(outcome, "left_out", (int64_t)left_out);
	if (left_out > 0)
		ops_warn(outcome, "%zu %s not counted as %s: changed, or signed by no holder of this repository (any more)", left_out,
		    left_out == 1 ? "report is" : "reports are", left_out == 1 ? "a drill" : "drills");
}

static int
gather(struct repo *r, const char *wanted, json_t *outcome, struct err *e)
{
	struct repo_report *reports;
	const struct repo_report *chosen;
	json_t *backups;
	size_t count;
	char now[CLOCK_TEXT];

	json_put_str(outcome, "time", clock_format_s(now, clock_wall_us()));
	if (ops_backups(r, false, &backups, e))
		return -1;
	put_backups(outcome, backups);
	json_decref(backups);
	if (ops_reports(r, false, &reports, &count, e))
		return -1;
	put_history(outcome, reports, count);
	chosen = choose(reports, count, wanted);
	json_put(outcome, "drill", chosen != NULL ? json_incref(chosen->outcome) : json_null());
	if (chosen != NULL)
		put_signature(outcome, chosen);
	repo_reports_free(reports, count);
	if (chosen != NULL || wanted == NULL)
		return 0;
	err_set(e, ERR_NOT_FOUND, "backup %.12s was never drilled", wanted);
	return err_hint(e, "`holdfast drill %.12s` does it now.", wanted);
}

int
ops_report(const struct ops *o, const char *backup, json_t **outcome, struct err *e)
{
	struct opened opened;
	char id[33];
	int rc;

	*outcome = ops_outcome("report");
	/* Of reports "latest" is the newest report: the newest backup is seldom drilled yet, and nobody asks for a report that is not there. */
	if (backup != NULL && strcmp(backup, "latest") == 0)
		backup = NULL;
	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	rc = backup != NULL ? repo_resolve(opened.repo, backup, id, e) : 0;
	if (rc == 0)
		rc = gather(opened.repo, backup != NULL ? id : NULL, *outcome, e);
	ops_close(&opened);
	return rc;
}
