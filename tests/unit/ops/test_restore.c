#include "ops/ops.h"
#include "pg/facts.h"
#include "unit/pg/cluster.h"
#include "unit/repo/world.h"

/* Manifests that ask for what this restore cannot do, against a real server. */

static struct cluster cluster;

static void
put_stream(struct repo_run *run, json_t *plan, const char *name, const char *kind, const char *database, const char *section)
{
	struct err e = ERR_INIT;
	struct sink *s = repo_write(run, name, kind, database);

	must(sink_write(s, "bytes", 5, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	if (section != NULL)
		json_add(plan, json_pack("{s:s, s:s, s:s, s:s}", "stream", name, "section", section, "schema", "public", "table", "t"));
}

/* A backup of the database "shop" as ours are, and one stream more, which is of a kind or for a section that comes with a later version. */
static void
backup_with(struct world *w, const char *name, const char *kind, const char *database, const char *section)
{
	struct err e = ERR_INIT;
	struct conn *c = cluster_connect(&cluster, "postgres");
	json_t *facts = facts_cluster(c, &e), *plan = json_array(), *summary;
	struct repo_run *run = repo_begin(w->repo, "backup", &e);
	char id[33];

	conn_close(c);
	if (facts == NULL || run == NULL)
		fail_msg("%s", e.msg);
	put_stream(run, plan, "globals", "sql", NULL, NULL);
	put_stream(run, plan, "shop/pre-data", "dump", "shop", "pre-data");
	put_stream(run, plan, "shop/rest", "dump", "shop", "rest");
	put_stream(run, plan, name, kind, database, section);
	put_stream(run, plan, "shop/post-data", "dump", "shop", "post-data");
	summary = summary_of("2026-11-24T02:15:00Z");
	json_put(summary, "databases", json_pack("[s]", "shop"));
	must(repo_commit(run, summary, json_pack("{s:{s:o}, s:o}", "facts", "cluster", facts, "plan", plan), id, &e));
}

static bool
there_is(const char *database)
{
	const char *const params[] = { database, NULL };
	struct conn *c = cluster_connect(&cluster, "postgres");
	struct err e = ERR_INIT;
	char *count = NULL;
	bool any;

	must(conn_value(&count, c, "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = $1", params, &e));
	any = strcmp(count, "0") != 0;
	free(count);
	conn_close(c);
	return any;
}

/* Format, section 8: "A reader refuses a kind or section that it does not know." */
static void
a_stream_of_an_unknown_kind_is_refused_with_one_clear_message(void **state)
{
	static const struct {
		const char *name, *kind, *database, *section, *message;
		enum err_kind error;
	} cases[] = {
		{ "shop/new", "changes", "shop", "table", "stream \"shop/new\" is of a kind that this holdfast does not know: \"changes\"",
		  ERR_FAILED },
		{ "shop/new", "changes", "shop", NULL, "stream \"shop/new\" is of a kind that this holdfast does not know: \"changes\"",
		  ERR_FAILED },
		{ "new", "changes", NULL, NULL, "stream \"new\" is of a kind that this holdfast does not know: \"changes\"",
		  ERR_FAILED },
		{ "shop/new", "dump", "shop", "changes", "stream \"shop/new\" is for a section that this holdfast does not know: \"changes\"",
		  ERR_FAILED },
		/* And one that has no place in the plan: a dump's sections are archives. */
		{ "shop/new", "sql", "shop", "table", "the manifest's plan names a stream \"shop/new\" that is no dump", ERR_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = world_new();
		const struct settings settings = { .name = "test", .store = { .kind = STORE_FOLDER, .path = w->objects }, .key_file = w->key, .drill = { .jobs = 2 } };
		const struct ops ops = { .settings = &settings, .progress = progress_new(true) };
		const struct restore_request request = { .backup = "latest", .target = cluster.target, .into = "back" };
		char *expected = mem_printf("restore: %s", cases[i].message);
		struct err e = ERR_INIT;
		json_t *outcome = NULL;

		backup_with(w, cases[i].name, cases[i].kind, cases[i].database, cases[i].section);
		assert_int_equal(ops_restore(&ops, &request, &outcome, &e), -1);
		assert_string_equal(e.msg, expected);
		assert_int_equal(e.kind, cases[i].error);
		/* What is newer than we are is not damaged: no word of `verify`. */
		assert_non_null(strstr(e.hint, e.kind == ERR_CORRUPT ? "holdfast verify" : "newer holdfast"));
		assert_false(there_is("back"));
		json_decref(outcome);
		free(expected);
		progress_free(ops.progress);
		world_free(w);
	}
}

static int
start(void **state)
{
	(void)state;
	cluster_start(&cluster, NULL);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE shop TEMPLATE template0");
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	cluster_stop(&cluster);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_of_an_unknown_kind_is_refused_with_one_clear_message),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
