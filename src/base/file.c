#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rand.h"

int
file_read(struct buf *to, const char *path, size_t limit, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;
	size_t start = to->bytes;

	if (fd < 0)
		return err_sys(e, "open \"%s\"", path);
	for (;;) {
		ssize_t n;

		buf_reserve(to, 65536);
		n = read(fd, to->data + to->bytes, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_sys(e, "read \"%s\"", path);
			break;
		}
		if (n == 0) {
			buf_add(to, NULL, 0);
			rc = 0;
			break;
		}
		to->bytes += (size_t)n;
		if (to->bytes - start > limit) {
			err_set(e, ERR_CORRUPT, "\"%s\" is larger than the %zu bytes that such a file may have", path, limit);
			break;
		}
	}
	file_close(&fd);
	return rc;
}

int
file_write_all(int fd, const void *data, size_t bytes, const char *name, struct err *e)
{
	const char *p = data;

	while (bytes > 0) {
		ssize_t n = write(fd, p, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write to \"%s\"", name);
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

int
file_pread(int fd, void *to, size_t bytes, uint64_t offset, size_t *got, const char *name, struct err *e)
{
	*got = 0;
	while (*got < bytes) {
		ssize_t n = pread(fd, (char *)to + *got, bytes - *got, (off_t)(offset + *got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read \"%s\"", name);
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

int
file_sync(int fd, const char *name, struct err *e)
{
	return fsync(fd) == 0 ? 0 : err_sys(e, "fsync of \"%s\"", name);
}

/* The folder that holds `path`: "." where the path has no '/'. */
static char *
parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return mem_strdup(".");
	return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

int
file_sync_parent(const char *path, struct err *e)
{
	char *parent = parent_of(path);
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	rc = fd < 0 ? err_sys(e, "open folder \"%s\"", parent) : file_sync(fd, parent, e);
	file_close(&fd);
	free(parent);
	return rc;
}

static int
write_whole(const char *path, const void *data, size_t bytes, mode_t mode, bool replace, bool durable, struct err *e)
{
	char *parent = parent_of(path), *temporary, unique[RAND_ID_TEXT];
	int fd, rc = -1;

	rand_id(unique);
	temporary = mem_printf("%s/.tmp-%s", parent, unique);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0) {
		err_sys(e, "create \"%s\"", temporary);
		goto out;
	}
	if (file_write_all(fd, data, bytes, temporary, e) || (durable && file_sync(fd, temporary, e)))
		goto out;
	/* link fails where the name is taken; rename would replace it without a word. */
	if (replace ? rename(temporary, path) != 0 : link(temporary, path) != 0) {
		err_sys(e, "%s \"%s\"", replace ? "rename to" : "create", path);
		goto out;
	}
	rc = durable ? file_sync_parent(path, e) : 0;   /* the name is durable only when its folder is */
out:
	if (fd >= 0 && (rc != 0 || !replace))
		unlink(temporary);
	file_close(&fd);
	free(temporary);
	free(parent);
	return rc;
}

int
file_write_new(const char *path, const void *data, size_t bytes, mode_t mode, struct err *e)
{
	return write_whole(path, data, bytes, mode, false, true, e);
}

int
file_write_replace(const char *path, const void *data, size_t bytes, mode_t mode, struct err *e)
{
	return write_whole(path, data, bytes, mode, true, true, e);
}

int
file_write_cached(const char *path, const void *data, size_t bytes, mode_t mode, struct err *e)
{
	return write_whole(path, data, bytes, mode, true, false, e);
}

int
file_mkdirs(const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	char *parent;
	int rc;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR;
		return err_sys(e, "folder \"%s\"", path);
	}
	if (errno != ENOENT)
		return err_sys(e, "folder \"%s\"", path);
	parent = parent_of(path);
	rc = strcmp(parent, path) == 0 ? 0 : file_mkdirs(parent, mode, e);
	free(parent);
	if (rc != 0)
		return -1;
	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return err_sys(e, "make folder \"%s\"", path);
	return file_sync_parent(path, e);
}

#define DEEPEST 64                      /* folders that are open at once, whoever filled the tree */

struct removal {
	int top;                        /* the tree's own folder */
	bool moved;                     /* something there waits for another turn */
};

/* Moves a folder that lies too deep to the top of the tree. */
static bool
move_up(struct removal *r, int dir, const char *name)
{
	char id[RAND_ID_TEXT];

	rand_id(id);
	if (renameat(dir, name, r->top, id) != 0)
		return false;
	r->moved = true;
	return true;
}

/* Takes `fd`. */
static int
remove_inside(struct removal *r, int fd, int depth, const char *path, struct err *e)
{
	DIR *dir = fdopendir(fd);
	struct dirent *d;
	int rc = 0;

	if (dir == NULL) {
		err_sys(e, "read folder \"%s\"", path);
		file_close(&fd);
		return -1;
	}
	while (errno = 0, (d = readdir(dir)) != NULL) {
		struct err ignored = ERR_INIT, *where = rc == 0 ? e : &ignored;
		int sub;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), d->d_name, 0) == 0)
			continue;
		if (depth >= DEEPEST && move_up(r, dirfd(dir), d->d_name))
			continue;
		sub = openat(dirfd(dir), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 || remove_inside(r, sub, depth + 1, d->d_name, where) != 0 || unlinkat(dirfd(dir), d->d_name, AT_REMOVEDIR) != 0) {
			if (where->kind == ERR_NONE)
				err_sys(where, "remove \"%s\" in \"%s\"", d->d_name, path);
			rc = -1;
		}
	}
	closedir(dir);
	return rc;
}

