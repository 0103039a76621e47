#include "unit/repo/world.h"

#include "base/progress.h"
#include "base/rand.h"
#include "repo/verify.h"

/*
 * Every byte of a small repository is changed in turn.  Each change must be refused or named, and no wrong byte may come out of a
 * read, not even before the read fails.
 */
#define OBJECTS_MAX 32

struct objects {
	char *names[OBJECTS_MAX];
	size_t bytes[OBJECTS_MAX], count;
};

static int
collect(void *ctx, const struct store_object *o, struct err *e)
{
	struct objects *all = ctx;

	(void)e;
	assert_true(all->count < OBJECTS_MAX);
	all->names[all->count] = mem_strdup(o->name);
	all->bytes[all->count++] = o->bytes;
	return 0;
}

static void
free_objects(struct objects *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->names[i]);
}

static char *
path_of(const struct world *w, const char *name)
{
	return mem_printf("%s/%s", w->objects, name);
}

static void
overwrite(const char *path, const void *data, size_t bytes)
{
	struct err e = ERR_INIT;

	must(file_write_replace(path, data, bytes, 0600, &e));
}

struct prefix {
	struct sink sink;
	const uint8_t *truth;
	size_t at, bytes;
};

static int
prefix_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct prefix *p = (struct prefix *)s;

	(void)e;
	assert_true(bytes <= p->bytes - p->at);
	assert_memory_equal(data, p->truth + p->at, bytes);
	p->at += bytes;
	return 0;
}

static int
prefix_finish(struct sink *s, struct err *e)
{
	struct prefix *p = (struct prefix *)s;

	(void)e;
	assert_int_equal(p->at, p->bytes);
	return 0;
}

static void
prefix_free(struct sink *s)
{
	free(s);
}

static struct sink *
prefix_new(const uint8_t *truth, size_t bytes)
{
	static const struct sink_ops ops = { prefix_write, prefix_finish, prefix_free };
	struct prefix *p = mem_zero(1, sizeof(*p));

	p->sink.ops = &ops;
	p->truth = truth;
	p->bytes = bytes;
	return &p->sink;
}

/* Adds what is said of a damaged object to `said`: errors as they are shown, problems by their object. */
static void
add_said(struct buf *said, const struct err *e, const json_t *problems)
{
	json_t *p;
	size_t i;

	buf_addf(said, "%s\n", e->msg);
	json_array_foreach(problems, i, p)
		buf_addf(said, "%s: %s\n", json_opt_str(p, "object", ""), json_opt_str(p, "what", ""));
}

/* Whether anything notices, and what it says: opening, verifying with data, or (the sink asserts that no wrong byte passes) reading. */
static bool
is_noticed(struct world *w, const char id[33], const uint8_t *truth, size_t bytes, struct buf *said)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, w->key, false, &e);
	struct progress *progress = progress_new(true);
	json_t *result = json_object(), *summary, *detail;
	bool noticed = r == NULL;

	buf_clear(said);
	add_said(said, &e, NULL);
	if (r != NULL) {
		noticed = verify_run(r, true, progress, result, &e) != 0 || json_array_size(json_object_get(result, "problems")) > 0;
		add_said(said, &e, json_object_get(result, "problems"));
		err_clear(&e);
		if (repo_load(r, id, &summary, &detail, &e) == 0) {
			struct sink *s = prefix_new(truth, bytes);
			int rc = repo_read(r, json_array_get(json_object_get(detail, "streams"), 0), s, &e);

			sink_free(s);
			json_decref(summary);
			json_decref(detail);
			(void)rc;
		}
	}
	json_decref(result);
	progress_free(progress);
	repo_free(r);
	return noticed;
}

/*
 * Damage to `name` is noticed, and by its name.  Two things cannot be named: a repository's id inside of "format" that is another
 * one, which nothing tells from another repository; and of the keys the one that is not as a holder wrote it, as opposed to the
 * folder of them, or to the key file whose own object it was.
 */
static void
assert_named(struct world *w, const char id[33], const uint8_t *truth, size_t bytes, const char *name, const char *what, size_t at)
{
	struct buf said = BUF_INIT;
	const char *text;
	bool named;

	if (!is_noticed(w, id, truth, bytes, &said))
		fail_msg("nobody noticed %s: %s %zu", name, what, at);
	text = (const char *)said.data;
	named = strstr(text, name) != NULL;
	if (!named && strcmp(name, "format") == 0)
		named = strstr(text, "is the key of repository ") != NULL && strstr(text, w->objects) != NULL;
	if (!named && strncmp(name, "keys/", 5) == 0)
		named = strstr(text, "keys/: ") != NULL || strstr(text, "this key file opens no key of this repository") != NULL;
	if (!named)
		fail_msg("%s: %s %zu is noticed without its name: %s", name, what, at, text);
	buf_free(&said);
}

static void
assert_sound(struct world *w, const char id[33], const uint8_t *truth, size_t bytes)
{
	struct buf said = BUF_INIT;

	if (is_noticed(w, id, truth, bytes, &said))
		fail_msg("%s", (const char *)said.data);
	buf_free(&said);
}

