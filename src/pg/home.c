#include "pg/home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"

#define PREFIX "holdfast-scratch-"
#define MARKER "owned-by-a-running-holdfast"
#define UNMARKED_LIFE_S 3600            /* a folder between mkdir and its marker; older than this it is a leftover */

int
home_make(struct home *h, const char *dir, struct err *e)
{
	char id[RAND_ID_TEXT], *marker = NULL;
	int rc = -1;

	h->lock = -1;
	rand_id(id);
	id[12] = '\0';                  /* the path of a unix socket in it has 107 bytes at most */
	h->path = mem_printf("%s/" PREFIX "%s", dir, id);
	/* Others may pass through and not look: the unprivileged user works in a folder of its own below. */
	if (mkdir(h->path, 0711) != 0) {
		err_sys(e, "make the scratch folder \"%s\"", h->path);
		err_hint(e, "drill.dir must be a folder that holdfast can write to, with room for the restored database");
		free(h->path);
		h->path = NULL;
		return -1;
	}
	marker = mem_printf("%s/" MARKER, h->path);
	h->lock = open(marker, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (h->lock < 0 || flock(h->lock, LOCK_EX | LOCK_NB) != 0)
		err_sys(e, "lock \"%s\"", marker);
	else if (chmod(h->path, 0711) != 0)             /* whatever the umask is */
		err_sys(e, "set the rights of \"%s\"", h->path);
	else
		rc = 0;
	free(marker);
	if (rc != 0)
		home_remove(h);
	return rc;
}

void
home_remove(struct home *h)
{
	struct err e = ERR_INIT;
	int rc = -1;

	if (h->path == NULL)
		return;
	/* The last process of a cage that was just killed may still be writing. */
	for (int i = 0; rc != 0 && i < 20; i++) {
		static const struct timespec nap = { .tv_nsec = 100 * 1000 * 1000 };

		if (i > 0)
			nanosleep(&nap, NULL);
		err_clear(&e);
		rc = file_remove_tree(h->path, &e);
	}
	if (rc != 0) {
		err_wrap(&e, "the scratch folder \"%s\" stays behind", h->path);
		log_err(LOG_WARNING, &e);
	}
	file_close(&h->lock);
	free(h->path);
	h->path = NULL;
}

/* Whether nobody owns this folder any more.  *lock keeps it ours until it is gone. */
static bool
is_orphan(const char *path, int *lock)
{
	char *marker = mem_printf("%s/" MARKER, path);
	struct stat st;
	bool orphan = false;

	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid()) {
		*lock = open(marker, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (*lock >= 0)
			orphan = flock(*lock, LOCK_EX | LOCK_NB) == 0;
		else
			orphan = errno == ENOENT && st.st_ctime + UNMARKED_LIFE_S < time(NULL);
	}
	free(marker);
	return orphan;
}

int
home_sweep(const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int removed = 0;

	if (d == NULL)
		return errno == ENOENT ? 0 : err_sys(e, "open folder \"%s\"", dir);
	while ((entry = readdir(d)) != NULL) {
		int lock = -1;
		char *path;

		if (strncmp(entry->d_name, PREFIX, sizeof(PREFIX) - 1) != 0)
			continue;
		path = mem_printf("%s/%s", dir, entry->d_name);
		if (is_orphan(path, &lock)) {
			if (file_remove_tree(path, e))
				removed = -1;
			else if (removed >= 0)
				removed++;
		}
		file_close(&lock);
		free(path);
	}
	closedir(d);
	return removed;
}
