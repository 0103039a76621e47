#include "unit/store/check.h"

#include <signal.h>

#include "base/clock.h"
#include "base/stop.h"
#include "store/fault.h"
#include "store/folder.h"
#include "store/retry.h"
#include "store/throttle.h"

static char *scratch;
static struct store_faults faults;

static struct store *
retrying(unsigned attempts, int64_t first_ms, int64_t longest_ms)
{
	struct err e = ERR_INIT;

	memset(&faults, 0, sizeof(faults));
	return retry_new(store_fault_new(folder_open(scratch, false, &e), &faults), attempts, first_ms, longest_ms);
}

/* For each verb and each number of failures: fewer than the attempts are got over, as many are not. */
static void
transient_failures_are_got_over_and_permanent_ones_counted(void **state)
{
	(void)state;
	for (enum store_verb v = STORE_PUT; v < STORE_VERBS; v++)
		for (unsigned failures = 1; failures <= 4; failures++) {
			struct store *s = retrying(4, 1, 2);
			struct buf to = BUF_INIT;
			struct store_object o;
			size_t n = 0;
			struct err e = ERR_INIT;
			int rc = 0;

			OK(store_put(s, "there", "12345", 5, &e));
			memset(&faults, 0, sizeof(faults));
			faults.verb[v].fail_at = 1;
			faults.verb[v].times = failures;
			faults.verb[v].kind = ERR_STORE;
			switch (v) {
			case STORE_PUT:
				rc = store_put(s, "new", "x", 1, &e);
				break;
			case STORE_GET:
				rc = store_get(s, "there", 0, 0, &to, &e);
				assert_int_equal(to.bytes, rc == 0 ? 5 : 0);
				break;
			case STORE_STAT:
				rc = store_stat(s, "there", &o, &e);
				break;
			case STORE_LIST:
				rc = store_list(s, "", count_each, &n, &e);
				assert_int_equal(n, rc == 0 ? 1 : 0);
				break;
			default:
				rc = store_remove(s, "there", &e);
				break;
			}
			assert_int_equal(faults.calls[v], failures < 4 ? failures + 1 : 4);
			if (failures < 4) {
				assert_int_equal(rc, 0);
				assert_int_equal(e.kind, ERR_NONE);
			} else {
				assert_int_equal(rc, -1);
				assert_int_equal(e.kind, ERR_STORE);
				SAYS(e.msg, "after 4 attempts in ");
			}
			memset(&faults, 0, sizeof(faults));
			OK(store_remove(s, "new", &e));
			OK(store_remove(s, "there", &e));
			buf_free(&to);
			store_free(s);
		}
}

/* Whose name is wrong is told so soon; whose gateway restarts in the middle of a night is waited for. */
static void
a_store_that_never_answered_is_given_up_sooner(void **state)
{
	(void)state;
	for (int heard = 0; heard < 2; heard++) {
		struct store *s = retrying(12, 1, 1);
		struct store_object o;
		struct err e = ERR_INIT;

		if (heard) {
			assert_int_equal(store_stat(s, "nothing", &o, &e), -1);
			assert_int_equal(e.kind, ERR_NOT_FOUND);
			err_clear(&e);
			memset(&faults, 0, sizeof(faults));
		}
		faults.verb[STORE_PUT].fail_at = 1;
		faults.verb[STORE_PUT].times = 100;
		faults.verb[STORE_PUT].kind = ERR_STORE;
		FAILS(ERR_STORE, store_put(s, "x", "x", 1, &e));
		assert_int_equal(faults.calls[STORE_PUT], heard ? 12 : 6);
		store_free(s);
	}
}

