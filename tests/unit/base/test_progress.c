#include <pty.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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
		if (i % 1000 == 0) {
			struct sink *s = progress_sink_new(arg, "public.traces", true, sink_null_new());

			if (sink_write(s, "abc", 3, &(struct err)ERR_INIT) != 0)
				abort();
			sink_free(s);
		}
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
	assert_int_equal(progress_bytes(p), (uint64_t)WORKERS * (ADDS + ADDS / 1000) * 3);
	progress_phase(p, "index", 0);
	assert_int_equal(progress_bytes(p), 0);
	progress_free(p);
}

/* What is done while a progress is shown. */
struct doing {
	unsigned short columns;
	bool silent;
	void (*work)(struct progress *p);
};

/* Shows a progress on a terminal, as stderr of this process; what came is in `shown`. */
static void
on_terminal(const struct doing *d, char *shown, size_t bytes)
{
	struct winsize size = { .ws_row = 24, .ws_col = d->columns };
	int leader, follower, before = dup(STDERR_FILENO);
	struct progress *p;
	size_t used = 0;

	assert_int_equal(openpty(&leader, &follower, NULL, NULL, &size), 0);
	dup2(follower, STDERR_FILENO);
	p = progress_new(d->silent);
	d->work(p);
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
wait_ms(int64_t ms)
{
	struct err e = ERR_INIT;

	assert_int_equal(clock_sleep_ms(ms, &e), 0);
}

static void
quarter_of_a_gib(struct progress *p)
{
	struct sink *s = progress_sink_new(p, "public.observations_資料庫資料庫資料庫資料庫資料庫資料庫資料庫資料庫", false, sink_null_new());

	progress_phase(p, "backup", 1024u << 20);
	for (int i = 0; i < 5; i++) {
		progress_add(p, 50u << 20);
		progress_known(p, 25u << 20);
		wait_ms(200);
	}
	sink_free(s);
}

static void
move(struct sink *s, size_t times)
{
	static const char mib[1 << 20];
	struct err e = ERR_INIT;

	while (times-- > 0)
		assert_int_equal(sink_write(s, mib, sizeof(mib), &e), 0);
}

/* The oldest sleeps, the second moves much, the third was begun last and moves little. */
static void
three_streams_of_which_one_works(struct progress *p)
{
	struct sink *idle = progress_sink_new(p, "oldest", true, sink_null_new());
	struct sink *busy = progress_sink_new(p, "busy", true, sink_null_new());
	struct sink *slow = progress_sink_new(p, "slow", true, sink_null_new());

	progress_phase(p, "restore", 100u << 20);
	wait_ms(450);
	for (int i = 0; i < 6; i++) {
		move(busy, 10);
		move(slow, 1);
		wait_ms(150);
	}
	sink_free(busy);
	move(slow, 40);
	wait_ms(700);
	sink_free(slow);
	sink_free(idle);
}

static void
a_terminal_shows_one_line_that_fits_and_is_taken_away_at_the_end(void **state)
{
	char shown[16384], *line, *rest = shown;

	(void)state;
	on_terminal(&(struct doing){ 60, false, quarter_of_a_gib }, shown, sizeof(shown));
	assert_non_null(strstr(shown, "of 1.0 GiB"));
	assert_non_null(strstr(shown, "50 % known"));
	assert_non_null(strstr(shown, "\r\033[Kend"));
	assert_null(strchr(shown, '\n'));
	while ((line = strsep(&rest, "\r")) != NULL)
		assert_true(width_of(line) < 60 + 3);           /* "\033[K" takes none, and is counted as three */
}

static void
the_line_names_what_moves_most_and_never_passes_100_percent(void **state)
{
	char shown[16384], *oldest, *busy, *slow;

	(void)state;
	on_terminal(&(struct doing){ 100, false, three_streams_of_which_one_works }, shown, sizeof(shown));
	oldest = strstr(shown, "restore oldest");
	busy = strstr(shown, "restore busy");
	slow = strstr(shown, "restore slow");
	assert_non_null(oldest);
	assert_non_null(busy);
	assert_non_null(slow);
	assert_true(oldest < busy && busy < slow);
	assert_null(strstr(slow, "restore busy"));              /* it has ended */
	/* 106 MiB of 100: more than was expected. */
	assert_non_null(strstr(shown, "restore slow: 106 MiB (99 %)"));
	assert_null(strstr(shown, "100 %"));
}

/* 1 MiB in the first half second, 10 MiB a second from then on: an average that forgets slowly must not hold on to its beginning. */
static void
slow_at_first(struct progress *p)
{
	progress_phase(p, "backup", 1024u << 20);
	progress_add(p, 1 << 10);
	wait_ms(500);
	for (int i = 0; i < 20; i++) {
		progress_add(p, 1 << 20);
		wait_ms(100);
	}
}

static void
the_rate_of_a_young_run_is_what_it_moved_so_far(void **state)
{
	char shown[16384], *last = NULL;
	double rate;

	(void)state;
	on_terminal(&(struct doing){ 100, false, slow_at_first }, shown, sizeof(shown));
	for (char *p = shown; (p = strstr(p, "%), ")) != NULL; p++)
		last = p + strlen("%), ");
	assert_non_null(last);
	assert_int_equal(sscanf(last, "%lf MiB/s", &rate), 1);
	assert_true(rate > 5 && rate < 11);
}

static void
a_silent_one_shows_nothing(void **state)
{
	char shown[16384];

	(void)state;
	on_terminal(&(struct doing){ 60, true, quarter_of_a_gib }, shown, sizeof(shown));
	assert_string_equal(shown, "end");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_byte_is_lost_between_threads),
		cmocka_unit_test(a_terminal_shows_one_line_that_fits_and_is_taken_away_at_the_end),
		cmocka_unit_test(the_line_names_what_moves_most_and_never_passes_100_percent),
		cmocka_unit_test(the_rate_of_a_young_run_is_what_it_moved_so_far),
		cmocka_unit_test(a_silent_one_shows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
