#include "unit/store/contract.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/folder.h"

static char *scratch;

static int
setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	scratch = scratch_new();
	contract.store = folder_open(scratch, false, &e);
	assert_non_null(contract.store);
	contract.exclusive = true;
	contract.many = 2500;
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
write_file(const char *name, const char *content)
{
	char *path = mem_printf("%s/%s", scratch, name);
	struct err e = ERR_INIT;

	OK(file_write_replace(path, content, strlen(content), 0600, &e));
	free(path);
}

static bool
file_exists(const char *name)
{
	char *path = mem_printf("%s/%s", scratch, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

/* R30: what a killed write left is no object, and goes after a day; what a live one is writing stays. */
static void
leftover_temporaries_are_no_objects_and_old_ones_are_swept(void **state)
{
	struct timespec old[2] = { { .tv_sec = time(NULL) - 25 * 3600 }, { .tv_sec = time(NULL) - 25 * 3600 } };
	char *path = mem_printf("%s/.tmp/dead", scratch), *folder = mem_printf("%s/.tmp", scratch);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	write_file(".tmp/dead", "half an obj");
	write_file(".tmp/alive", "half an obj");
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	assert_int_equal(count_objects(contract.store, ""), 0);
	OK(store_put(contract.store, "a", "a", 1, &e));
	assert_int_equal(count_objects(contract.store, ""), 1);
	assert_false(file_exists(".tmp/dead"));
	assert_true(file_exists(".tmp/alive"));
	free(path);
	free(folder);
}

static void
files_that_are_not_ours_are_left_out_and_left_alone(void **state)
{
	struct err e = ERR_INIT;
	char *path = mem_printf("%s/lost+found", scratch), *fifo = mem_printf("%s/fifo", scratch);
	char *link = mem_printf("%s/link", scratch);
	struct buf to = BUF_INIT;

	(void)state;
	OK(store_put(contract.store, "ours", "a", 1, &e));
	write_file("README.txt", "hello");
	assert_int_equal(mkdir(path, 0700), 0);
	write_file("lost+found/x", "x");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(count_objects(contract.store, ""), 1);
	assert_true(file_exists("README.txt"));
	/* Neither waits for a writer nor leaves the folder. */
	FAILS(ERR_CORRUPT, store_get(contract.store, "fifo", 0, 0, &to, &e));
	assert_int_not_equal(store_get(contract.store, "link", 0, 0, &to, &e), 0);
	assert_int_equal(to.bytes, 0);
	free(path);
	free(fifo);
	free(link);
}

static void
file_that_grew_beyond_any_object_is_corrupt(void **state)
{
	char *path = mem_printf("%s/large", scratch);
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	OK(store_put(contract.store, "large", "a", 1, &e));
	assert_int_equal(truncate(path, (off_t)STORE_OBJECT_MAX + 1), 0);
	FAILS(ERR_CORRUPT, store_get(contract.store, "large", 0, 0, &to, &e));
	free(path);
	buf_free(&to);
}

/* R13: of a folder that was taken away under us nothing may be "not found". */
static void
removed_folder_is_not_an_empty_store(void **state)
{
	char *path = mem_printf("%s/inner", scratch);
	struct err e = ERR_INIT;
	struct store *s = folder_open(path, true, &e);
	struct store_object o;
	struct buf to = BUF_INIT;
	size_t n = 0;

	(void)state;
	assert_non_null(s);
	OK(store_put(s, "a/b", "x", 1, &e));
	OK(file_remove_tree(path, &e));
	FAILS(ERR_STORE, store_get(s, "a/b", 0, 0, &to, &e));
	FAILS(ERR_STORE, store_stat(s, "a/b", &o, &e));
	FAILS(ERR_STORE, store_list(s, "a/", count_each, &n, &e));
	FAILS(ERR_STORE, store_remove(s, "a/b", &e));
	FAILS(ERR_FAILED, store_put(s, "a/b", "x", 1, &e));
	store_free(s);
	free(path);
}

/* A backup disk that is not mounted must not become a backup on the root disk. */
static void
missing_folder_is_made_by_init_only(void **state)
{
	char *path = mem_printf("%s/not/there", scratch);
	struct store_config c = { .kind = STORE_FOLDER, .path = path };
	struct err e = ERR_INIT;
	struct store *s;

	(void)state;
	assert_null(store_open(&c, false, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	SAYS(e.msg, path);
	SAYS(e.hint, "mounted");
	assert_false(file_exists("not"));
	s = store_open(&c, true, &e);
	assert_non_null(s);
	SAYS(store_label(s), path);
	store_free(s);
	s = store_open(&c, false, &e);
	assert_non_null(s);
	store_free(s);
	c.path = NULL;
	assert_null(store_open(&c, true, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	free(path);
}

/* Runs `body` in a mount namespace of its own with a small tmpfs on the scratch folder; 0 when it is satisfied, 77 where we may
 * not make one. */
static int
in_small_disk(const char *options, int (*body)(const char *path))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		    mount("tmpfs", scratch, "tmpfs", 0, options) != 0)
			_exit(77);
		_exit(body(scratch));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
assert_or_skip(int status)
{
	const char *strict = getenv("HOLDFAST_NO_SKIP");

	if (status == 77 && (strict == NULL || strcmp(strict, "1") != 0)) {
		print_message("SKIPPED: only root may mount a small disk\n");
		skip();
	}
	assert_int_equal(status, 0);
}

#define WANT(condition)                                                                                         \
	do {                                                                                                    \
		if (!(condition)) {                                                                             \
			fprintf(stderr, "line %d: not %s (%s)\n", __LINE__, #condition, e.msg);                 \
			return 1;                                                                               \
		}                                                                                               \
	} while (0)

/* In a child: no cmocka here. */
static int
fill(const char *path)
{
	struct err e = ERR_INIT;
	struct store *s = folder_open(path, false, &e);
	uint8_t *data = noise(1u << 20, 1);
	struct buf to = BUF_INIT;
	struct store_object o;
	unsigned i;

	for (i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "full/%u", i);
		if (store_put(s, name, data, 1u << 20, &e) != 0)
			break;
	}
	WANT(i >= 2 && i < 4);
	WANT(e.kind == ERR_SPACE);
	err_clear(&e);
	WANT(store_stat(s, i == 2 ? "full/2" : "full/3", &o, &e) == -1 && e.kind == ERR_NOT_FOUND);
	/* The temporary is gone, or the disk would stay full: what does fit, fits. */
	WANT(store_put(s, "small", data, 4096, &e) == 0);
	WANT(store_get(s, "full/1", 0, 0, &to, &e) == 0 && to.bytes == 1u << 20 && memcmp(to.data, data, to.bytes) == 0);
	WANT(store_remove(s, "full/1", &e) == 0);
	WANT(store_put(s, "full/again", data, 1u << 20, &e) == 0);
	store_free(s);
	buf_free(&to);
	free(data);
	return 0;
}

static void
full_disk_is_said_and_leaves_nothing_half_written(void **state)
{
	(void)state;
	assert_or_skip(in_small_disk("size=3400k", fill));
}

static int
run_out_of_inodes(const char *path)
{
	struct err e = ERR_INIT;
	struct store *s = folder_open(path, false, &e);
	unsigned i;

	for (i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u/x", i);
		if (store_put(s, name, "x", 1, &e) != 0)
			break;
	}
	WANT(i > 0 && i < 100);
	WANT(e.kind == ERR_SPACE);
	store_free(s);
	return 0;
}

static void
disk_without_inodes_is_full_too(void **state)
{
	(void)state;
	assert_or_skip(in_small_disk("size=3400k,nr_inodes=20", run_out_of_inodes));
}

static int
turn_read_only(const char *path)
{
	struct err e = ERR_INIT;
	struct store *s = folder_open(path, false, &e), *late;
	struct buf to = BUF_INIT;

	WANT(store_put(s, "a", "x", 1, &e) == 0);
	WANT(mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	WANT(store_put(s, "b", "x", 1, &e) == -1 && e.kind == ERR_DENIED);
	err_clear(&e);
	WANT(store_remove(s, "a", &e) == -1 && e.kind == ERR_DENIED);
	err_clear(&e);
	WANT(store_get(s, "a", 0, 0, &to, &e) == 0 && to.bytes == 1);
	/* Opened when it is read-only already: reading works, writing says why not. */
	late = folder_open(path, false, &e);
	WANT(late != NULL && store_get(late, "a", 0, 0, &to, &e) == 0);
	WANT(store_put(late, "b/c", "x", 1, &e) == -1 && e.kind == ERR_DENIED);
	store_free(s);
	store_free(late);
	buf_free(&to);
	return 0;
}

static void
read_only_folder_can_be_read_and_says_why_it_cannot_be_written(void **state)
{
	(void)state;
	assert_or_skip(in_small_disk("size=1m", turn_read_only));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(leftover_temporaries_are_no_objects_and_old_ones_are_swept, setup, teardown),
		cmocka_unit_test_setup_teardown(files_that_are_not_ours_are_left_out_and_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(file_that_grew_beyond_any_object_is_corrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(removed_folder_is_not_an_empty_store, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_folder_is_made_by_init_only, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk_is_said_and_leaves_nothing_half_written, setup, teardown),
		cmocka_unit_test_setup_teardown(disk_without_inodes_is_full_too, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_folder_can_be_read_and_says_why_it_cannot_be_written, setup, teardown),
	};
	int failed = cmocka_run_group_tests_name("contract of a folder", contract_tests, setup, teardown);

	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