static void
only_what_may_pass_is_tried_again(void **state)
{
	static const enum err_kind kinds[] = { ERR_DENIED, ERR_SPACE, ERR_USAGE, ERR_NOT_FOUND, ERR_EXISTS, ERR_CORRUPT,
	    ERR_FAILED, ERR_TIMEOUT };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct store *s = retrying(5, 1, 2);
		struct err e = ERR_INIT;

		faults.verb[STORE_PUT].fail_at = 1;
		faults.verb[STORE_PUT].kind = kinds[i];
		FAILS(kinds[i], store_put(s, "x", "x", 1, &e));
		assert_int_equal(faults.calls[STORE_PUT], 1);
		store_free(s);
	}
}

/* The answer to a put gets lost, the object is there: the second try finds our own bytes. */
static void
put_whose_answer_was_lost_is_a_success(void **state)
{
	static const size_t sizes[] = { 0, 1, 100000 };
	uint8_t *data = noise(100000, 5);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct store *s = retrying(4, 1, 2);
		struct err e = ERR_INIT;

		faults.verb[STORE_PUT].fail_at = 1;
		faults.verb[STORE_PUT].kind = ERR_STORE;
		faults.verb[STORE_PUT].after = true;
		/* Reading it back may fail for a while, too. */
		faults.verb[STORE_GET].fail_at = 1;
		faults.verb[STORE_GET].kind = ERR_STORE;
		OK(store_put(s, "lost", data, sizes[i], &e));
		assert_int_equal(faults.calls[STORE_PUT], 3);
		assert_int_equal(faults.calls[STORE_GET], 2);
		assert_object(s, "lost", data, sizes[i]);
		OK(store_remove(s, "lost", &e));
		store_free(s);
	}
	free(data);
}

/* R8: same name and same length, other bytes: somebody else's object, and not overwritten. */
static void
name_taken_by_other_bytes_of_the_same_length_stays_an_error(void **state)
{
	struct store *s = retrying(4, 1, 2);
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(s, "theirs", "12345", 5, &e));
	faults.verb[STORE_PUT].fail_at = 2;
	faults.verb[STORE_PUT].kind = ERR_STORE;
	FAILS(ERR_EXISTS, store_put(s, "theirs", "12346", 5, &e));
	faults.verb[STORE_PUT].fail_at = faults.calls[STORE_PUT] + 1;
	FAILS(ERR_EXISTS, store_put(s, "theirs", "1234", 4, &e));
	assert_object(s, "theirs", "12345", 5);
	store_free(s);
}

/* An HTTP library that sends a request again on its own shows us no failure before the conflict. */
static void
name_taken_by_the_same_bytes_is_a_success_at_the_first_try(void **state)
{
	struct store *s = retrying(4, 1, 2);
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(s, "ours", "12345", 5, &e));
	faults.calls[STORE_PUT] = 0;
	OK(store_put(s, "ours", "12345", 5, &e));
	assert_int_equal(faults.calls[STORE_PUT], 1);
	FAILS(ERR_EXISTS, store_put(s, "ours", "12354", 5, &e));
	assert_object(s, "ours", "12345", 5);
	store_free(s);
}

static int
break_off(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o;
	++*(unsigned *)ctx;
	return err_set(e, ERR_STORE, "the reader's own failure");
}

/* A listing that fails after it was read hands nothing on, and its reader's failure is no reason to list again. */
static void
listing_is_handed_on_once_and_whole(void **state)
{
	struct store *s = retrying(4, 1, 2);
	struct err e = ERR_INIT;
	unsigned seen = 0;

	(void)state;
	for (char c = 'a'; c <= 'd'; c++)
		OK(store_put(s, (char[]){ 'l', '/', c, '\0' }, &c, 1, &e));
	faults.verb[STORE_LIST].fail_at = 1;
	faults.verb[STORE_LIST].times = 2;
	faults.verb[STORE_LIST].kind = ERR_STORE;
	faults.verb[STORE_LIST].after = true;
	assert_int_equal(count_objects(s, "l/"), 4);
	assert_int_equal(faults.calls[STORE_LIST], 3);
	FAILS(ERR_STORE, store_list(s, "l/", break_off, &seen, &e));
	assert_int_equal(seen, 1);
	assert_int_equal(faults.calls[STORE_LIST], 4);
	store_free(s);
}