int
file_remove_tree(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;
	struct removal r = { .top = fd };

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return unlink(path) == 0 ? 0 : err_sys(e, "remove \"%s\"", path);
	if (fd < 0)
		return err_sys(e, "open folder \"%s\"", path);
	do {
		r.moved = false;
		fd = fcntl(r.top, F_DUPFD_CLOEXEC, 0);
		rc = fd < 0 || lseek(fd, 0, SEEK_SET) != 0 ? err_sys(e, "read folder \"%s\"", path) : remove_inside(&r, fd, 0, path, e);
	} while (rc == 0 && r.moved);
	file_close(&r.top);
	if (rc != 0)
		return -1;
	return rmdir(path) == 0 ? 0 : err_sys(e, "remove folder \"%s\"", path);
}

void
file_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int
file_space(uint64_t *free_bytes, const char *path, struct err *e)
{
	struct statvfs v;

	if (statvfs(path, &v) != 0)
		return err_sys(e, "free space at \"%s\"", path);
	*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

char *
file_read_secret(const char *path, struct err *e)
{
	struct buf content = BUF_INIT;
	struct stat st;
	size_t n;
	char *secret = NULL;

	if (stat(path, &st) != 0) {
		err_sys(e, "secret file \"%s\"", path);
		return NULL;
	}
	if ((st.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
		err_set(e, ERR_DENIED, "secret file \"%s\" has mode %04o: others can read or change it", path, (unsigned)(st.st_mode & 07777));
		err_hint(e, "chmod 0600 \"%s\"", path);
		return NULL;
	}
	/* The room is there before the first byte, so that no copy of the secret is left behind by growing. */
	buf_reserve(&content, 2 * 65536 + 2);
	if (file_read(&content, path, 65536, e) == 0) {
		n = content.bytes;
		if (n > 0 && content.data[n - 1] == '\n')
			n--;
		if (memchr(content.data, 0, n) != NULL)
			err_set(e, ERR_USAGE, "secret file \"%s\" holds a zero byte", path);
		else
			secret = mem_strndup((char *)content.data, n);
	}
	mem_wipe(content.data, content.bytes);
	buf_free(&content);
	return secret;
}
