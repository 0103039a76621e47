/* What guards the disk while code of the dump runs that need not die with its server. */
#include "cluster.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/wait.h>

#include "pg/scratch_watch.h"

#define LEVELS 13
#define LEAVES 2000

/* A server that does not go when it is asked to. */
static struct child *
start_stubborn(void)
{
	char *ready = mem_printf("/tmp/hf-watch-ready-%d", getpid());
	const char *const argv[] = { "/bin/sh", "-c", "trap '' QUIT; : >$0; while :; do sleep 1; done", ready, NULL };
	const struct child_spec spec = { .name = "a server", .argv = argv };
	struct err e = ERR_INIT;
	struct child *c = child_start(&spec, &e);

	if (c == NULL)
		fail_msg("%s", e.msg);
	for (int i = 0; i < 500 && access(ready, F_OK) != 0; i++)
		usleep(20000);
	assert_int_equal(unlink(ready), 0);
	free(ready);
	return c;
}

/* On each level two folders, and in the one of them that is read first the next level; files at the bottom. */
struct maze {
	int levels[LEVELS + 1];
	char first[LEVELS][8], second[LEVELS][8];       /* "a/next" and "b/next", as a reader comes to them */
};

static void
order_of(int level, char *first, char *second)
{
	DIR *d = fdopendir(openat(level, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *entry;

	*first = '\0';
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			snprintf(*first == '\0' ? first : second, 8, "%c/next", entry->d_name[0]);
	closedir(d);
}

static void
make_maze(struct maze *m, int top)
{
	m->levels[0] = top;
	for (int i = 0; i < LEVELS; i++) {
		assert_int_equal(mkdirat(m->levels[i], "a", 0700), 0);
		assert_int_equal(mkdirat(m->levels[i], "b", 0700), 0);
		order_of(m->levels[i], m->first[i], m->second[i]);
		assert_int_equal(mkdirat(m->levels[i], m->first[i], 0700), 0);
		m->levels[i + 1] = openat(m->levels[i], m->first[i], O_RDONLY | O_DIRECTORY);
	}
	for (int i = 0; i < LEAVES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(mknodat(m->levels[LEVELS], name, S_IFREG | 0600, 0), 0);
	}
}

/* Whenever somebody has opened a level, it is moved to where the same reader comes next: each level doubles what there is to see. */
static _Noreturn void
keep_moving(const struct maze *m, int ready)
{
	int fd = inotify_init1(0);
	char path[32];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < LEVELS; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", m->levels[i + 1]);
		/* They are counted from 1. */
		if (inotify_add_watch(fd, path, IN_OPEN) != i + 1)
			_exit(1);
	}
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		_Alignas(struct inotify_event) char events[4096];
		const struct inotify_event *event;
		ssize_t bytes = read(fd, events, sizeof(events));

		for (ssize_t at = 0; at < bytes; at += (ssize_t)(sizeof(*event) + event->len)) {
			int i;

			event = (const struct inotify_event *)(const void *)(events + at);
			i = event->wd - 1;
			if (event->len > 0)
				continue;       /* what lies in it was opened */
			if (renameat(m->levels[i], m->first[i], m->levels[i], m->second[i]) != 0)
				(void)!renameat(m->levels[i], m->second[i], m->levels[i], m->first[i]);
		}
	}
}

static void
files_that_outrun_the_count_do_not_put_off_the_end(void **state)
{
	char folder[] = "/tmp/hf-watch-XXXXXX";
	struct maze maze;
	uint64_t free_bytes = 0, held_bytes = 0;
	struct child *server = start_stubborn();
	struct err e = ERR_INIT;
	struct scratch_watch *w;
	int64_t from;
	int ready[2];
	pid_t mover;
	char byte;

	(void)state;
	assert_non_null(mkdtemp(folder));
	make_maze(&maze, open(folder, O_RDONLY | O_DIRECTORY));
	assert_int_equal(pipe(ready), 0);
	mover = fork();
	if (mover == 0)
		keep_moving(&maze, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	from = clock_mono_ms();
	/* A disk that is full from the beginning. */
	w = scratch_watch_new(folder, UINT64_MAX, server, &e);
	assert_non_null(w);
	while (!scratch_watch_struck(w, &free_bytes, &held_bytes))
		usleep(10000);
	assert_true(clock_mono_ms() - from < 5000);
	assert_true(free_bytes > 0 && held_bytes > 0);
	/* Its patience, behind the count. */
	usleep(3000000);
	scratch_watch_free(w);
	assert_true(clock_mono_ms() - from < 10000);
	assert_false(child_running(server));
	kill(mover, SIGKILL);
	waitpid(mover, NULL, 0);
	child_free(server);
	for (int i = 0; i <= LEVELS; i++)
		close(maze.levels[i]);
	assert_int_equal(file_remove_tree(folder, &e), 0);
}

static void
what_the_folder_holds_is_counted(void **state)
{
	char folder[] = "/tmp/hf-watch-XXXXXX", *path;
	static const char block[100000];
	uint64_t free_bytes = 0, held_bytes = 0;
	struct child *server = start_stubborn();
	struct err e = ERR_INIT;
	struct scratch_watch *w;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/below", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
	for (int i = 0; i < 5; i++) {
		path = mem_printf("%s/below/%d", folder, i);
		assert_good(file_write_new(path, block, sizeof(block), 0600, &e), &e);
		free(path);
	}
	/* Enough is free: nothing is done, however often somebody asks. */
	w = scratch_watch_new(folder, 1, server, &e);
	assert_non_null(w);
	usleep(300000);
	assert_false(scratch_watch_struck(w, &free_bytes, &held_bytes));
	scratch_watch_free(w);
	assert_true(child_running(server));
	w = scratch_watch_new(folder, UINT64_MAX, server, &e);
	assert_non_null(w);
	assert_true(scratch_watch_struck(w, &free_bytes, &held_bytes));
	assert_true(held_bytes >= 5 * sizeof(block) && held_bytes < 20 * sizeof(block));
	scratch_watch_free(w);
	child_free(server);
	assert_int_equal(file_remove_tree(folder, &e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_outrun_the_count_do_not_put_off_the_end),
		cmocka_unit_test(what_the_folder_holds_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