static void
request_to_stop_ends_the_pause(void **state)
{
	struct store *s = retrying(4, 60000, 60000);
	struct err e = ERR_INIT;
	int64_t began = clock_mono_ms();
	struct store_object o;
	pid_t other;

	(void)state;
	faults.die_at = 1;
	other = fork();
	if (other == 0) {
		usleep(300000);
		kill(getppid(), SIGTERM);
		_exit(0);
	}
	FAILS(ERR_STOPPED, store_stat(s, "x", &o, &e));
	assert_int_equal(e.sys, SIGTERM);
	assert_true(clock_mono_ms() - began < 5000);
	stop_clear();
	store_free(s);
}

static void
pauses_grow_to_their_longest_and_no_further(void **state)
{
	struct store *s = retrying(6, 16, 64);
	struct store_object o;
	struct err e = ERR_INIT;
	int64_t began = clock_mono_ms(), took;

	(void)state;
	faults.die_at = 1;
	FAILS(ERR_STORE, store_stat(s, "x", &o, &e));
	assert_int_equal(faults.calls[STORE_STAT], 6);
	took = clock_mono_ms() - began;
	/* At most 16 + 32 + 64 * 3 of jitter, and on a machine that is busy. */
	assert_true(took < 16 + 32 + 64 * 3 + 300);
	store_free(s);
}

/* 300,000 bytes at 100,000 a second, the first of which is free: two seconds, whoever moves them. */
static void
throttle_keeps_to_its_rate_in_both_directions(void **state)
{
	struct err e = ERR_INIT;
	struct store *s = throttle_new(folder_open(scratch, false, &e), 100000);
	uint8_t *data = noise(150000, 6);
	int64_t began = clock_mono_ms();

	(void)state;
	OK(store_put(s, "slow", data, 150000, &e));
	assert_in_range(clock_mono_ms() - began, 450, 900);
	assert_object(s, "slow", data, 150000);
	assert_in_range(clock_mono_ms() - began, 1950, 2600);
	free(data);
	store_free(s);
}

static void
throttle_that_is_wide_enough_costs_nothing(void **state)
{
	struct err e = ERR_INIT;
	struct store *s = throttle_new(folder_open(scratch, false, &e), UINT64_MAX);
	uint8_t *data = noise(STORE_OBJECT_MAX, 6);
	int64_t began = clock_mono_ms();

	(void)state;
	OK(store_put(s, "wide", data, STORE_OBJECT_MAX, &e));
	assert_object(s, "wide", data, STORE_OBJECT_MAX);
	assert_true(clock_mono_ms() - began < 2000);
	free(data);
	store_free(s);
}

static int
begin(void **state)
{
	(void)state;
	scratch = scratch_new();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	scratch_remove(scratch);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(transient_failures_are_got_over_and_permanent_ones_counted),
		cmocka_unit_test(a_store_that_never_answered_is_given_up_sooner),
		cmocka_unit_test(only_what_may_pass_is_tried_again),
		cmocka_unit_test(put_whose_answer_was_lost_is_a_success),
		cmocka_unit_test(name_taken_by_other_bytes_of_the_same_length_stays_an_error),
		cmocka_unit_test(name_taken_by_the_same_bytes_is_a_success_at_the_first_try),
		cmocka_unit_test(listing_is_handed_on_once_and_whole),
		cmocka_unit_test(request_to_stop_ends_the_pause),
		cmocka_unit_test(pauses_grow_to_their_longest_and_no_further),
		cmocka_unit_test(throttle_keeps_to_its_rate_in_both_directions),
		cmocka_unit_test(throttle_that_is_wide_enough_costs_nothing),
	};

	stop_install();
	return cmocka_run_group_tests(tests, begin, end);
}
