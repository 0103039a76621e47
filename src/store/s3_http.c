#include "store/s3_http.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "store/s3_xml.h"

#define STALL_BYTES_PER_SECOND 1024
#define TICK_MS 500                     /* how often deadlines are looked at while nothing happens */

/* A transfer runs in a curl "multi" of its own and not in curl_easy_perform, so that it can be waited for together with
 * stop_fd, and so that a stall is measured by us: curl's averages take twice the time that was asked for to notice one.
 * The multi keeps the connection. */
struct line {
	CURLM *multi;
	CURL *easy;
	struct line *next;
};

struct s3_http {
	const struct s3_site *site;
	pthread_mutex_t lock;
	struct line *idle;
};

/* What the callbacks of one transfer see. */
struct transfer {
	CURL *easy;
	const struct s3_http_call *call;
	struct s3_http_answer *answer;
	size_t sent, received;
	int64_t mark_ms;                /* since when, and from how many bytes, the pace is measured */
	curl_off_t mark_bytes;
	char words[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
init_curl(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		log_error("libcurl cannot be initialised: the installation is broken");
		exit(1);
	}
}

struct s3_http *
s3_http_new(const struct s3_site *site)
{
	struct s3_http *h = mem_zero(1, sizeof(*h));

	pthread_once(&once, init_curl);
	h->site = site;
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

static struct line *
line_take(struct s3_http *h)
{
	struct line *l;

	pthread_mutex_lock(&h->lock);
	l = h->idle;
	if (l != NULL)
		h->idle = l->next;
	pthread_mutex_unlock(&h->lock);
	if (l != NULL)
		return l;
	l = mem_zero(1, sizeof(*l));
	l->multi = curl_multi_init();
	l->easy = curl_easy_init();
	if (l->multi == NULL || l->easy == NULL) {
		log_error("out of memory: libcurl has none for a connection");
		exit(1);
	}
	return l;
}

static void
line_give_back(struct s3_http *h, struct line *l)
{
	/* Without the headers and pointers of this request; the connection stays. */
	curl_easy_reset(l->easy);
	pthread_mutex_lock(&h->lock);
	l->next = h->idle;
	h->idle = l;
	pthread_mutex_unlock(&h->lock);
}

void
s3_http_free(struct s3_http *h)
{
	struct line *l;

	if (h == NULL)
		return;
	while ((l = h->idle) != NULL) {
		h->idle = l->next;
		curl_easy_cleanup(l->easy);
		curl_multi_cleanup(l->multi);
		free(l);
	}
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static size_t
on_send(char *to, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	size_t n = size * count, left = t->call->body_bytes - t->sent;

	if (n > left)
		n = left;
	if (n > 0)
		memcpy(to, (const char *)t->call->body + t->sent, n);
	t->sent += n;
	return n;
}

/* curl sends again from the start when a kept connection turns out to be dead. */
static int
on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct transfer *t = ctx;

	if (origin != SEEK_SET || offset < 0 || (size_t)offset > t->call->body_bytes)
		return CURL_SEEKFUNC_FAIL;
	t->sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t
on_receive(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	struct s3_http_answer *a = t->answer;
	size_t n = size * count, room;
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 != 2 || t->call->to == NULL) {
		/* An error's words; what is beyond the bound is no words of S3. */
		room = S3_XML_ERROR_MAX - a->error_body.bytes;
		buf_add(&a->error_body, data, n < room ? n : room);
		return n;
	}
	if (n > t->call->limit - t->received) {
		a->too_long = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if (t->received == 0) {
		curl_off_t length = -1;

		/* One allocation of the right size, not twenty that double; only as far as it may go. */
		curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
		if (length > 0 && (uint64_t)length <= t->call->limit)
			buf_reserve(t->call->to, (size_t)length + 1);
	}
	buf_add(t->call->to, data, n);
	t->received += n;
	return n;
}

static void
set_method(const struct transfer *t)
{
	CURL *c = t->easy;
	const char *method = t->call->method;

	if (strcmp(method, "PUT") == 0) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->call->body_bytes);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(c, CURLOPT_READDATA, t);
		curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
	} else if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	} else if (strcmp(method, "GET") != 0) {
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	}
}

static void
set_options(const struct s3_http *h, struct transfer *t, struct curl_slist *headers)
{
	CURL *c = t->easy;

	curl_easy_setopt(c, CURLOPT_URL, t->call->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	/* What was signed is what is sent. */
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->words);
	curl_easy_setopt(c, CURLOPT_FILETIME, 1L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_receive);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 512L * 1024);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)h->site->connect_ms);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)h->site->total_ms);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPIDLE, 30L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPINTVL, 10L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (h->site->ca_file != NULL) {
		curl_easy_setopt(c, CURLOPT_CAINFO, h->site->ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);      /* that authority, and not the system's as well */
	}
	set_method(t);
}

