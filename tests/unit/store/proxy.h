#ifndef HF_TESTS_STORE_PROXY_H
#define HF_TESTS_STORE_PROXY_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "unit/store/check.h"

/*
 * Passes bytes on between a client and a real server, and calls `act`, once, when so many have passed in one direction: that
 * is how something happens in the very middle of a transfer.
 */
struct proxy {
	uint16_t port, target;
	size_t up_limit, down_limit;    /* 0: none */
	void (*act)(void);
	atomic_size_t up, down;
	atomic_bool acted;
	int listener;
	pthread_t accepter, threads[64];
	unsigned count;
};

struct proxy_pair {
	struct proxy *p;
	int client, server;
};

static inline int
proxy_socket(uint16_t port, bool listening, uint16_t *bound)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listening ? bind(fd, (struct sockaddr *)&a, n) || listen(fd, 16) || getsockname(fd, (struct sockaddr *)&a, &n)
	              : connect(fd, (struct sockaddr *)&a, n)) {
		close(fd);
		return -1;
	}
	if (bound != NULL)
		*bound = ntohs(a.sin_port);
	return fd;
}

static inline bool
proxy_pass(struct proxy *p, int from, int to, atomic_size_t *count, size_t limit)
{
	char data[65536];
	ssize_t n = recv(from, data, sizeof(data), 0);
	size_t passed;

	if (n <= 0)
		return false;
	passed = atomic_fetch_add(count, (size_t)n) + (size_t)n;
	if (limit > 0 && passed >= limit && !atomic_exchange(&p->acted, true))
		p->act();
	for (ssize_t done = 0; done < n;) {
		ssize_t sent = send(to, data + done, (size_t)(n - done), MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		done += sent;
	}
	return true;
}

static inline void *
proxy_connection(void *arg)
{
	struct proxy_pair *c = arg;
	struct pollfd fds[2] = { { .fd = c->client, .events = POLLIN }, { .fd = c->server, .events = POLLIN } };

	while (poll(fds, 2, -1) > 0) {
		if (fds[0].revents != 0 && !proxy_pass(c->p, c->client, c->server, &c->p->up, c->p->up_limit))
			break;
		if (fds[1].revents != 0 && !proxy_pass(c->p, c->server, c->client, &c->p->down, c->p->down_limit))
			break;
	}
	close(c->client);
	close(c->server);
	free(c);
	return NULL;
}

static inline void *
proxy_accept(void *arg)
{
	struct proxy *p = arg;

	for (;;) {
		int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), server;
		struct proxy_pair *c;

		if (client < 0)
			return NULL;
		server = proxy_socket(p->target, false, NULL);
		if (server < 0 || p->count == 64) {
			close(client);
			continue;
		}
		c = mem_alloc(sizeof(*c));
		*c = (struct proxy_pair){ p, client, server };
		if (pthread_create(&p->threads[p->count], NULL, proxy_connection, c) == 0)
			p->count++;
	}
}

static inline void
proxy_begin(struct proxy *p, uint16_t target, void (*act)(void))
{
	p->target = target;
	p->act = act;
	p->listener = proxy_socket(0, true, &p->port);
	assert_true(p->listener >= 0);
	assert_int_equal(pthread_create(&p->accepter, NULL, proxy_accept, p), 0);
}

/* After the client is gone. */
static inline void
proxy_end(struct proxy *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->accepter, NULL);
	for (unsigned i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	close(p->listener);
}

#endif
