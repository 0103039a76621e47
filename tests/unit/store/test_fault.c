#include "unit/store/contract.h"

#include "store/fault.h"
#include "store/folder.h"

/* The store that fails on purpose: with no plan it is its inner store, contract and all. */

static char *scratch;
static struct store_faults none;

static struct store *
folder_with(struct store_faults *f)
{
	struct err e = ERR_INIT;
	struct store *inner = folder_open(scratch, false, &e);

	assert_non_null(inner);
	return store_fault_new(inner, f);
}

static int
setup(void **state)
{
	(void)state;
	scratch = scratch_new();
	contract.store = folder_with(&none);
	contract.exclusive = true;
	contract.many = 300;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	store_free(contract.store);
	scratch_remove(scratch);
	return 0;
}

static void
chosen_call_fails_and_only_that(void **state)
{
	struct store_faults f = { .verb[STORE_PUT] = { .fail_at = 2, .kind = ERR_SPACE } };
	struct store *s = folder_with(&f);
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(s, "f1/1", "x", 1, &e));
	FAILS(ERR_SPACE, store_put(s, "f1/2", "x", 1, &e));
	assert_int_equal(count_objects(s, "f1/"), 1);
	OK(store_put(s, "f1/2", "x", 1, &e));
	assert_int_equal(f.calls[STORE_PUT], 3);
	assert_int_equal(f.all_calls, 4);
	store_free(s);
}

static void
answer_that_got_lost_leaves_the_object(void **state)
{
	struct store_faults f = { .verb[STORE_PUT] = { .fail_at = 1, .times = 2, .kind = ERR_STORE, .after = true } };
	struct store *s = folder_with(&f);
	struct err e = ERR_INIT;

	(void)state;
	FAILS(ERR_STORE, store_put(s, "f2", "x", 1, &e));
	assert_object(s, "f2", "x", 1);
	store_free(s);
}

static void
dead_store_stays_dead(void **state)
{
	struct store_faults f = { .die_at = 2 };
	struct store *s = folder_with(&f);
	struct store_object o;
	struct buf to = BUF_INIT;
	size_t n = 0;
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(s, "f3", "x", 1, &e));
	FAILS(ERR_STORE, store_put(s, "f3-2", "x", 1, &e));
	FAILS(ERR_STORE, store_get(s, "f3", 0, 0, &to, &e));
	FAILS(ERR_STORE, store_stat(s, "f3", &o, &e));
	FAILS(ERR_STORE, store_list(s, "", count_each, &n, &e));
	FAILS(ERR_STORE, store_remove(s, "f3", &e));
	f.die_at = 0;
	assert_object(s, "f3", "x", 1);
	buf_free(&to);
	store_free(s);
}

static void
lying_store_flips_cuts_and_hides(void **state)
{
	struct store_faults f = { .get_at = 1, .flip = 3, .cut = 2, .hide = "hidden" };
	struct store *s = folder_with(&f);
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(s, "f4/seen", "0000000000", 10, &e));
	OK(store_put(s, "f4/hidden", "0000000000", 10, &e));
	OK(store_get(s, "f4/seen", 0, 0, &to, &e));
	assert_int_equal(to.bytes, 8);
	assert_string_equal((char *)to.data, "00010000");
	assert_object(s, "f4/seen", "0000000000", 10);
	assert_int_equal(count_objects(s, "f4/"), 1);
	buf_free(&to);
	store_free(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(chosen_call_fails_and_only_that),
		cmocka_unit_test(answer_that_got_lost_leaves_the_object),
		cmocka_unit_test(dead_store_stays_dead),
		cmocka_unit_test(lying_store_flips_cuts_and_hides),
	};
	int failed = cmocka_run_group_tests_name("contract of a folder behind a fault store without a plan", contract_tests,
	    setup, teardown);

	return failed + cmocka_run_group_tests(tests, setup, teardown);
}
