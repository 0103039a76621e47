#include "unit/repo/world.h"

#include <dirent.h>

#include "base/progress.h"
#include "base/rand.h"
#include "repo/catalog.h"
#include "repo/sweep.h"
#include "repo/verify.h"

#define BYTES 2000000

static void
reopen(struct world *w)
{
	struct err e = ERR_INIT;

	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	if (w->repo == NULL)
		fail_msg("%s", e.msg);
}

static void
assert_reads(struct world *w, const char id[33], const uint8_t *data)
{
	struct buf back = BUF_INIT;
	struct err e = ERR_INIT;

	must(read_back(w->repo, id, 0, &back, &e));
	assert_int_equal(back.bytes, BYTES);
	assert_memory_equal(back.data, data, BYTES);
	buf_free(&back);
}

/* What `verify` finds wrong. */
static json_t *
problems_of(struct repo *r)
{
	struct progress *quiet = progress_new(true);
	json_t *result = json_object(), *problems;
	struct err e = ERR_INIT;

	must(verify_run(r, false, quiet, result, &e));
	problems = json_incref(json_object_get(result, "problems"));
	progress_free(quiet);
	json_decref(result);
	return problems;
}

/* R28: a run may have begun before the packs were condemned, and rely on them. */
static void
an_index_built_anew_keeps_condemned_packs_that_a_backup_uses(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	struct sweep_result swept;
	json_t *problems = json_array();
	struct repo *other;
	struct repo_run *run;
	struct sink *s;
	uint64_t packs;
	char first[33], again[33];

	(void)state;
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	reopen(w);
	other = world_open(w, w->key, false, &e);
	run = repo_begin(other, "backup", &e);
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 3600000, &swept, &e));
	assert_true(swept.condemned_packs > 0);
	s = repo_write(run, "d/rest", "dump", "d");
	must(sink_write(s, data, BYTES, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	must(repo_commit(run, summary_of("2026-11-25T02:15:00Z"), json_object(), again, &e));
	repo_free(other);

	must(verify_rebuild_index(w->repo, &packs, problems, &e));
	assert_int_equal(json_array_size(problems), 0);
	reopen(w);
	assert_reads(w, again, data);
	must(sweep_run(w->repo, 0, &swept, &e));
	reopen(w);
	assert_reads(w, again, data);
	json_decref(problems);
	free(data);
	world_free(w);
}

/* Flips a byte in the directory of every pack of data: before its footer, behind its chunks. */
static void
damage_directories(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		char *path = mem_printf("%s/%s", folder, entry->d_name);
		struct stat st;
		FILE *f;
		int c;

		assert_int_equal(stat(path, &st), 0);
		if (S_ISDIR(st.st_mode) && entry->d_name[0] != '.')
			damage_directories(path);
		if (S_ISREG(st.st_mode) && st.st_size > BYTES / 4) {
			assert_int_equal(chmod(path, 0600), 0);
			f = fopen(path, "r+");
			assert_non_null(f);
			assert_int_equal(fseek(f, -25, SEEK_END), 0);
			c = fgetc(f);
			assert_int_equal(fseek(f, -25, SEEK_END), 0);
			assert_int_equal(fputc(c ^ 1, f), c ^ 1);
			assert_int_equal(fclose(f), 0);
		}
		free(path);
	}
	closedir(d);
}

static void
an_index_built_anew_keeps_what_was_known_of_a_pack_with_a_damaged_directory(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	char *packs_dir = mem_printf("%s/packs", w->objects), id[33];
	json_t *problems = json_array();
	uint64_t packs;

	(void)state;
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", id);
	damage_directories(packs_dir);
	must(verify_rebuild_index(w->repo, &packs, problems, &e));
	assert_true(json_array_size(problems) > 0);
	reopen(w);
	assert_reads(w, id, data);
	json_decref(problems);
	free(packs_dir);
	free(data);
	world_free(w);
}

/* R7: what reading refuses, verify and expire must name before anybody has to read. */
static void
a_stream_whose_lists_are_not_those_recorded_is_named(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1), *other = noise(BYTES, 2), forged[ID_BYTES];
	json_t *summary, *detail, *summary2, *detail2, *problems;
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	struct sweep_result swept;
	char id[33], id2[33], hex[ID_TEXT], *text;

	(void)state;
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", id);
	backup_of(w->repo, other, BYTES, "2026-11-25T02:15:00Z", id2);
	must(repo_load(w->repo, id, &summary, &detail, &e));
	must(repo_load(w->repo, id2, &summary2, &detail2, &e));
	json_object_set(json_array_get(json_object_get(detail, "streams"), 0), "lists",
	    json_object_get(json_array_get(json_object_get(detail2, "streams"), 0), "lists"));
	rand_bytes(forged, sizeof(forged));
	hex_encode(hex, forged, sizeof(forged));
	json_put_str(summary, "id", hex);
	text = json_text(summary, JSON_COMPACT);
	buf_addstr(&sections[0], text);
	free(text);
	text = json_text(detail, JSON_COMPACT);
	buf_addstr(&sections[1], text);
	free(text);
	must(catalog_put(w->repo, CATALOG_MANIFEST, forged, sections, 2, &e));
	reopen(w);
	problems = problems_of(w->repo);
	assert_int_equal(json_array_size(problems), 1);
	assert_non_null(strstr(json_opt_str(json_array_get(problems, 0), "what", ""), "are not those that were recorded"));
	assert_int_equal(sweep_run(w->repo, 3600000, &swept, &e), -1);
	assert_non_null(strstr(e.msg, "nothing is deleted"));
	json_decref(problems);
	json_decref(summary);
	json_decref(detail);
	json_decref(summary2);
	json_decref(detail2);
	buf_free(&sections[0]);
	buf_free(&sections[1]);
	free(data);
	free(other);
	world_free(w);
}

