#include "report/facts.h"

#include <string.h>

#include "base/clock.h"

enum verdict
facts_verdict(const char *word)
{
	if (word == NULL)
		return VERDICT_NO_DRILL;
	for (enum verdict v = VERDICT_PROVEN; v <= VERDICT_UNVERIFIABLE; v++)
		if (strcmp(word, facts_verdict_name(v)) == 0)
			return v;
	return VERDICT_FAILED;
}

const char *
facts_verdict_name(enum verdict verdict)
{
	static const char *const names[] = {
		[VERDICT_NO_DRILL] = "no drill", [VERDICT_PROVEN] = "proven", [VERDICT_DIFFERS] = "differs",
		[VERDICT_FAILED] = "failed", [VERDICT_UNVERIFIABLE] = "not verifiable here",
	};

	return names[verdict];
}

int64_t
facts_time(const json_t *object, const char *key)
{
	const char *text = json_opt_str(object, key, NULL);
	struct err e = ERR_INIT;
	int64_t us;

	return text == NULL || clock_parse(&us, text, &e) != 0 || us < 0 ? -1 : us;
}

int64_t
facts_int(const json_t *object, const char *key)
{
	int64_t n = json_opt_int(object, key, -1);

	return n < 0 ? -1 : n;
}

int64_t
facts_age_ms(const struct facts *f, int64_t wall_us)
{
	if (f->now_us < 0 || wall_us < 0 || wall_us > f->now_us)
		return -1;
	return (f->now_us - wall_us) / 1000;
}

bool
facts_phase_counts(const json_t *phase)
{
	static const char *const names[] = { "globals", "restore", "amcheck", "checks", "start", "replay" };
	const json_t *own = json_object_get(phase, "rto");

	if (json_is_boolean(own))
		return json_is_true(own);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(json_opt_str(phase, "name", ""), names[i]) == 0)
			return true;
	return false;
}

/* Adds what is known; a sum of which a part is unknown would be a lie, but one database without a count is no reason to
 * withhold the others'. */
static void
add(int64_t *sum, int64_t n)
{
	if (n >= 0 && __builtin_add_overflow(*sum < 0 ? 0 : *sum, n, sum))
		*sum = INT64_MAX;
}

static bool
read_databases(struct facts *f)
{
	bool clean = true;
	size_t i, k;
	const json_t *d, *o;

	json_array_foreach(json_object_get(f->drill, "databases"), i, d) {
		int64_t entries = facts_int(d, "entries"), equal = facts_int(d, "equal");

		add(&f->entries, entries);
		add(&f->equal, equal);
		add(&f->rows, facts_int(d, "rows"));
		add(&f->bytes, facts_int(d, "bytes"));
		f->moved += (int64_t)json_array_size(json_object_get(d, "row_order"));
		if (equal < entries || strcmp(json_opt_str(d, "schema", ""), "differs") == 0)
			clean = false;
		json_array_foreach(json_object_get(d, "objects"), k, o)
			if (!json_equal(json_object_get(o, "source"), json_object_get(o, "restored")))
				clean = false;
	}
	return clean;
}

static void
read_drill(struct facts *f)
{
	const json_t *amcheck = json_object_get(f->drill, "amcheck"), *c;
	const char *verdict = json_opt_str(f->drill, "verdict", NULL);
	bool clean = read_databases(f);
	size_t i;

	f->verdict = verdict == NULL ? VERDICT_FAILED : facts_verdict(verdict);
	f->reason = json_opt_str(f->drill, "reason", json_opt_str(json_object_get(f->drill, "error"), "message", NULL));
	f->rto_ms = facts_int(f->drill, "rto_ms");
	f->finished_us = facts_time(f->drill, "finished");
	f->differences = (int64_t)json_array_size(json_object_get(f->drill, "differences"));
	json_array_foreach(json_object_get(f->drill, "checks"), i, c) {
		f->checks++;
		if (json_is_true(json_object_get(c, "ok")))
			f->checks_passed++;
	}
	if (f->differences > 0 || f->checks_passed < f->checks || json_array_size(json_object_get(amcheck, "problems")) > 0)
		clean = false;
	if (f->verdict == VERDICT_PROVEN && !clean) {
		f->verdict = VERDICT_FAILED;
		f->contradicts = true;
	}
}

