#ifndef HF_BASE_FILE_H
#define HF_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

/* Files, done right: short reads and EINTR handled, fsync of file and folder where something must last. */

/* Reads a whole file of at most `limit` bytes (more is ERR_CORRUPT) and appends it to `to`. */
int file_read(struct buf *to, const char *path, size_t limit, struct err *e) MUST_USE;

/* Writes all bytes to an open descriptor; `name` is for messages. */
int file_write_all(int fd, const void *data, size_t bytes, const char *name, struct err *e) MUST_USE;

/* Reads up to `bytes` at `offset` until they are there or the file ends; *got tells. */
int file_pread(int fd, void *to, size_t bytes, uint64_t offset, size_t *got, const char *name, struct err *e) MUST_USE;

/*
 * Makes `path` with this content: a temporary beside it, fsync, then link (exclusive: ERR_EXISTS when the name is taken,
 * and the old content stays) or rename (replaces), then fsync of the folder.  When it returns 0 the file survives a power
 * cut; when it fails, `path` is as it was and the temporary is gone.  A temporary's name begins with ".tmp-".
 */
int file_write_new(const char *path, const void *data, size_t bytes, mode_t mode, struct err *e) MUST_USE;
int file_write_replace(const char *path, const void *data, size_t bytes, mode_t mode, struct err *e) MUST_USE;

/* The same as file_write_replace without the fsync: for what the reader proves whole, and can fetch again after a power cut. */
int file_write_cached(const char *path, const void *data, size_t bytes, mode_t mode, struct err *e) MUST_USE;

/* fsync of a descriptor, and of the folder that holds `path`. */
int file_sync(int fd, const char *name, struct err *e) MUST_USE;
int file_sync_parent(const char *path, struct err *e) MUST_USE;

/* Makes a folder and those above it; each new one is made durable in its parent.  One that exists is fine. */
int file_mkdirs(const char *path, mode_t mode, struct err *e) MUST_USE;

/* Removes a tree without following links; what is not there is fine.  Goes on after a failure and reports the first. */
int file_remove_tree(const char *path, struct err *e) MUST_USE;

/* Closes and sets to -1; -1 is nothing. */
void file_close(int *fd);

/* Free bytes for an ordinary user on the file system that holds `path`. */
int file_space(uint64_t *free_bytes, const char *path, struct err *e) MUST_USE;

/*
 * Reads a secret from a file: no more than 64 KiB, one trailing newline taken off.  A file that others than its owner and
 * group can read is ERR_DENIED (Kubernetes' fsGroup makes 0440, so group-read is accepted).  Free with mem_free_secret.
 */
char *file_read_secret(const char *path, struct err *e) MUST_USE;

#endif
