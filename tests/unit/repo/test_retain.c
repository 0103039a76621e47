#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "repo/retain.h"

#define DAY (86400 * (int64_t)1000000)
#define NIGHTS 1200

static struct retain_item items[NIGHTS];
static char ids[NIGHTS][16];

/* One backup a night from 2023-08-13 on, the newest last; all proven. */
static void
nights(size_t n)
{
	struct err e = ERR_INIT;
	int64_t first;

	assert_int_equal(clock_parse(&first, "2023-08-13T02:15:00Z", &e), 0);
	for (size_t i = 0; i < n; i++) {
		snprintf(ids[i], sizeof(ids[i]), "%04zu", (i * 7919) % 10000);   /* names in no order of time (R22) */
		items[i] = (struct retain_item){ .id = ids[i], .group = "g", 
			.order_us = first + (int64_t)i * DAY, .time_us = first + (int64_t)i * DAY, .proven = true };
	}
}

static size_t
kept(size_t n, unsigned reason)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += reason == 0 ? items[i].keep != 0 : (items[i].keep & reason) != 0;
	return count;
}

static void
three_years_of_nights_thin_out_as_the_rule_says(void **state)
{
	const struct retain_rule rule = { .last = 3, .daily = 7, .weekly = 5, .monthly = 12, .yearly = 3 };

	(void)state;
	nights(NIGHTS);
	retain_apply(items, NIGHTS, &rule);
	assert_int_equal(kept(NIGHTS, RETAIN_LAST), 3);
	assert_int_equal(kept(NIGHTS, RETAIN_DAILY), 7);
	assert_int_equal(kept(NIGHTS, RETAIN_WEEKLY), 5);
	assert_int_equal(kept(NIGHTS, RETAIN_MONTHLY), 12);
	assert_int_equal(kept(NIGHTS, RETAIN_YEARLY), 3);
	/* The newest is first, whatever its name. */
	assert_true(items[0].time_us > items[1].time_us);
	assert_true((items[0].keep & RETAIN_LAST) != 0);
	assert_true(kept(NIGHTS, 0) <= 3 + 7 + 5 + 12 + 3);
}

static void
weeks_begin_on_monday(void **state)
{
	const struct retain_rule rule = { .weekly = 2 };
	struct err e = ERR_INIT;
	int64_t sunday, monday;

	(void)state;
	assert_int_equal(clock_parse(&sunday, "2026-11-22T23:59:59Z", &e), 0);
	assert_int_equal(clock_parse(&monday, "2026-11-23T00:00:00Z", &e), 0);
	items[0] = (struct retain_item){ .id = "a", .group = "g", .order_us = sunday, .time_us = sunday, .proven = true };
	items[1] = (struct retain_item){ .id = "b", .group = "g", .order_us = monday, .time_us = monday, .proven = true };
	retain_apply(items, 2, &rule);
	assert_int_equal(kept(2, RETAIN_WEEKLY), 2);
}

/* R5 */
static void
nothing_goes_until_something_newer_is_proven(void **state)
{
	const struct retain_rule rule = { .last = 1, .min_proven = 1 };

	(void)state;
	nights(10);
	for (size_t i = 0; i < 10; i++)
		items[i].proven = i == 4;
	retain_apply(items, 10, &rule);
	/* Newest first: five unproven ones, the proven one, four older. */
	assert_int_equal(kept(10, RETAIN_UNPROVEN), 6);
	assert_true((items[5].keep & RETAIN_PROVEN) != 0);
	assert_int_equal(kept(10, 0), 6);
	nights(10);
	for (size_t i = 0; i < 10; i++)
		items[i].proven = false;
	retain_apply(items, 10, &rule);
	assert_int_equal(kept(10, 0), 10);
}

/* R6 */
static void
a_suspect_newest_backup_freezes_its_group_alone(void **state)
{
	const struct retain_rule rule = { .last = 1 };

	(void)state;
	nights(10);
	for (size_t i = 0; i < 10; i++)
		items[i].group = i % 2 == 0 ? "even" : "odd";
	items[9].suspect = true;
	retain_apply(items, 10, &rule);
	assert_int_equal(kept(10, RETAIN_FROZEN), 5);
	assert_int_equal(kept(10, 0), 5 + 1);
	nights(10);
	items[5].suspect = true;        /* an older one does not */
	retain_apply(items, 10, &rule);
	assert_int_equal(kept(10, RETAIN_FROZEN), 0);
}

static void
what_is_on_hold_stays(void **state)
{
	const struct retain_rule rule = { .last = 1 };

	(void)state;
	nights(10);
	items[0].hold = true;
	retain_apply(items, 10, &rule);
	assert_int_equal(kept(10, 0), 2);
	assert_int_equal(items[9].keep, RETAIN_HOLD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_years_of_nights_thin_out_as_the_rule_says),
		cmocka_unit_test(weeks_begin_on_monday),
		cmocka_unit_test(nothing_goes_until_something_newer_is_proven),
		cmocka_unit_test(a_suspect_newest_backup_freezes_its_group_alone),
		cmocka_unit_test(what_is_on_hold_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
