#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* What a cage leaves behind was made by somebody who may want it to stay. */
static void
a_tree_is_removed_however_deep_it_is(void **state)
{
	struct rlimit before, few = { .rlim_cur = 128 };
	char base[] = "/tmp/hf-file-XXXXXX";
	struct err e = ERR_INIT;
	struct stat st;
	int fd, next;

	(void)state;
	assert_non_null(mkdtemp(base));
	fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(fd, "down", 0700), 0);
		assert_int_equal(mkdirat(fd, "beside", 0700), 0);
		next = openat(fd, "down", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	assert_int_equal(symlinkat("/usr", fd, "link"), 0);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	if (file_remove_tree(base, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_not_equal(lstat(base, &st), 0);
	assert_int_equal(stat("/usr/bin", &st), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_is_removed_however_deep_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
