#ifndef HF_TESTS_STORE_CANNED_H
#define HF_TESTS_STORE_CANNED_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#include "unit/store/check.h"

/*
 * A server that gives the answers it was told to, in their order, and keeps the requests: for what a real store cannot be
 * brought to do, a proxy in between, a store that is broken, one of another make.  An answer that ends in the middle of its
 * body breaks off there; after the last answer connections are closed without one.
 */
struct canned {
	const char *const *answers;     /* "HTTP/1.1 200 OK\r\n...\r\n\r\nbody"; ends with NULL */
	uint16_t port;
	int listener;
	pthread_t thread;
	unsigned served;
	struct buf requests;            /* heads only */
};

/* Reads one request, with its body; false when there is none. */
static inline bool
canned_read(struct canned *c, int fd)
{
	struct buf head = BUF_INIT;
	size_t body = 0, have;
	char *end = NULL, *length;
	char data[65536];
	ssize_t n;

	while (end == NULL && (n = recv(fd, data, sizeof(data), 0)) > 0) {
		buf_add(&head, data, (size_t)n);
		end = strstr((char *)head.data, "\r\n\r\n");
	}
	if (end == NULL) {
		buf_free(&head);
		return false;
	}
	have = head.bytes - (size_t)(end + 4 - (char *)head.data);
	*end = '\0';
	length = strcasestr((char *)head.data, "\r\nContent-Length: ");
	if (length != NULL)
		body = strtoul(length + 18, NULL, 10);
	while (have < body && (n = recv(fd, data, sizeof(data), 0)) > 0)
		have += (size_t)n;
	buf_addf(&c->requests, "%s\r\n\r\n", (char *)head.data);
	buf_free(&head);
	return true;
}

static inline void *
canned_serve(void *arg)
{
	struct canned *c = arg;
	int fd;

	while ((fd = accept(c->listener, NULL, NULL)) >= 0) {
		/* One answer a connection: each says "Connection: close" or is broken off. */
		if (c->answers[c->served] != NULL && canned_read(c, fd)) {
			const char *answer = c->answers[c->served++];

			if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
				perror("canned");
		}
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return NULL;
}

static inline void
canned_begin(struct canned *c, const char *const *answers)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	memset(c, 0, sizeof(*c));
	c->answers = answers;
	c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(c->listener, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(c->listener, 8), 0);
	assert_int_equal(getsockname(c->listener, (struct sockaddr *)&a, &n), 0);
	c->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&c->thread, NULL, canned_serve, c), 0);
}

/* Stops it and looks that every answer was asked for. */
static inline void
canned_end(struct canned *c)
{
	shutdown(c->listener, SHUT_RDWR);
	pthread_join(c->thread, NULL);
	close(c->listener);
	if (c->answers[c->served] != NULL)
		fail_msg("only %u answers were asked for", c->served);
	buf_free(&c->requests);
}

#endif
