/*
 * The file system of a cage: an empty root in memory, and bound into it what may be seen.  Between fork and exec, and inside
 * a mount namespace of its own: nothing here reaches the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pg/cage_plan.h"

/* Makes the folders above `path`, which lies below `root`. */
static int
make_parents(const char *root, const char *path)
{
	char above[4096];
	size_t n = strlen(path);

	if (n >= sizeof(above))
		return ENAMETOOLONG;
	memcpy(above, path, n + 1);
	for (char *p = above + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(above, 0755) != 0 && errno != EEXIST)
			return errno;
		*p = '/';
	}
	return 0;
}

/* Takes rights away from a mount and those below it, and gives none: also allowed where a user namespace locked flags. */
static int
restrict_mount(const char *path, unsigned long attributes, unsigned long flags)
{
	struct mount_attr attr = { .attr_set = attributes };

	if (mount_setattr(AT_FDCWD, path, AT_RECURSIVE, &attr, sizeof(attr)) == 0)
		return 0;
	if (errno != ENOSYS)
		return errno;
	return mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | flags, NULL) == 0 ? 0 : errno;
}

static int
bind_view(const struct cage_view *v)
{
	unsigned long attributes = MOUNT_ATTR_NOSUID, flags = MS_NOSUID;
	int fd;

	if (v->folder) {
		if (mkdir(v->to, 0755) != 0 && errno != EEXIST)
			return errno;
	} else {
		fd = open(v->to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return errno;
		close(fd);
	}
	if (mount(v->from, v->to, NULL, MS_BIND | MS_REC, NULL) != 0)
		return errno;
	if (!v->writable && !v->device)
		attributes |= MOUNT_ATTR_RDONLY, flags |= MS_RDONLY;
	if (!v->device)
		attributes |= MOUNT_ATTR_NODEV, flags |= MS_NODEV;
	return restrict_mount(v->to, attributes, flags);
}

static int
write_file(const struct cage_view *v)
{
	size_t bytes = strlen(v->from);
	int fd = open(v->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int rc = 0;

	if (fd < 0)
		return errno;
	if (write(fd, v->from, bytes) != (ssize_t)bytes)
		rc = errno != 0 ? errno : EIO;
	close(fd);
	return rc;
}

static int
make_view(const struct cage *c, const struct cage_view *v)
{
	int rc = make_parents(c->root, v->to);

	if (rc != 0)
		return rc;
	switch (v->kind) {
	case VIEW_BIND:
		return bind_view(v);
	case VIEW_LINK:
		return symlink(v->from, v->to) == 0 ? 0 : errno;
	case VIEW_FILE:
		return write_file(v);
	case VIEW_SHM:
		if (mkdir(v->to, 0755) != 0 && errno != EEXIST)
			return errno;
		return mount("shm", v->to, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=50%") == 0 ? 0 : errno;
	case VIEW_PROC:
		if (!c->proc)
			return 0;
		if (mkdir(v->to, 0755) != 0 && errno != EEXIST)
			return errno;
		return mount("proc", v->to, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 ? 0 : errno;
	}
	return EINVAL;
}

int
cage_build_root(const struct cage *c)
{
	int rc = 0;

	/* What is mounted here must not appear outside. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return errno;
	if (mount("cage", c->root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m") != 0)
		return errno;
	umask(022);
	for (size_t i = 0; rc == 0 && i < c->view_count; i++)
		rc = make_view(c, &c->views[i]);
	if (rc != 0)
		return rc;
	/* The new root over the old one at the same place, then the old one taken away (pivot_root(2)). */
	if (chdir(c->root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
		return errno;
	/* The root itself is read-only from here on; the mounts below keep what they have. */
	if (mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) != 0)
		return errno;
	umask(077);
	return 0;
}