/* ---- what others do while somebody looks ---- */

struct busy {
	struct store store;
	struct world *w;
	const char *when;               /* before this folder is listed, once; NULL: never */
	void (*what)(struct world *w);
};

static int
busy_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	return store_put(((struct busy *)s)->w->store, name, data, bytes, e);
}

static int
busy_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	return store_get(((struct busy *)s)->w->store, name, offset, bytes, to, e);
}

static int
busy_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	return store_stat(((struct busy *)s)->w->store, name, o, e);
}

static int
busy_remove(struct store *s, const char *name, struct err *e)
{
	return store_remove(((struct busy *)s)->w->store, name, e);
}

static int
busy_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct busy *b = (struct busy *)s;

	if (b->when != NULL && strcmp(prefix, b->when) == 0) {
		b->when = NULL;
		b->what(b->w);
	}
	return store_list(b->w->store, prefix, each, ctx, e);
}

static void
busy_free(struct store *s)
{
	(void)s;
}

static void
busy_begin(struct busy *b)
{
	static const struct store_ops ops = {
		.put = busy_put, .get = busy_get, .stat = busy_stat, .list = busy_list, .remove = busy_remove, .free = busy_free };

	*b = (struct busy){ .store = { .ops = &ops, .label = mem_strdup("busy") }, .w = world_new() };
}

static struct repo *
busy_open(struct busy *b)
{
	struct repo_options o = { .key_file = b->w->key, .workers = 2 };
	struct err e = ERR_INIT;
	struct repo *r = repo_open(&b->store, &o, &e);

	assert_non_null(r);
	return r;
}

static void
busy_end(struct busy *b)
{
	free(b->store.label);
	world_free(b->w);
}

static void
commit_another(struct world *w)
{
	static uint64_t seed = 50;
	struct err e = ERR_INIT;
	struct repo *other = world_open(w, w->key, false, &e);
	uint8_t *data = noise(BYTES, seed++);
	char id[33];

	backup_of(other, data, BYTES, "2026-11-26T02:15:00Z", id);
	repo_free(other);
	free(data);
}

static void
a_backup_that_commits_meanwhile_is_no_damage(void **state)
{
	struct busy busy;
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	struct sweep_result swept;
	struct repo *r;
	json_t *problems;
	char first[33];

	(void)state;
	busy_begin(&busy);
	busy.what = commit_another;
	backup_of(busy.w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	r = busy_open(&busy);
	busy.when = "backups/";
	must(sweep_run(r, 3600000, &swept, &e));
	assert_null(busy.when);
	busy.when = "backups/";
	problems = problems_of(r);
	assert_null(busy.when);
	assert_int_equal(json_array_size(problems), 0);
	json_decref(problems);
	repo_free(r);
	free(data);
	busy_end(&busy);
}

/* A backup, and its packs. */
static void
remove_one(struct world *w)
{
	struct err e = ERR_INIT;
	struct repo *other = world_open(w, w->key, true, &e);
	struct sweep_result swept;
	json_t *backups;

	must(repo_list(other, &backups, &e));
	must(sweep_forget(other, json_opt_str(json_array_get(backups, 0), "id", ""), &e));
	must(sweep_run(other, 0, &swept, &e));
	must(sweep_run(other, 0, &swept, &e));
	assert_true(swept.deleted_packs > 0);
	json_decref(backups);
	repo_free(other);
}

static void
what_is_removed_meanwhile_is_no_damage(void **state)
{
	static const char *const moments[] = { "index/", "" };          /* when the backups are known; when the index is, too */
	struct busy busy;
	struct repo *r;
	json_t *problems;

	(void)state;
	busy_begin(&busy);
	busy.what = remove_one;
	for (size_t i = 0; i < 3; i++)
		commit_another(busy.w);
	for (size_t i = 0; i < 2; i++) {
		r = busy_open(&busy);
		busy.when = moments[i];
		problems = problems_of(r);
		assert_null(busy.when);
		assert_int_equal(json_array_size(problems), 0);
		json_decref(problems);
		repo_free(r);
	}
	busy_end(&busy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_index_built_anew_keeps_condemned_packs_that_a_backup_uses),
		cmocka_unit_test(an_index_built_anew_keeps_what_was_known_of_a_pack_with_a_damaged_directory),
		cmocka_unit_test(a_stream_whose_lists_are_not_those_recorded_is_named),
		cmocka_unit_test(a_backup_that_commits_meanwhile_is_no_damage),
		cmocka_unit_test(what_is_removed_meanwhile_is_no_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