/* False when less than 1 KiB/s went over the line for stall_ms, in either direction. */
static bool
keeps_pace(struct transfer *t, int64_t stall_ms)
{
	curl_off_t up = 0, down = 0, ready_us = 0;
	int64_t now = clock_mono_ms();

	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
	/* Until there is a connection the clock is the connect timeout's. */
	if (ready_us == 0 || (up + down - t->mark_bytes) * 1000 >= STALL_BYTES_PER_SECOND * stall_ms) {
		t->mark_ms = now;
		t->mark_bytes = up + down;
		return true;
	}
	return now - t->mark_ms < stall_ms;
}

/* Runs the transfer to its end: 0 and curl's verdict, or -1 (stalled, stopped). */
static int
run(const struct s3_http *h, struct line *l, struct transfer *t, CURLcode *verdict, struct err *e)
{
	int running = 1, left;
	CURLMsg *m;

	t->mark_ms = clock_mono_ms();
	for (;;) {
		struct curl_waitfd stop = { .fd = stop_fd(), .events = CURL_WAIT_POLLIN };
		CURLMcode code = curl_multi_perform(l->multi, &running);

		if (code == CURLM_OK && running > 0)
			code = curl_multi_poll(l->multi, &stop, stop.fd >= 0 ? 1 : 0, TICK_MS, NULL);
		if (code != CURLM_OK)
			return err_set(e, ERR_FAILED, "libcurl: %s", curl_multi_strerror(code));
		if (running == 0)
			break;
		if (stop_check(e))
			return -1;
		if (!keeps_pace(t, h->site->stall_ms))
			return err_set(e, ERR_STORE, "slower than %d bytes a second for %.1f s (%zu bytes sent, %zu received)",
			    STALL_BYTES_PER_SECOND, (double)h->site->stall_ms / 1000, t->sent, t->received);
	}
	m = curl_multi_info_read(l->multi, &left);
	*verdict = m != NULL && m->msg == CURLMSG_DONE ? m->data.result : CURLE_FAILED_INIT;
	return 0;
}

/* A transfer that did not bring a whole answer. */
static int
explain(const struct s3_http *h, const struct transfer *t, CURLcode code, struct err *e)
{
	const char *words = t->words[0] != '\0' ? t->words : curl_easy_strerror(code);

	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		err_set(e, ERR_USAGE, "the certificate is not trusted: %s", words);
		return h->site->ca_file != NULL
		       ? err_hint(e, "ca_file \"%s\" does not hold the authority of this server, or the certificate is for "
		                  "another name.", h->site->ca_file)
		       : err_hint(e, "Set ca_file to the certificate of the authority that signed the server's.");
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
		err_set(e, ERR_STORE, "%s", words);
		return err_hint(e, "Is the store running, and is the endpoint right?");
	case CURLE_SSL_CONNECT_ERROR:
		err_set(e, ERR_STORE, "%s", words);
		return err_hint(e, "Does this port speak TLS?  http:// and https:// often have different ones.");
	default:
		/* All else that the network and the far side can do: broken off, reset, timed out, not HTTP. */
		return err_set(e, ERR_STORE, "%s (%zu bytes sent, %zu received)", words, t->sent, t->received);
	}
}

static void
copy_header(char *to, size_t room, CURL *easy, const char *name)
{
	struct curl_header *found;

	to[0] = '\0';
	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK)
		snprintf(to, room, "%s", found->value);
}

static void
read_answer(CURL *easy, struct s3_http_answer *a)
{
	curl_off_t length = -1, changed_s = -1;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(easy, CURLINFO_FILETIME_T, &changed_s);
	a->length = length;
	a->modified_us = changed_s > 0 ? (int64_t)changed_s * 1000000 : 0;
	copy_header(a->content_range, sizeof(a->content_range), easy, "content-range");
	copy_header(a->bucket_region, sizeof(a->bucket_region), easy, "x-amz-bucket-region");
}

int
s3_http_do(struct s3_http *h, const struct s3_http_call *call, struct s3_http_answer *a, struct err *e)
{
	struct line *l = line_take(h);
	struct transfer t = { .easy = l->easy, .call = call, .answer = a };
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");        /* no waiting for 100 Continue */
	CURLcode verdict = CURLE_OK;
	int rc;

	memset(a, 0, sizeof(*a));
	for (size_t i = 0; i < call->header_count; i++) {
		char *line = mem_printf("%s: %s", call->headers[i].name, call->headers[i].value);

		headers = curl_slist_append(headers, line);
		mem_free_secret(line, strlen(line));
	}
	set_options(h, &t, headers);
	curl_multi_add_handle(l->multi, l->easy);
	rc = run(h, l, &t, &verdict, e);
	if (rc == 0 && verdict != CURLE_OK && !a->too_long)
		rc = explain(h, &t, verdict, e);
	if (rc == 0)
		read_answer(l->easy, a);
	/* A transfer that is not over loses its connection here. */
	curl_multi_remove_handle(l->multi, l->easy);
	for (struct curl_slist *p = headers; p != NULL; p = p->next)
		mem_wipe(p->data, strlen(p->data));
	curl_slist_free_all(headers);
	line_give_back(h, l);
	return rc;
}
