#include "base/sink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"

int
sink_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	assert(s->state == SINK_OPEN);
	if (bytes > 0 && s->ops->write(s, data, bytes, e) != 0) {
		s->state = SINK_FAILED;
		return -1;
	}
	return 0;
}

int
sink_finish(struct sink *s, struct err *e)
{
	assert(s->state == SINK_OPEN);
	if (s->ops->finish(s, e) != 0) {
		s->state = SINK_FAILED;
		return -1;
	}
	s->state = SINK_FINISHED;
	return 0;
}

void
sink_free(struct sink *s)
{
	while (s != NULL) {
		struct sink *next = s->next;

		s->ops->free(s);
		s = next;
	}
}

static void
plain_free(struct sink *s)
{
	free(s);
}

static int
null_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	(void)s, (void)data, (void)bytes, (void)e;
	return 0;
}

static int
last_finish(struct sink *s, struct err *e)
{
	(void)s, (void)e;
	return 0;
}

struct sink *
sink_null_new(void)
{
	static const struct sink_ops ops = { null_write, last_finish, plain_free };
	struct sink *s = mem_zero(1, sizeof(*s));

	s->ops = &ops;
	return s;
}

struct buf_sink {
	struct sink sink;
	struct buf *to;
	size_t limit;
};

static int
buf_sink_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct buf_sink *b = (struct buf_sink *)s;

	if (bytes > b->limit - b->to->bytes)
		return err_set(e, ERR_CORRUPT, "more than %zu bytes where less was expected", b->limit);
	buf_add(b->to, data, bytes);
	return 0;
}

struct sink *
sink_buf_new(struct buf *to, size_t limit)
{
	static const struct sink_ops ops = { buf_sink_write, last_finish, plain_free };
	struct buf_sink *b = mem_zero(1, sizeof(*b));

	assert(to->bytes <= limit);
	b->sink.ops = &ops;
	b->to = to;
	b->limit = limit;
	return &b->sink;
}

struct fd_sink {
	struct sink sink;
	int fd;
	char *name;
};

static int
fd_sink_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct fd_sink *f = (struct fd_sink *)s;
	const char *p = data;

	while (bytes > 0) {
		ssize_t n = write(f->fd, p, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write to %s", f->name);
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static void
fd_sink_free(struct sink *s)
{
	free(((struct fd_sink *)s)->name);
	free(s);
}

struct sink *
sink_fd_new(int fd, const char *name)
{
	static const struct sink_ops ops = { fd_sink_write, last_finish, fd_sink_free };
	struct fd_sink *f = mem_zero(1, sizeof(*f));

	f->sink.ops = &ops;
	f->fd = fd;
	f->name = mem_strdup(name);
	return &f->sink;
}

struct tally_sink {
	struct sink sink;
	uint64_t *count;
	uint8_t *sha256;
	struct hash *hash;
};

static int
tally_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct tally_sink *t = (struct tally_sink *)s;

	if (t->count != NULL)
		*t->count += bytes;
	if (t->hash != NULL)
		hash_update(t->hash, data, bytes);
	return sink_write(s->next, data, bytes, e);
}

static int
tally_finish(struct sink *s, struct err *e)
{
	struct tally_sink *t = (struct tally_sink *)s;

	if (t->hash != NULL)
		hash_final(t->hash, t->sha256);
	return sink_finish(s->next, e);
}

static void
tally_free(struct sink *s)
{
	hash_free(((struct tally_sink *)s)->hash);
	free(s);
}

struct sink *
sink_tally_new(uint64_t *count, uint8_t *sha256, struct sink *next)
{
	static const struct sink_ops ops = { tally_write, tally_finish, tally_free };
	struct tally_sink *t = mem_zero(1, sizeof(*t));

	t->sink.ops = &ops;
	t->sink.next = next;
	t->count = count;
	t->sha256 = sha256;
	t->hash = sha256 != NULL ? hash_sha256_new() : NULL;
	return &t->sink;
}

struct tee_sink {
	struct sink sink;
	struct sink *first;
};

static int
tee_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	if (sink_write(((struct tee_sink *)s)->first, data, bytes, e))
		return -1;
	return sink_write(s->next, data, bytes, e);
}

static int
tee_finish(struct sink *s, struct err *e)
{
	if (sink_finish(((struct tee_sink *)s)->first, e))
		return -1;
	return sink_finish(s->next, e);
}

static void
tee_free(struct sink *s)
{
	sink_free(((struct tee_sink *)s)->first);
	free(s);
}

struct sink *
sink_tee_new(struct sink *first, struct sink *second)
{
	static const struct sink_ops ops = { tee_write, tee_finish, tee_free };
	struct tee_sink *t = mem_zero(1, sizeof(*t));

	t->sink.ops = &ops;
	t->sink.next = second;
	t->first = first;
	return &t->sink;
}
