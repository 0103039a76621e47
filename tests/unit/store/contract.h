#ifndef HF_TESTS_STORE_CONTRACT_H
#define HF_TESTS_STORE_CONTRACT_H

#include <pthread.h>

#include "base/clock.h"
#include "base/pool.h"
#include "unit/store/check.h"

/*
 * What include/store/store.h promises, asked of any store.  A program sets `contract` and runs contract_tests; the store is
 * empty at first, and each test uses names of its own.
 */
static struct {
	struct store *store;
	bool exclusive;                 /* of two puts of one name at the same moment only one succeeds */
	size_t many;                    /* objects of the long listing */
} contract;

static void
what_was_put_comes_back(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 65537, 524287, 524288, 1u << 20, STORE_OBJECT_MAX };
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *data = noise(sizes[i], i);
		char *name = mem_printf("sizes/%zu", sizes[i]);
		struct store_object o;

		OK(store_put(contract.store, name, data, sizes[i], &e));
		assert_object(contract.store, name, data, sizes[i]);
		OK(store_stat(contract.store, name, &o, &e));
		assert_int_equal(o.bytes, sizes[i]);
		assert_string_equal(o.name, name);
		OK(store_remove(contract.store, name, &e));
		free(name);
		free(data);
	}
	assert_int_equal(count_objects(contract.store, "sizes/"), 0);
}

static void
get_appends_and_a_range_is_exact(void **state)
{
	static const struct { uint64_t offset; size_t bytes; } ranges[] = {
		{ 0, 1 }, { 0, 100000 }, { 1, 1 }, { 99999, 1 }, { 12345, 6789 }, { 50000, 50000 }, { 1, 0 }, { 99999, 0 },
	};
	uint8_t *data = noise(100000, 7);
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(contract.store, "range", data, 100000, &e));
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		size_t want = ranges[i].bytes > 0 ? ranges[i].bytes : 100000 - ranges[i].offset;

		buf_clear(&to);
		buf_addstr(&to, "before");
		OK(store_get(contract.store, "range", ranges[i].offset, ranges[i].bytes, &to, &e));
		assert_int_equal(to.bytes, 6 + want);
		assert_memory_equal(to.data, "before", 6);
		assert_memory_equal(to.data + 6, data + ranges[i].offset, want);
	}
	buf_free(&to);
	free(data);
}

static void
range_that_is_not_all_there_is_corrupt_and_leaves_no_bytes(void **state)
{
	static const struct { uint64_t offset; size_t bytes; } ranges[] = {
		{ 0, 1001 }, { 999, 2 }, { 1000, 1 }, { 1000, 0 }, { 5000, 10 }, { 5000, 0 }, { 0, STORE_OBJECT_MAX },
		{ 0, (size_t)STORE_OBJECT_MAX + 1 }, { UINT64_MAX, 10 }, { UINT64_MAX - 5, 0 },
	};
	uint8_t *data = noise(1000, 8);
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(contract.store, "short", data, 1000, &e));
	OK(store_put(contract.store, "nothing", "", 0, &e));
	buf_addstr(&to, "before");
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		FAILS(ERR_CORRUPT, store_get(contract.store, "short", ranges[i].offset, ranges[i].bytes, &to, &e));
		assert_int_equal(to.bytes, 6);
		assert_string_equal((char *)to.data, "before");
	}
	FAILS(ERR_CORRUPT, store_get(contract.store, "nothing", 0, 1, &to, &e));
	assert_int_equal(to.bytes, 6);
	buf_free(&to);
	free(data);
}

/* R13: this answer ends a recovery. */
static void
what_was_never_put_is_not_found(void **state)
{
	struct buf to = BUF_INIT;
	struct store_object o;
	struct err e = ERR_INIT;

	(void)state;
	FAILS(ERR_NOT_FOUND, store_get(contract.store, "never", 0, 0, &to, &e));
	SAYS(e.msg, "never");
	FAILS(ERR_NOT_FOUND, store_get(contract.store, "never/was/here", 0, 10, &to, &e));
	FAILS(ERR_NOT_FOUND, store_stat(contract.store, "never", &o, &e));
	FAILS(ERR_NOT_FOUND, store_stat(contract.store, "never/was/here", &o, &e));
	assert_int_equal(to.bytes, 0);
	OK(store_remove(contract.store, "never", &e));
	OK(store_remove(contract.store, "never/was/here", &e));
	assert_int_equal(count_objects(contract.store, "never/"), 0);
	buf_free(&to);
}

static void
name_that_is_taken_keeps_what_it_has(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(contract.store, "taken/name", "first", 5, &e));
	FAILS(ERR_EXISTS, store_put(contract.store, "taken/name", "second", 6, &e));
	assert_object(contract.store, "taken/name", "first", 5);
	OK(store_remove(contract.store, "taken/name", &e));
	OK(store_put(contract.store, "taken/name", "third", 5, &e));
	assert_object(contract.store, "taken/name", "third", 5);
}

