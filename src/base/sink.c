#include "base/sink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
