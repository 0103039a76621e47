#include "pg/scratch_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define LOOK_MS 100
#define PATIENCE 10                     /* looks between the polite signal and the other one */
#define COUNT_MS 1000                   /* the longest that files are counted, which puts off the other signal */
#define DEEPEST 40                      /* folders that are counted; who hides files deeper is not asked how many */

struct scratch_watch {
	char *folder;
	uint64_t floor;
	struct child *server;
	pthread_t thread;
	int end;                        /* readable when the thread is to end */
	pthread_mutex_t lock;           /* guards all below */
	pthread_cond_t told;            /* counted has become true */
	bool struck, counted;
	uint64_t free_bytes, held_bytes;
};

/*
 * Blocks of all files below, which may come and go.  Takes `fd`.  What made them may still run, and can make, or move ahead of us, more
 * than anybody counts: at `until` the answer is what was seen.
 */
static uint64_t
held_below(int fd, int depth, int64_t until)
{
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	uint64_t bytes = 0;
	struct dirent *entry;
	struct stat st;

	if (d == NULL) {
		file_close(&fd);
		return 0;
	}
	while (clock_mono_ms() < until && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		bytes += (uint64_t)st.st_blocks * 512;
		if (S_ISDIR(st.st_mode) && depth < DEEPEST)
			bytes += held_below(openat(dirfd(d), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), depth + 1, until);
	}
	closedir(d);
	return bytes;
}

/* Looks once, and stops a server that took too much: it is known to be struck before its clients can see its end. */
static bool
look(struct scratch_watch *w)
{
	struct err quiet = ERR_INIT;
	uint64_t free_bytes, held_bytes;
	bool struck, strikes;

	pthread_mutex_lock(&w->lock);
	strikes = !w->struck && file_space(&free_bytes, w->folder, &quiet) == 0 && free_bytes < w->floor;
	if (strikes) {
		w->struck = true;
		w->free_bytes = free_bytes;
	}
	struck = w->struck;
	pthread_mutex_unlock(&w->lock);
	if (!strikes)
		return struck;
	child_signal(w->server, SIGQUIT);
	held_bytes = held_below(open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, clock_mono_ms() + COUNT_MS);
	pthread_mutex_lock(&w->lock);
	w->held_bytes = held_bytes;
	w->counted = true;
	pthread_cond_broadcast(&w->told);
	pthread_mutex_unlock(&w->lock);
	return true;
}

static void *
keep_looking(void *arg)
{
	struct scratch_watch *w = arg;
	struct pollfd end = { .fd = w->end, .events = POLLIN };
	int looks = 0;

	while (poll(&end, 1, LOOK_MS) <= 0)
		/* Something inside may have stopped the server's own process. */
		if (look(w) && looks++ == PATIENCE)
			child_signal(w->server, SIGKILL);
	return NULL;
}

struct scratch_watch *
scratch_watch_new(const char *folder, uint64_t floor, struct child *server, struct err *e)
{
	struct scratch_watch *w = mem_zero(1, sizeof(*w));

	w->folder = mem_strdup(folder);
	w->floor = floor;
	w->server = server;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->told, NULL);
	w->end = eventfd(0, EFD_CLOEXEC);
	if (w->end >= 0 && pthread_create(&w->thread, NULL, keep_looking, w) == 0)
		return w;
	err_sys(e, "watch the free space of \"%s\"", folder);
	file_close(&w->end);
	pthread_cond_destroy(&w->told);
	pthread_mutex_destroy(&w->lock);
	free(w->folder);
	free(w);
	return NULL;
}

void
scratch_watch_free(struct scratch_watch *w)
{
	static const uint64_t one = 1;

	if (w == NULL)
		return;
	(void)!write(w->end, &one, sizeof(one));
	pthread_join(w->thread, NULL);
	file_close(&w->end);
	pthread_cond_destroy(&w->told);
	pthread_mutex_destroy(&w->lock);
	free(w->folder);
	free(w);
}

bool
scratch_watch_struck(struct scratch_watch *w, uint64_t *free_bytes, uint64_t *held_bytes)
{
	bool struck = look(w);

	pthread_mutex_lock(&w->lock);
	while (struck && !w->counted)
		pthread_cond_wait(&w->told, &w->lock);
	*free_bytes = w->free_bytes;
	*held_bytes = w->held_bytes;
	pthread_mutex_unlock(&w->lock);
	return struck;
}
