#ifndef HF_TESTS_STORE_CHECK_H
#define HF_TESTS_STORE_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"

/* What the tests of this room share. */

#define OK(call)                                                                        \
	do {                                                                            \
		err_clear(&e);                                                          \
		if ((call) != 0)                                                        \
			fail_msg("%s: %s (%s)", #call, e.msg, err_kind_name(e.kind));   \
	} while (0)

/* Fails, with this kind. */
#define FAILS(kind_, call)                                                              \
	do {                                                                            \
		err_clear(&e);                                                          \
		if ((call) == 0)                                                        \
			fail_msg("%s: succeeded", #call);                               \
		if (e.kind != (kind_))                                                  \
			fail_msg("%s: %s and not %s: %s", #call, err_kind_name(e.kind), err_kind_name(kind_), e.msg); \
	} while (0)

#define SAYS(text, words)                                                               \
	do {                                                                            \
		if (strstr((text), (words)) == NULL)                                    \
			fail_msg("\"%s\" does not say \"%s\"", (text), (words));        \
	} while (0)

/* A folder of its own for a test; remove it with scratch_remove. */
static inline char *
scratch_new(void)
{
	const char *where = getenv("TMPDIR");
	char *path = mem_printf("%s/holdfast-store.XXXXXX", where != NULL ? where : "/tmp");

	assert_non_null(mkdtemp(path));
	return path;
}

static inline void
scratch_remove(char *path)
{
	struct err e = ERR_INIT;

	OK(file_remove_tree(path, &e));
	free(path);
}

/* Bytes that do not repeat within any size that is tested, and differ with `seed`. */
static inline uint8_t *
noise(size_t bytes, uint64_t seed)
{
	uint8_t *p = mem_alloc(bytes + 8);
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < bytes; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p + i, &x, 8);
	}
	return p;
}

/* The whole object is these bytes. */
static inline void
assert_object(struct store *s, const char *name, const void *data, size_t bytes)
{
	struct buf got = BUF_INIT;
	struct err e = ERR_INIT;

	OK(store_get(s, name, 0, 0, &got, &e));
	assert_int_equal(got.bytes, bytes);
	if (bytes > 0 && memcmp(got.data, data, bytes) != 0)
		fail_msg("\"%s\" has other bytes", name);
	buf_free(&got);
}

static inline int
count_each(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o;
	(void)e;
	++*(size_t *)ctx;
	return 0;
}

static inline size_t
count_objects(struct store *s, const char *prefix)
{
	struct err e = ERR_INIT;
	size_t n = 0;

	OK(store_list(s, prefix, count_each, &n, &e));
	return n;
}

#endif
