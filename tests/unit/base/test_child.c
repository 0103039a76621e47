/* A program that we run: every byte and the status of its end count (R4), and it is gone when we are done with it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/mem.h"

enum { LIMIT = 1 << 20 };

static const char *const path[] = { "PATH=/usr/bin:/bin", NULL };

static struct child_spec
script(const char *const argv[4])
{
	return (struct child_spec){ .name = "the script", .argv = argv, .env = path };
}

#define SCRIPT(text) script((const char *const[4]){ "/bin/sh", "-c", (text), NULL })

/* Runs to the end; what it wrote, and the error's kind. */
static enum err_kind
run(struct child_spec spec, int64_t idle_ms, struct buf *out, struct err *e)
{
	struct sink *s = sink_buf_new(out, LIMIT);
	int rc = child_run(&spec, s, idle_ms, e);

	assert_int_equal(rc == 0, e->kind == ERR_NONE);
	sink_free(s);
	return e->kind;
}

static void
all_that_it_writes_arrives(void **state)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run(SCRIPT("head -c 500000 /dev/zero; echo end; echo a word >&2"), 0, &out, &e), ERR_NONE);
	assert_int_equal(out.bytes, 500004);
	assert_memory_equal(out.data + 500000, "end\n", 4);
	buf_free(&out);
}

static void
a_failure_after_the_last_byte_is_a_failure(void **state)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run(SCRIPT("echo all of it; echo 'but the end' >&2; exec 1>&-; exit 3"), 0, &out, &e), ERR_FAILED);
	assert_string_equal(e.msg, "the script exited with status 3: but the end");
	err_clear(&e);
	assert_int_equal(run(SCRIPT("echo all of it; kill -9 $$"), 0, &out, &e), ERR_FAILED);
	assert_non_null(strstr(e.msg, "the script was killed by signal 9"));
	buf_free(&out);
}

static void
what_is_silent_too_long_is_killed(void **state)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	const struct child_spec spec = SCRIPT("echo $$; exec sleep 1000");

	(void)state;
	assert_int_equal(run(spec, 300, &out, &e), ERR_TIMEOUT);
	buf_addc(&out, '\0');
	assert_int_equal(kill(atoi((const char *)out.data), 0), -1);
	assert_int_equal(errno, ESRCH);
	buf_free(&out);
}

static void
what_cannot_be_started_is_told_by_its_path(void **state)
{
	const char *const argv[4] = { "/nowhere/pg_dump", NULL };
	const struct child_spec spec = script(argv);
	struct err e = ERR_INIT;

	(void)state;
	assert_null(child_start(&spec, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "\"/nowhere/pg_dump\""));
}

static int
refuse(void *ctx)
{
	(void)ctx;
	return EACCES;
}

static void
a_preparation_that_fails_starts_nothing(void **state)
{
	struct child_spec spec = SCRIPT("exit 0");
	struct err e = ERR_INIT;

	(void)state;
	spec.prepare = refuse;
	spec.prepare_what = "enter the sandbox";
	assert_null(child_start(&spec, &e));
	assert_int_equal(e.kind, ERR_DENIED);
	assert_non_null(strstr(e.msg, "enter the sandbox"));
}

static void
only_its_last_words_are_kept(void **state)
{
	struct child_spec spec = SCRIPT("i=0; while [ $i -lt 2000 ]; do echo \"line $i\" >&2; i=$((i + 1)); done; exit 1");
	struct err e = ERR_INIT;
	struct child *c = child_start(&spec, &e);

	(void)state;
	assert_non_null(c);
	assert_int_equal(child_wait(c, 0, &e), -1);
	assert_non_null(strstr(e.msg, "line 1998; line 1999"));
	assert_true(strlen(child_stderr(c)) <= 4096);
	child_free(c);
}

static void
its_own_words_say_why_it_took_no_more(void **state)
{
	struct child_spec spec = SCRIPT("read line; echo \"cannot use $line\" >&2; exit 1");
	struct err e = ERR_INIT;
	struct child *c;
	struct sink *s;
	char block[4096];
	int rc = 0;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	memset(block, '\n', sizeof(block));
	memcpy(block, "this", 4);
	spec.pipe_in = true;
	c = child_start(&spec, &e);
	assert_non_null(c);
	s = child_sink_new(c);
	while (rc == 0)
		rc = sink_write(s, block, sizeof(block), &e);
	assert_string_equal(e.msg, "the script exited with status 1: cannot use this");
	sink_free(s);
	child_free(c);
}

/* A restore that sees a clean end of its input would commit what it has. */
static void
a_stream_that_is_given_up_is_no_end_of_input(void **state)
{
	char folder[] = "/tmp/holdfast-test-child-XXXXXX", *committed, *set;
	struct err e = ERR_INIT;
	struct child_spec spec = SCRIPT("cat >/dev/null; : >\"$COMMITTED\"");
	const char *env[3] = { path[0] };

	(void)state;
	assert_non_null(mkdtemp(folder));
	committed = mem_printf("%s/committed", folder);
	env[1] = set = mem_printf("COMMITTED=%s", committed);
	spec.env = env;
	spec.pipe_in = true;
	for (int whole = 0; whole < 2; whole++) {
		struct child *c = child_start(&spec, &e);
		struct sink *s;

		assert_non_null(c);
		s = child_sink_new(c);
		assert_int_equal(sink_write(s, "rows", 4, &e), 0);
		if (whole != 0)
			assert_int_equal(sink_finish(s, &e), 0);
		sink_free(s);
		usleep(100000);         /* time for whoever was only left alone */
		child_free(c);
		assert_int_equal(access(committed, F_OK), whole != 0 ? 0 : -1);
	}
	unlink(committed);
	rmdir(folder);
	free(set);
	free(committed);
}

/* Fields of proc(5)'s stat: nice is the 19th, policy the 41st. */
static void
a_batch_child_yields_and_stays_as_nice_as_we_are(void **state)
{
	struct child_spec spec = SCRIPT("set -- $(cat /proc/self/stat); shift 18; echo $1; shift 22; echo $1");
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
	spec.batch = true;
	assert_int_equal(run(spec, 0, &out, &e), ERR_NONE);
	buf_addc(&out, '\0');
	assert_string_equal((const char *)out.data, "3\n3\n");           /* SCHED_BATCH is 3 as well */
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_it_writes_arrives),
		cmocka_unit_test(a_failure_after_the_last_byte_is_a_failure),
		cmocka_unit_test(what_is_silent_too_long_is_killed),
		cmocka_unit_test(what_cannot_be_started_is_told_by_its_path),
		cmocka_unit_test(a_preparation_that_fails_starts_nothing),
		cmocka_unit_test(only_its_last_words_are_kept),
		cmocka_unit_test(its_own_words_say_why_it_took_no_more),
		cmocka_unit_test(a_stream_that_is_given_up_is_no_end_of_input),
		cmocka_unit_test(a_batch_child_yields_and_stays_as_nice_as_we_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
