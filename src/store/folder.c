#include "store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"

#define TEMPORARIES ".tmp"
#define STALE_US (INT64_C(24) * 3600 * 1000000)
#define FOLDER_MODE 0750
#define FILE_MODE 0640

struct folder {
	struct store store;
	char *path;
	int root;
	pthread_mutex_t lock;           /* over what follows */
	bool ready;                     /* .tmp is there and was swept */
	char **durable;                 /* sub-folders whose names are known to be on the disk, by this process */
	size_t durable_count;
};

/*
 * "Not there" is an answer only while the store is (R13): a folder that was removed under us says ENOENT to everything.
 */
static int
folder_not_there(const struct folder *f, const char *doing, const char *name, struct err *e)
{
	struct stat st;

	if (fstat(f->root, &st) == 0 && st.st_nlink == 0)
		return err_set(e, ERR_STORE, "%s \"%s\": folder \"%s\" itself was removed", doing, name, f->path);
	return err_set(e, ERR_NOT_FOUND, "%s \"%s\": no such object in folder \"%s\"", doing, name, f->path);
}

static int
folder_failed(const struct folder *f, const char *doing, const char *name, struct err *e)
{
	if (errno == ENOENT)
		return folder_not_there(f, doing, name, e);
	return err_sys(e, "%s \"%s\" in folder \"%s\"", doing, name, f->path);
}

/* Makes the sub-folder `name` (its parent exists) and its name durable. */
static int
folder_make_one(struct folder *f, const char *name, struct err *e)
{
	const char *slash = strrchr(name, '/');
	char *parent = slash == NULL ? mem_strdup(".") : mem_strndup(name, (size_t)(slash - name));
	int fd = -1, rc = -1;

	if (mkdirat(f->root, name, FOLDER_MODE) != 0 && errno != EEXIST) {
		err_sys(e, "make folder \"%s\" in \"%s\"", name, f->path);
		goto out;
	}
	/* Also where it existed: whoever made it may have died before this. */
	fd = openat(f->root, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		err_sys(e, "open folder \"%s\" in \"%s\"", parent, f->path);
		goto out;
	}
	rc = file_sync(fd, parent, e);
out:
	file_close(&fd);
	free(parent);
	return rc;
}

static bool
folder_is_durable(const struct folder *f, const char *name)
{
	for (size_t i = 0; i < f->durable_count; i++)
		if (strcmp(f->durable[i], name) == 0)
			return true;
	return false;
}

/*
 * Makes every folder above `name` that is missing.  Under the lock all the way: a second thread must not find the folder and
 * call its object durable while the first has not yet synced the folder's own name.
 */