/* A backup that was proven once and failed its newest drill is not one to count on; one that another host could not verify
 * since is as proven as before. */
static bool
still_proven(const json_t *summary)
{
	enum verdict last = facts_verdict(json_opt_str(summary, "last_verdict", NULL));

	return last == VERDICT_PROVEN ||
	    (json_opt_str(summary, "proven", NULL) != NULL && last != VERDICT_DIFFERS && last != VERDICT_FAILED);
}

/* Never by place in the list alone (R22): a summary without a time is passed over. */
static void
read_backups(struct facts *f)
{
	int64_t before = -1;
	size_t i;
	const json_t *b;

	json_array_foreach(f->backups, i, b) {
		int64_t us = facts_time(b, "time");

		if (us < 0)
			continue;
		if (before >= 0 && us > before && (us - before) / 1000 > f->gap_ms)
			f->gap_ms = (us - before) / 1000;
		before = us;
		if (us > f->newest_us) {
			f->newest_us = us;
			f->newest_id = json_opt_str(b, "id", "");
			if (f->backup == NULL || f->drill == NULL)
				f->backup = b;
		}
		if (us > f->proven_us && still_proven(b)) {
			f->proven_us = us;
			f->proven_id = json_opt_str(b, "id", "");
		}
	}
}

static void
read_history(struct facts *f)
{
	size_t i;
	const json_t *h;

	json_array_foreach(f->history, i, h) {
		int64_t ms = facts_int(h, "rto_ms");

		if (ms < 0)
			continue;
		f->rto_runs++;
		if (ms > f->rto_worst_ms)
			f->rto_worst_ms = ms;
	}
}

void
facts_read(struct facts *f, const json_t *outcome)
{
	const json_t *drill = json_object_get(outcome, "drill");
	bool is_report = drill != NULL || strcmp(json_opt_str(outcome, "command", ""), "report") == 0 ||
	    json_is_array(json_object_get(outcome, "backups"));

	*f = (struct facts){
		.outcome = outcome,
		.drill = is_report ? drill : outcome,
		.rto_ms = -1,
		.snapshot_us = -1,
		.finished_us = -1,
		.entries = -1,
		.equal = -1,
		.rows = -1,
		.bytes = -1,
		.newest_us = -1,
		.proven_us = -1,
		.gap_ms = -1,
		.rto_worst_ms = -1,
		.newest_id = "",
		.proven_id = "",
	};
	if (!json_is_object(f->drill))
		f->drill = NULL;
	f->backup = json_object_get(f->drill, "backup");
	f->history = json_object_get(outcome, "history");
	f->backups = json_object_get(outcome, "backups");
	f->signature = json_object_get(outcome, "signature");
	if (!json_is_object(f->signature))
		f->signature = NULL;
	f->forged = f->signature != NULL && !json_is_true(json_object_get(f->signature, "valid"));
	if (f->drill != NULL)
		read_drill(f);
	read_backups(f);
	read_history(f);
	f->source = json_opt_str(f->backup, "source", "");
	f->id = json_opt_str(f->backup, "id", "");
	f->snapshot_us = facts_time(f->backup, "time");
	f->now_us = facts_time(outcome, "time");
	if (f->now_us < 0)
		f->now_us = f->finished_us;
	if (f->snapshot_us > f->newest_us) {
		f->newest_us = f->snapshot_us;
		f->newest_id = f->id;
	}
	if (f->verdict == VERDICT_PROVEN && !f->forged && f->snapshot_us > f->proven_us) {
		f->proven_us = f->snapshot_us;
		f->proven_id = f->id;
	}
}