static void
removed_object_is_gone_and_its_neighbours_stay(void **state)
{
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(contract.store, "gone/a", "a", 1, &e));
	OK(store_put(contract.store, "gone/ab", "ab", 2, &e));
	OK(store_remove(contract.store, "gone/a", &e));
	FAILS(ERR_NOT_FOUND, store_get(contract.store, "gone/a", 0, 0, &to, &e));
	assert_object(contract.store, "gone/ab", "ab", 2);
	assert_int_equal(count_objects(contract.store, "gone/"), 1);
	OK(store_remove(contract.store, "gone/a", &e));
	buf_free(&to);
}

static void
longest_and_strangest_names_are_kept_apart(void **state)
{
	char longest[STORE_NAME_MAX + 1];
	const char *names[] = { longest, "odd/...", "odd/a..b", "odd/-", "odd/_", "odd/.a", "odd/0", "odd/a-b_c.d" };
	struct err e = ERR_INIT;

	(void)state;
	/* Two segments of 255 and what is left. */
	memset(longest, 'x', sizeof(longest) - 1);
	longest[255] = longest[511 - 1] = '/';
	longest[STORE_NAME_MAX] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		OK(store_put(contract.store, names[i], names[i], strlen(names[i]), &e));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_object(contract.store, names[i], names[i], strlen(names[i]));
	assert_int_equal(count_objects(contract.store, "odd/"), sizeof(names) / sizeof(names[0]) - 1);
}

struct seen {
	uint8_t *times;                 /* by number */
	size_t count;
	int64_t oldest_us, newest_us;
};

static char *
many_name(size_t i)
{
	return mem_printf("many/%02zx/%zu", i % 7, i);
}

static int
see(void *ctx, const struct store_object *o, struct err *e)
{
	struct seen *s = ctx;
	size_t number = strtoul(strrchr(o->name, '/') + 1, NULL, 10);
	char *name = many_name(number);

	if (strcmp(name, o->name) != 0 || number >= contract.many || o->bytes != number % 5)
		err_set(e, ERR_FAILED, "\"%s\" of %ju bytes was never put", o->name, (uintmax_t)o->bytes);
	free(name);
	if (e->kind != ERR_NONE)
		return -1;
	s->times[number]++;
	s->count++;
	if (s->oldest_us == 0 || o->changed_us < s->oldest_us)
		s->oldest_us = o->changed_us;
	if (o->changed_us > s->newest_us)
		s->newest_us = o->changed_us;
	return 0;
}

struct one {
	size_t number;
	struct err e;
};

static void
put_one(void *arg)
{
	struct one *o = arg;
	char *name = many_name(o->number);

	if (store_put(contract.store, name, "12345", o->number % 5, &o->e) != 0)
		err_wrap(&o->e, "one of many");
	free(name);
}

/* R24: every page is followed, and nothing comes twice. */
static void
long_listing_has_every_object_once(void **state)
{
	struct pool *p = pool_new(8, 16, false);
	struct one *all = mem_zero(contract.many, sizeof(*all));
	struct seen seen = { .times = mem_zero(contract.many, 1) };
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < contract.many; i++) {
		all[i].number = i;
		pool_submit(p, put_one, &all[i]);
	}
	OK(store_put(contract.store, "many.not", "x", 1, &e));
	pool_free(p);
	for (size_t i = 0; i < contract.many; i++)
		if (all[i].e.kind != ERR_NONE)
			fail_msg("%s", all[i].e.msg);
	OK(store_list(contract.store, "many/", see, &seen, &e));
	assert_int_equal(seen.count, contract.many);
	for (size_t i = 0; i < contract.many; i++)
		assert_int_equal(seen.times[i], 1);
	/* The server's clock is this machine's. */
	assert_true(seen.oldest_us > clock_wall_us() - INT64_C(3600) * 1000000);
	assert_true(seen.newest_us < clock_wall_us() + INT64_C(60) * 1000000);
	assert_int_equal(count_objects(contract.store, "many/03/"), (contract.many + 3) / 7);
	assert_true(count_objects(contract.store, "") > contract.many);
	free(seen.times);
	free(all);
}

static int
remove_each(void *ctx, const struct store_object *o, struct err *e)
{
	++*(size_t *)ctx;
	return store_remove(contract.store, o->name, e);
}

static int
stop_at_second(void *ctx, const struct store_object *o, struct err *e)
{
	if (++*(size_t *)ctx == 2)
		return err_set(e, ERR_REFUSED, "\"%s\" is enough", o->name);
	return 0;
}

static void
listing_ends_where_its_reader_wants_and_the_reader_may_use_the_store(void **state)
{
	struct err e = ERR_INIT;
	size_t n = 0;

	(void)state;
	for (char c = 'a'; c <= 'e'; c++)
		OK(store_put(contract.store, (char[]){ 'u', '/', c, '\0' }, &c, 1, &e));
	FAILS(ERR_REFUSED, store_list(contract.store, "u/", stop_at_second, &n, &e));
	assert_int_equal(n, 2);
	n = 0;
	OK(store_list(contract.store, "u/", remove_each, &n, &e));
	assert_int_equal(n, 5);
	assert_int_equal(count_objects(contract.store, "u/"), 0);
}