static int
folder_make_above(struct folder *f, const char *name, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&f->lock);
	for (const char *slash = strchr(name, '/'); rc == 0 && slash != NULL; slash = strchr(slash + 1, '/')) {
		char *above = mem_strndup(name, (size_t)(slash - name));

		if (folder_is_durable(f, above)) {
			free(above);
			continue;
		}
		rc = folder_make_one(f, above, e);
		if (rc == 0) {
			f->durable = mem_grow(f->durable, f->durable_count + 1, sizeof(*f->durable));
			f->durable[f->durable_count++] = above;
		} else {
			free(above);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

/* Removes temporaries that nobody can be writing any more.  What cannot be removed stays: it is in nobody's way. */
static void
folder_sweep(const struct folder *f)
{
	int fd = openat(f->root, TEMPORARIES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (dir == NULL) {
		file_close(&fd);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		struct stat st;

		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		if (clock_wall_us() - (int64_t)st.st_mtim.tv_sec * 1000000 > STALE_US && unlinkat(fd, d->d_name, 0) == 0)
			log_debug("removed \"%s\" from \"%s/" TEMPORARIES "\": left by a write that died", d->d_name, f->path);
	}
	closedir(dir);
}

/* Before the first put. */
static int
folder_make_ready(struct folder *f, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&f->lock);
	if (!f->ready) {
		if (mkdirat(f->root, TEMPORARIES, FOLDER_MODE) != 0 && errno != EEXIST)
			rc = err_sys(e, "make folder \"" TEMPORARIES "\" in \"%s\"", f->path);
		else
			folder_sweep(f);
		f->ready = rc == 0;
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int
folder_sync_above(const struct folder *f, const char *name, struct err *e)
{
	const char *slash = strrchr(name, '/');
	char *above = slash == NULL ? mem_strdup(".") : mem_strndup(name, (size_t)(slash - name));
	int fd = openat(f->root, above, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	rc = fd < 0 ? err_sys(e, "open folder \"%s\" in \"%s\"", above, f->path) : file_sync(fd, above, e);
	file_close(&fd);
	free(above);
	return rc;
}

static int
folder_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct folder *f = (struct folder *)s;
	char temporary[sizeof(TEMPORARIES "/") + RAND_ID_TEXT], id[RAND_ID_TEXT];
	int fd = -1, rc = -1;

	rand_id(id);
	snprintf(temporary, sizeof(temporary), TEMPORARIES "/%s", id);
	if (folder_make_ready(f, e) || folder_make_above(f, name, e))
		goto out;
	fd = openat(f->root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	if (fd < 0) {
		err_sys(e, "create \"%s\"", temporary);
		goto out;
	}
	if (file_write_all(fd, data, bytes, temporary, e) || file_sync(fd, temporary, e))
		goto out;
	/* link and not rename: it fails where the name is taken. */
	if (linkat(f->root, temporary, f->root, name, 0) != 0) {
		err_sys(e, "name the new object");
		goto out;
	}
	rc = folder_sync_above(f, name, e);
out:
	if (fd >= 0)
		unlinkat(f->root, temporary, 0);
	file_close(&fd);
	if (rc != 0) {
		/* A folder that went away under us is no "not found": nobody looked for anything. */
		if (e->kind == ERR_NOT_FOUND)
			e->kind = ERR_FAILED;
		err_wrap(e, "put of \"%s\" into folder \"%s\"", name, f->path);
		if (e->kind == ERR_SPACE)
			err_hint(e, "Make room there and run it again: what was stored will be found again.");
		else if (e->sys == EROFS)
			err_hint(e, "It is mounted read-only: mount it for writing, and see in the kernel's log whether a fault of the disk did that.");
		else if (e->kind == ERR_DENIED)
			err_hint(e, "The user who runs holdfast must be able to write there.");
	}
	return rc;
}

/* Opens an object for reading and looks at it.  -1 and an error when there is none. */
static int
folder_open_object(const struct folder *f, const char *name, struct stat *st, struct err *e)
{
	/* Not to be held up by what is no file at all. */
	int fd = openat(f->root, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		folder_failed(f, "get of", name, e);
		return -1;
	}
	if (fstat(fd, st) != 0)
		err_sys(e, "get of \"%s\" in folder \"%s\"", name, f->path);
	else if (S_ISDIR(st->st_mode))
		folder_not_there(f, "get of", name, e);
	else if (!S_ISREG(st->st_mode))
		err_set(e, ERR_CORRUPT, "get of \"%s\": not a plain file in folder \"%s\"", name, f->path);
	else
		return fd;
	file_close(&fd);
	return -1;
}

static int
folder_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	struct folder *f = (struct folder *)s;
	struct stat st;
	uint64_t size, want;
	size_t got;
	int fd = folder_open_object(f, name, &st, e), rc = -1;

	if (fd < 0)
		return -1;
	size = (uint64_t)st.st_size;
	want = bytes > 0 ? bytes : size - offset;
	if (size > STORE_OBJECT_MAX) {
		err_set(e, ERR_CORRUPT, "get of \"%s\": the file of %" PRIu64 " bytes is larger than any object", name, size);
		goto out;
	}
	if ((offset > 0 && offset >= size) || want > size - offset) {
		err_set(e, ERR_CORRUPT, "get of \"%s\": it is cut short: of %zu bytes at %" PRIu64 " not all are in its %" PRIu64, name,
		    bytes, offset, size);
		goto out;
	}
	buf_reserve(to, (size_t)want);
	if (file_pread(fd, to->data + to->bytes, (size_t)want, offset, &got, name, e)) {
		err_wrap(e, "get from folder \"%s\"", f->path);
		goto out;
	}
	if (got != want) {
		err_set(e, ERR_CORRUPT, "get of \"%s\": the file became shorter while it was read", name);
		goto out;
	}
	to->bytes += got;
	buf_add(to, NULL, 0);
	rc = 0;
out:
	file_close(&fd);
	return rc;
}

static int64_t
changed_us(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

static int
folder_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	struct folder *f = (struct folder *)s;
	struct stat st;

	if (fstatat(f->root, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return folder_failed(f, "stat of", name, e);
	if (!S_ISREG(st.st_mode))
		return folder_not_there(f, "stat of", name, e);
	o->name = name;
	o->bytes = (uint64_t)st.st_size;
	o->changed_us = changed_us(&st);
	return 0;
}

struct walk {
	const struct folder *f;
	store_each *each;
	void *ctx;
	unsigned strangers;
	char stranger[NAME_MAX + 1];    /* the first */
};

static int walk_inside(struct walk *w, int parent, const char *entry, const char *prefix, struct err *e);

static int
walk_entry(struct walk *w, int fd, const char *entry, const char *prefix, struct err *e)
{
	struct stat st;
	char *name;
	int rc = 0;

	if (fstatat(fd, entry, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : err_sys(e, "stat of \"%s%s\"", prefix, entry);     /* removed since */
	name = mem_printf("%s%s", prefix, entry);
	if (!store_name_valid(name) || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		if (w->strangers++ == 0)
			snprintf(w->stranger, sizeof(w->stranger), "%s", entry);
	} else if (S_ISDIR(st.st_mode)) {
		char *sub = mem_printf("%s/", name);

		rc = walk_inside(w, fd, entry, sub, e);
		free(sub);
	} else {
		struct store_object o = { .name = name, .bytes = (uint64_t)st.st_size, .changed_us = changed_us(&st) };

		rc = w->each(w->ctx, &o, e);
	}
	free(name);
	return rc;
}

/* Walks the folder `entry` of `parent`, whose name in the store is `prefix`.  One that is not there has no objects. */
static int
walk_inside(struct walk *w, int parent, const char *entry, const char *prefix, struct err *e)
{
	int fd = openat(parent, entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir;
	struct dirent *d;

	if (fd < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return err_sys(e, "open folder \"%s\"", prefix);
		folder_not_there(w->f, "list of", prefix, e);
		if (e->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(e);
		return 0;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		err_sys(e, "read folder \"%s\"", prefix);
		file_close(&fd);
		return -1;
	}
	while (rc == 0) {
		errno = 0;
		d = readdir(dir);
		if (d == NULL) {
			/* An end by an error would be an incomplete listing that looks complete. */
			rc = errno == 0 ? 0 : err_sys(e, "read folder \"%s\"", prefix);
			break;
		}
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (prefix[0] == '\0' && strcmp(d->d_name, TEMPORARIES) == 0)
			continue;
		rc = walk_entry(w, dirfd(dir), d->d_name, prefix, e);
	}
	closedir(dir);
	return rc;
}

static int
folder_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct folder *f = (struct folder *)s;
	struct walk w = { .f = f, .each = each, .ctx = ctx };

	if (walk_inside(&w, f->root, prefix[0] == '\0' ? "." : prefix, prefix, e))
		return -1;
	if (w.strangers > 0)
		log_warning("folder \"%s\": %u entries below \"%s\" are not ours and are ignored; the first is \"%s\"", f->path,
		            w.strangers, prefix, w.stranger);
	return 0;
}

static int
folder_remove(struct store *s, const char *name, struct err *e)
{
	struct folder *f = (struct folder *)s;

	if (unlinkat(f->root, name, 0) != 0) {
		folder_failed(f, "remove of", name, e);
		if (e->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(e);
		return 0;
	}
	if (folder_sync_above(f, name, e))
		return err_wrap(e, "remove of \"%s\"", name);
	return 0;
}

static void
folder_free(struct store *s)
{
	struct folder *f = (struct folder *)s;

	for (size_t i = 0; i < f->durable_count; i++)
		free(f->durable[i]);
	free(f->durable);
	file_close(&f->root);
	pthread_mutex_destroy(&f->lock);
	free(f->path);
	free(f);
}

static const struct store_ops folder_ops = {
	.put = folder_put,
	.get = folder_get,
	.stat = folder_stat,
	.list = folder_list,
	.remove = folder_remove,
	.free = folder_free,
};

struct store *
folder_open(const char *path, bool create, struct err *e)
{
	struct folder *f;
	int root;

	if (path == NULL || path[0] == '\0') {
		err_set(e, ERR_USAGE, "the store is a folder, and its path is not set");
		return NULL;
	}
	if (create && file_mkdirs(path, FOLDER_MODE, e))
		return NULL;
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		err_sys(e, "folder \"%s\"", path);
		if (e->kind == ERR_NOT_FOUND) {
			e->kind = ERR_USAGE;
			err_hint(e, "Is the disk mounted?  Only `holdfast init` makes the folder.");
		}
		return NULL;
	}
	f = mem_zero(1, sizeof(*f));
	f->store.ops = &folder_ops;
	f->store.label = mem_printf("folder %s", path);
	f->path = mem_strdup(path);
	f->root = root;
	pthread_mutex_init(&f->lock, NULL);
	return &f->store;
}
