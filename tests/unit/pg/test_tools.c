#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "pg/tools.h"

static char top[64];

/* A folder with programs that only say their version. */
static char *
fake(const char *folder, const char *version, const char *const *programs)
{
	char *dir = mem_printf("%s/%s", top, folder), *text = mem_printf("#!/bin/sh\necho \"program (PostgreSQL) %s\"\n", version);
	struct err e = ERR_INIT;

	assert_int_equal(file_mkdirs(dir, 0755, &e), 0);
	for (size_t i = 0; programs[i] != NULL; i++) {
		char *path = mem_printf("%s/%s", dir, programs[i]);

		assert_int_equal(file_write_replace(path, text, strlen(text), 0755, &e), 0);
		assert_int_equal(chmod(path, 0755), 0);
		free(path);
	}
	free(text);
	return dir;
}

static int
start(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/hf-tools-XXXXXX");
	return mkdtemp(top) != NULL ? 0 : -1;
}

static int
stop(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return file_remove_tree(top, &e);
}

static const char *const clients[] = { "pg_dump", "pg_dumpall", "pg_restore", NULL };

static void
of_several_the_nearest_to_the_server_is_taken(void **state)
{
	char *d97 = fake("97", "97.3", clients), *d98 = fake("98", "98.1 (Debian 98.1-1)", clients), *d98b = fake("98b", "98.4", clients);
	char *d99 = fake("99", "99beta2", clients), *path = mem_printf("%s:relative:%s:%s:%s", d97, d99, d98, d98b);
	char *old = mem_strdup(getenv("PATH"));
	struct tools t;
	struct err e = ERR_INIT;

	(void)state;
	setenv("PATH", path, 1);
	assert_int_equal(tools_find(&t, TOOLS_DUMP | TOOLS_RESTORE, NULL, 98, &e), 0);
	assert_int_equal(t.major, 98);
	assert_int_equal(t.minor, 4);
	assert_string_equal(t.dir, d98b);
	assert_null(t.initdb);
	assert_string_equal(strrchr(t.pg_restore, '/'), "/pg_restore");
	tools_free(&t);
	assert_int_equal(tools_find(&t, TOOLS_DUMP, NULL, 96, &e), 0);
	assert_int_equal(t.major, 97);
	tools_free(&t);
	assert_int_equal(tools_find(&t, TOOLS_DUMP, NULL, 0, &e), 0);
	assert_int_equal(t.major, 99);
	assert_string_equal(t.version, "99beta2");
	tools_free(&t);
	setenv("PATH", old, 1);
	free(old), free(path), free(d97), free(d98), free(d98b), free(d99);
}

/* R39: a server that was upgraded must not end the backups in silence. */
static void
a_pg_dump_that_is_too_old_is_named_and_so_is_what_to_do(void **state)
{
	char *dir = fake("old", "14.2", clients);
	struct tools t;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(tools_find(&t, TOOLS_DUMP, dir, 17, &e), -1);
	assert_int_equal(e.kind, ERR_FAILED);
	assert_non_null(strstr(e.msg, "pg_dump, pg_dumpall (version 17 or newer, as the server is 17)"));
	assert_non_null(strstr(e.msg, "14.2 in "));
	assert_non_null(strstr(e.msg, dir));
	assert_non_null(strstr(e.hint, "postgresql-client-17"));
	free(dir);
}

static void
a_folder_that_lacks_one_program_is_not_taken(void **state)
{
	static const char *const half[] = { "pg_dump", NULL };
	char *dir = fake("half", "17.1", half), *none = mem_printf("%s/none", top);
	struct tools t;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(tools_find(&t, TOOLS_DUMP, dir, 0, &e), -1);
	assert_non_null(strstr(e.msg, "has no pg_dumpall"));
	assert_int_equal(tools_find(&t, TOOLS_DUMP, none, 0, &e), -1);
	assert_non_null(strstr(e.msg, "found none"));
	free(dir);
	free(none);
}