struct busy {
	unsigned number;
	struct err e;
};

/* Each thread lives in a folder of its own and reads what it wrote. */
static void *
busy_thread(void *arg)
{
	struct busy *b = arg;
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;
	uint8_t *data = noise(300000, b->number);
	char *folder = mem_printf("busy/%u/", b->number), *name = NULL;

	for (unsigned i = 0; i < 6 && e.kind == ERR_NONE; i++) {
		size_t bytes = 1000 + 37777 * i;

		free(name);
		name = mem_printf("%s%u", folder, i);
		buf_clear(&to);
		if (store_put(contract.store, name, data, bytes, &e) || store_get(contract.store, name, 0, 0, &to, &e))
			break;
		if (to.bytes != bytes || memcmp(to.data, data, bytes) != 0)
			err_set(&e, ERR_FAILED, "thread %u reads other bytes than it wrote", b->number);
		buf_clear(&to);
		if (e.kind == ERR_NONE && store_get(contract.store, name, 100, 500, &to, &e) == 0 &&
		    memcmp(to.data, data + 100, 500) != 0)
			err_set(&e, ERR_FAILED, "thread %u reads another range than it wrote", b->number);
		if (e.kind == ERR_NONE && i % 2 == 0 && store_remove(contract.store, name, &e))
			break;
	}
	if (e.kind == ERR_NONE) {
		size_t n = 0;

		if (store_list(contract.store, folder, count_each, &n, &e) == 0 && n != 3)
			err_set(&e, ERR_FAILED, "thread %u sees %zu of its 3 objects", b->number, n);
	}
	b->e = e;
	buf_free(&to);
	free(name);
	free(folder);
	free(data);
	return NULL;
}

static void
eight_threads_do_not_disturb_each_other(void **state)
{
	pthread_t threads[8];
	struct busy busy[8];

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		busy[i] = (struct busy){ .number = i };
		assert_int_equal(pthread_create(&threads[i], NULL, busy_thread, &busy[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 8; i++)
		assert_string_equal(busy[i].e.msg, "");
}

struct racer {
	pthread_barrier_t *start;
	char mine[64];
	int rc;
	struct err e;
};

static void *
race_thread(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(r->start);
	r->rc = store_put(contract.store, "race", r->mine, sizeof(r->mine), &r->e);
	return NULL;
}

static void
of_eight_writers_of_one_name_one_wins(void **state)
{
	pthread_barrier_t start;
	pthread_t threads[8];
	struct racer racers[8] = { 0 };
	unsigned winners = 0;
	struct buf got = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	pthread_barrier_init(&start, NULL, 8);
	for (unsigned i = 0; i < 8; i++) {
		racers[i].start = &start;
		memset(racers[i].mine, 'a' + (int)i, sizeof(racers[i].mine));
		assert_int_equal(pthread_create(&threads[i], NULL, race_thread, &racers[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 8; i++)
		if (racers[i].rc == 0)
			winners++;
		else if (contract.exclusive || racers[i].e.kind != ERR_STORE)   /* Ceph may call it a conflict */
			assert_int_equal(racers[i].e.kind, ERR_EXISTS);
	if (contract.exclusive)
		assert_int_equal(winners, 1);
	else
		assert_true(winners >= 1);
	/* Where several were let win, the object is still whole and one of theirs. */
	OK(store_get(contract.store, "race", 0, 0, &got, &e));
	assert_int_equal(got.bytes, sizeof(racers[0].mine));
	assert_int_equal(racers[got.data[0] - 'a'].rc, 0);
	assert_memory_equal(got.data, racers[got.data[0] - 'a'].mine, got.bytes);
	buf_free(&got);
	pthread_barrier_destroy(&start);
}

static const struct CMUnitTest contract_tests[] = {
	cmocka_unit_test(what_was_put_comes_back),
	cmocka_unit_test(get_appends_and_a_range_is_exact),
	cmocka_unit_test(range_that_is_not_all_there_is_corrupt_and_leaves_no_bytes),
	cmocka_unit_test(what_was_never_put_is_not_found),
	cmocka_unit_test(name_that_is_taken_keeps_what_it_has),
	cmocka_unit_test(removed_object_is_gone_and_its_neighbours_stay),
	cmocka_unit_test(longest_and_strangest_names_are_kept_apart),
	cmocka_unit_test(long_listing_has_every_object_once),
	cmocka_unit_test(listing_ends_where_its_reader_wants_and_the_reader_may_use_the_store),
	cmocka_unit_test(eight_threads_do_not_disturb_each_other),
	cmocka_unit_test(of_eight_writers_of_one_name_one_wins),
};

#endif