static void
every_changed_byte_is_refused_by_name(void **state)
{
	struct world *w = world_new();
	struct objects all = { .count = 0 };
	struct err e = ERR_INIT;
	uint8_t *truth = noise(300, 4);
	json_t *drill = json_pack("{s:s, s:s}", "verdict", "proven", "finished", "2026-11-24T03:00:00Z");
	char id[33], report[33];

	(void)state;
	backup_of(w->repo, truth, 300, "2026-11-24T02:15:00Z", id);
	must(repo_put_report(w->repo, drill, report, &e));
	must(repo_hold(w->repo, id, "test", &e));
	must(store_list(w->store, "", collect, &all, &e));
	assert_true(all.count >= 8);
	assert_sound(w, id, truth, 300);
	for (size_t i = 0; i < all.count; i++) {
		char *path = path_of(w, all.names[i]);
		struct buf good = BUF_INIT;

		must(file_read(&good, path, STORE_OBJECT_MAX, &e));
		for (size_t at = 0; at < good.bytes; at++) {
			uint8_t was = good.data[at];

			good.data[at] ^= (uint8_t)(1u << (at % 8));
			overwrite(path, good.data, good.bytes);
			assert_named(w, id, truth, 300, all.names[i], "a changed byte at", at);
			good.data[at] = was;
		}
		overwrite(path, good.data, good.bytes);
		buf_free(&good);
		free(path);
	}
	assert_sound(w, id, truth, 300);
	free_objects(&all);
	json_decref(drill);
	free(truth);
	world_free(w);
}

static void
truncated_lengthened_and_swapped_objects_are_refused(void **state)
{
	struct world *w = world_new();
	struct objects all = { .count = 0 };
	struct err e = ERR_INIT;
	uint8_t *truth = noise(5000, 4), *other = noise(5000, 77);
	char id[33], second[33];

	(void)state;
	backup_of(w->repo, truth, 5000, "2026-11-24T02:15:00Z", id);
	backup_of(w->repo, other, 5000, "2026-11-25T02:15:00Z", second);
	must(store_list(w->store, "", collect, &all, &e));
	for (size_t i = 0; i < all.count; i++) {
		char *path = path_of(w, all.names[i]);
		struct buf good = BUF_INIT, bad = BUF_INIT;
		size_t cuts[] = { 0, 1, all.bytes[i] / 2, all.bytes[i] - 1 };

		must(file_read(&good, path, STORE_OBJECT_MAX, &e));
		for (size_t k = 0; k < 4; k++) {
			overwrite(path, good.data, cuts[k]);
			assert_named(w, id, truth, 5000, all.names[i], "cut to", cuts[k]);
		}
		buf_add(&bad, good.data, good.bytes);
		buf_addc(&bad, ' ');
		overwrite(path, bad.data, bad.bytes);
		assert_named(w, id, truth, 5000, all.names[i], "a byte behind", bad.bytes - 1);
		for (size_t k = 0; k < all.count; k++) {
			char *from = path_of(w, all.names[k]);
			struct buf swapped = BUF_INIT;

			must(file_read(&swapped, from, STORE_OBJECT_MAX, &e));
			overwrite(path, swapped.data, swapped.bytes);
			if (k != i)
				assert_named(w, id, truth, 5000, all.names[i], all.names[k], 0);
			buf_free(&swapped);
			free(from);
		}
		overwrite(path, good.data, good.bytes);
		buf_free(&good);
		buf_free(&bad);
		free(path);
	}
	free_objects(&all);
	free(truth);
	free(other);
	world_free(w);
}

/* What a thief of one repository's bucket could try in another's. */
static void
objects_of_another_repository_are_refused(void **state)
{
	struct world *w = world_new(), *thief = world_new();
	struct objects all = { .count = 0 };
	struct err e = ERR_INIT;
	uint8_t *truth = noise(5000, 4);
	char id[33], theirs[33];

	(void)state;
	backup_of(w->repo, truth, 5000, "2026-11-24T02:15:00Z", id);
	backup_of(thief->repo, truth, 5000, "2026-11-24T02:15:00Z", theirs);
	must(store_list(thief->store, "", collect, &all, &e));
	for (size_t i = 0; i < all.count; i++) {
		struct buf object = BUF_INIT;

		if (strcmp(all.names[i], "format") == 0)
			continue;
		must(store_get(thief->store, all.names[i], 0, 0, &object, &e));
		must(store_put(w->store, all.names[i], object.data, object.bytes, &e));
		/* A foreign pack that nothing refers to is garbage, not damage. */
		if (strncmp(all.names[i], "packs/", 6) != 0)
			assert_named(w, id, truth, 5000, all.names[i], "from another repository", 0);
		must(store_remove(w->store, all.names[i], &e));
		buf_free(&object);
	}
	free_objects(&all);
	free(truth);
	world_free(thief);
	world_free(w);
}

static void
a_lost_index_is_rebuilt_from_the_packs(void **state)
{
	struct world *w = world_new();
	struct objects all = { .count = 0 };
	struct err e = ERR_INIT;
	uint8_t *truth = noise(3000000, 4);
	json_t *problems = json_array();
	struct buf back = BUF_INIT;
	uint64_t packs;
	char id[33];

	(void)state;
	backup_of(w->repo, truth, 3000000, "2026-11-24T02:15:00Z", id);
	must(store_list(w->store, "index/", collect, &all, &e));
	assert_true(all.count > 0);
	for (size_t i = 0; i < all.count; i++)
		must(store_remove(w->store, all.names[i], &e));
	repo_free(w->repo);
	w->repo = world_open(w, w->agent_key, false, &e);
	must(verify_rebuild_index(w->repo, &packs, problems, &e));
	assert_true(packs >= 2);
	assert_int_equal(json_array_size(problems), 0);
	assert_sound(w, id, truth, 3000000);
	free_objects(&all);
	json_decref(problems);
	buf_free(&back);
	free(truth);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_changed_byte_is_refused_by_name),
		cmocka_unit_test(truncated_lengthened_and_swapped_objects_are_refused),
		cmocka_unit_test(objects_of_another_repository_are_refused),
		cmocka_unit_test(a_lost_index_is_rebuilt_from_the_packs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
