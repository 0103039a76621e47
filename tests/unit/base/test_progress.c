#include <pty.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/progress.h"
#include "base/width.h"

enum { WORKERS = 4, ADDS = 20000 };

static void *
work(void *arg)
{
	for (int i = 0; i < ADDS; i++) {
		progress_add(arg, 3);
		progress_known(arg, 1);
		if (i % 1000 == 0)
			progress_item(arg, "public.traces");
	}
	return NULL;
}

static void
no_byte_is_lost_between_threads(void **state)
{
	struct progress *p = progress_new(true);
	pthread_t threads[WORKERS];

	(void)state;
	progress_phase(p, "backup", 0);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, p), 0);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(progress_bytes(p), (uint64_t)WORKERS * ADDS * 3);
	progress_phase(p, "index", 0);
	assert_int_equal(progress_bytes(p), 0);
	progress_free(p);
}

/* Shows a progress on a terminal of `columns`, as stderr of this process, for a second; what came is in `shown`. */
static void
on_terminal(unsigned short columns, bool silent, char *shown, size_t bytes)
{
	struct winsize size = { .ws_row = 24, .ws_col = columns };
	int leader, follower, before = dup(STDERR_FILENO);
	struct progress *p;
	struct err e = ERR_INIT;
	size_t used = 0;

	assert_int_equal(openpty(&leader, &follower, NULL, NULL, &size), 0);
	dup2(follower, STDERR_FILENO);
	p = progress_new(silent);
	progress_phase(p, "backup", 1024u << 20);
	progress_item(p, "public.observations_資料庫資料庫資料庫資料庫資料庫資料庫資料庫資料庫");
	for (int i = 0; i < 5; i++) {
		progress_add(p, 50u << 20);
		progress_known(p, 25u << 20);
		assert_int_equal(clock_sleep_ms(200, &e), 0);
	}
	progress_free(p);
	/* The mark to read to. */
	assert_int_equal(write(follower, "end", 3), 3);
	dup2(before, STDERR_FILENO);
	close(before);
	do {
		ssize_t n = read(leader, shown + used, bytes - 1 - used);

		assert_true(n > 0);
		used += (size_t)n;
		shown[used] = '\0';
	} while (strstr(shown, "end") == NULL);
	close(follower);
	close(leader);
}

static void
a_terminal_shows_one_line_that_fits_and_is_taken_away_at_the_end(void **state)
{
	char shown[16384], *line, *rest = shown;

	(void)state;
	on_terminal(60, false, shown, sizeof(shown));
	assert_non_null(strstr(shown, "of 1.0 GiB"));
	assert_non_null(strstr(shown, "50 % known"));
	assert_non_null(strstr(shown, "\r\033[Kend"));
	assert_null(strchr(shown, '\n'));
	while ((line = strsep(&rest, "\r")) != NULL)
		assert_true(width_of(line) < 60 + 3);           /* "\033[K" takes none, and is counted as three */
}

static void
a_silent_one_shows_nothing(void **state)
{
	char shown[16384];

	(void)state;
	on_terminal(60, true, shown, sizeof(shown));
	assert_string_equal(shown, "end");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_byte_is_lost_between_threads),
		cmocka_unit_test(a_terminal_shows_one_line_that_fits_and_is_taken_away_at_the_end),
		cmocka_unit_test(a_silent_one_shows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