static void
a_pg_dump_that_does_not_run_is_not_taken(void **state)
{
	char *dir = fake("broken", "17.1", clients), *path = mem_printf("%s/pg_dump", dir);
	struct tools t;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(file_write_replace(path, "#!/bin/sh\nexit 127\n", 19, 0755, &e), 0);
	assert_int_equal(tools_find(&t, TOOLS_DUMP, dir, 0, &e), -1);
	assert_non_null(strstr(e.msg, "status 127"));
	free(dir);
	free(path);
}

/* Debian's /usr/bin/pg_dump chooses a version by itself. */
static void
the_wrapper_of_debian_is_passed_over(void **state)
{
	static const char *const wrapper[] = { "pg_wrapper", NULL };
	char *dir = fake("wrapped", "99.9", wrapper), *target = mem_printf("%s/pg_wrapper", dir);
	struct tools t;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; clients[i] != NULL; i++) {
		char *path = mem_printf("%s/%s", dir, clients[i]);

		assert_int_equal(symlink(target, path), 0);
		free(path);
	}
	assert_int_equal(tools_find(&t, TOOLS_DUMP, dir, 0, &e), -1);
	free(dir);
	free(target);
}

static void
the_programs_of_this_machine_are_found(void **state)
{
	struct tools t;
	struct err e = ERR_INIT;

	(void)state;
	if (tools_find(&t, TOOLS_DUMP | TOOLS_RESTORE | TOOLS_SERVER, NULL, 0, &e))
		fail_msg("%s", e.msg);
	assert_true(t.major >= 13);
	assert_int_equal(access(t.postgres, X_OK), 0);
	tools_free(&t);
}

static void
versions_are_read_strictly(void **state)
{
	int major = 0, minor = 0;

	(void)state;
	assert_true(tools_parse_version(&major, &minor, "15.20 (Debian 15.20-0+deb12u1)"));
	assert_int_equal(major, 15);
	assert_int_equal(minor, 20);
	assert_true(tools_parse_version(&major, &minor, "18devel"));
	assert_int_equal(major, 18);
	assert_int_equal(minor, 0);
	assert_false(tools_parse_version(&major, &minor, ""));
	assert_false(tools_parse_version(&major, &minor, "x15"));
	assert_false(tools_parse_version(&major, &minor, "-1.2"));
}

/* R43, R44, R45. */
static void
versions_below_the_floor_are_named(void **state)
{
	(void)state;
	assert_null(tools_floor_problem(15, 20));
	assert_non_null(strstr(tools_floor_problem(15, 19), "15.20"));
	assert_non_null(strstr(tools_floor_problem(15, 18), "15.19"));
	assert_null(tools_floor_problem(17, 12));
	assert_non_null(tools_floor_problem(18, 6));
	assert_null(tools_floor_problem(18, 7));
	assert_non_null(strstr(tools_floor_problem(18, 3), "CVE-2026-16238"));
	assert_non_null(tools_floor_problem(13, 99));
	assert_null(tools_floor_problem(19, 0));
}

static void
a_pg_restore_of_17_suits_no_server_before_17(void **state)
{
	(void)state;
	assert_true(tools_suit(15, 15));
	assert_true(tools_suit(16, 14));
	assert_false(tools_suit(17, 16));
	assert_false(tools_suit(18, 14));
	assert_true(tools_suit(18, 17));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_several_the_nearest_to_the_server_is_taken),
		cmocka_unit_test(a_pg_dump_that_is_too_old_is_named_and_so_is_what_to_do),
		cmocka_unit_test(a_folder_that_lacks_one_program_is_not_taken),
		cmocka_unit_test(a_pg_dump_that_does_not_run_is_not_taken),
		cmocka_unit_test(the_wrapper_of_debian_is_passed_over),
		cmocka_unit_test(the_programs_of_this_machine_are_found),
		cmocka_unit_test(versions_are_read_strictly),
		cmocka_unit_test(versions_below_the_floor_are_named),
		cmocka_unit_test(a_pg_restore_of_17_suits_no_server_before_17),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
