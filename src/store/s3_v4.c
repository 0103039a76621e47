#include "store/s3_v4.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/s3_error.h"
#include "store/s3_http.h"
#include "store/s3_site.h"
#include "store/s3_xml.h"

#define HEADERS_MAX 8

struct v4 {
	struct store store;
	struct s3_site site;
	struct s3_http *http;
	atomic_bool no_conditions;      /* the store said 501 to If-None-Match: look with HEAD instead (R26, R27) */
};

/* One request for an object (or, with name NULL, for the bucket), before it is signed. */
struct ask {
	const char *method;
	const char *doing;              /* for messages: "put of" */
	const char *name;
	const char *query;              /* canonical; NULL: none */
	const char *range;              /* NULL: none */
	bool if_new;
	const void *body;
	size_t body_bytes;
	struct buf *to;
	size_t limit;
};

static const char *
ask_name(const struct ask *a)
{
	return a->name != NULL ? a->name : "";
}

/* The path as it is signed and sent. */
static void
add_path(const struct v4 *v, const struct ask *a, struct buf *path)
{
	if (!v->site.virtual_host) {
		buf_addc(path, '/');
		sigv4_encode(path, v->site.bucket, false);
	}
	if (a->name != NULL || v->site.virtual_host)
		buf_addc(path, '/');
	if (a->name != NULL) {
		sigv4_encode(path, v->site.prefix, true);
		sigv4_encode(path, a->name, true);
	}
}

/* Sends it, signed.  0 when there is an answer, whatever it says; clear its error_body. */
static int
v4_send(struct v4 *v, const struct ask *a, struct s3_http_answer *answer, struct err *e)
{
	const struct s3_credentials *c = &v->site.credentials;
	struct sigv4_key key = { .access = c->access, .secret = c->secret, .region = v->site.region, .service = "s3" };
	struct sigv4_header headers[HEADERS_MAX + 1];
	struct buf path = BUF_INIT, authorization = BUF_INIT;
	char date[SIGV4_DATE], payload[SHA256_HEX], *host, *url, *md5 = NULL;
	uint8_t digest[SHA256_BYTES];
	size_t n = 0;
	int rc;

	sigv4_date(date, clock_wall_us());
	hash_sha256(digest, a->body, a->body_bytes);
	hex_encode(payload, digest, sizeof(digest));
	host = v->site.virtual_host ? mem_printf("%s.%s", v->site.bucket, v->site.authority) : mem_strdup(v->site.authority);

	/* In the order of their names. */
	if (a->body != NULL) {
		hash_md5(digest, a->body, a->body_bytes);
		md5 = base64_encode(digest, MD5_BYTES);
		headers[n++] = (struct sigv4_header){ "content-md5", md5 };
	}
	headers[n++] = (struct sigv4_header){ "host", host };
	if (a->if_new)
		headers[n++] = (struct sigv4_header){ "if-none-match", "*" };
	if (a->range != NULL)
		headers[n++] = (struct sigv4_header){ "range", a->range };
	headers[n++] = (struct sigv4_header){ "x-amz-content-sha256", payload };
	headers[n++] = (struct sigv4_header){ "x-amz-date", date };
	if (c->session_token != NULL)
		headers[n++] = (struct sigv4_header){ "x-amz-security-token", c->session_token };

	add_path(v, a, &path);
	sigv4_authorization(&authorization, &(struct sigv4_request){
		.method = a->method, .path = (char *)path.data, .query = a->query != NULL ? a->query : "",
		.headers = headers, .header_count = n, .payload_sha256 = payload,
	}, &key, date);
	headers[n++] = (struct sigv4_header){ "authorization", (char *)authorization.data };
	url = mem_printf("%s://%s%s%s%s", v->site.secure ? "https" : "http", host, (char *)path.data, a->query != NULL ? "?" : "",
	                 a->query != NULL ? a->query : "");
	rc = s3_http_do(v->http, &(struct s3_http_call){
		.method = a->method, .url = url, .headers = headers, .header_count = n,
		.body = a->body, .body_bytes = a->body_bytes, .to = a->to, .limit = a->limit,
	}, answer, e);
	if (rc != 0)
		s3_error_wrap(e, &v->site, a->doing, ask_name(a));
	buf_free(&authorization);
	buf_free(&path);
	free(url);
	free(host);
	free(md5);
	return rc;
}

/* What the store's words make of a failed request. */
static int
v4_refused(const struct v4 *v, const struct ask *a, const struct s3_http_answer *answer, struct err *e)
{
	struct s3_failure f = { .status = answer->status };

	s3_xml_error(&f.text, answer->error_body.data, answer->error_body.bytes);
	if (f.text.region[0] == '\0')
		snprintf(f.text.region, sizeof(f.text.region), "%s", answer->bucket_region);
	return s3_error_set(e, &v->site, a->doing, ask_name(a), &f);
}

/* Sends it and wants `status`, or `also`.  The answer has no error_body to clear afterwards. */
static int
v4_ask(struct v4 *v, const struct ask *a, long status, long also, struct s3_http_answer *answer, struct err *e)
{
	int rc = v4_send(v, a, answer, e);

	if (rc == 0 && answer->status != status && answer->status != also)
		rc = v4_refused(v, a, answer, e);
	buf_free(&answer->error_body);
	return rc;
}

/* Something in the answer that S3 does not do; a kind decides whether to ask again. */
static int
v4_odd(const struct v4 *v, const struct ask *a, enum err_kind kind, const char *what, struct err *e)
{
	err_set(e, kind, "%s", what);
	return s3_error_wrap(e, &v->site, a->doing, ask_name(a));
}

/* HEAD has no body, and so no words: "404" may mean the bucket as well as the object, "403" anything.  The same question
 * as a GET of one byte is answered with words. */
static int
why_not(struct v4 *v, const char *name, struct err *e)
{
	struct buf byte = BUF_INIT;
	struct ask get = { .method = "GET", .doing = "stat of", .name = name, .range = "bytes=0-0", .to = &byte, .limit = 1 };
	struct s3_http_answer answer;
	int rc = v4_send(v, &get, &answer, e);

	if (rc == 0 && (answer.status / 100 == 2 || answer.status == 416))
		v4_odd(v, &get, ERR_STORE, "HEAD fails, and GET does not", e);
	else if (rc == 0)
		v4_refused(v, &get, &answer, e);
	buf_free(&answer.error_body);
	buf_free(&byte);
	return -1;
}

static int
v4_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	struct v4 *v = (struct v4 *)s;
	struct ask head = { .method = "HEAD", .doing = "stat of", .name = name };
	struct s3_http_answer answer;

	if (v4_send(v, &head, &answer, e))
		return -1;
	buf_free(&answer.error_body);
	if (answer.status != 200)
		return why_not(v, name, e);
	if (answer.length < 0)
		return v4_odd(v, &head, ERR_STORE, "the answer does not say how long the object is", e);
	o->name = name;
	o->bytes = (uint64_t)answer.length;
	o->changed_us = answer.modified_us;
	return 0;
}

/* 0 when nothing has the name; ERR_EXISTS when something has. */
static int
must_be_new(struct v4 *v, const char *name, struct err *e)
{
	struct store_object o;

	if (v4_stat(&v->store, name, &o, e) == 0)
		return err_set(e, ERR_EXISTS, "put of \"%s%s\": it is there already", v->site.prefix, name);
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	return 0;
}

static int
v4_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct v4 *v = (struct v4 *)s;
	bool conditions = !atomic_load(&v->no_conditions);
	struct ask put = { .method = "PUT", .doing = "put of", .name = name, .if_new = conditions, .body = bytes > 0 ? data : "",
	                   .body_bytes = bytes };
	struct s3_http_answer answer;
	int rc;

	if (!conditions && must_be_new(v, name, e))
		return -1;
	rc = v4_send(v, &put, &answer, e);
	if (rc == 0 && answer.status == 501 && conditions) {
		log_debug("%s does not know If-None-Match: looking with HEAD before each put instead", v->store.label);
		atomic_store(&v->no_conditions, true);
		buf_free(&answer.error_body);
		return v4_put(s, name, data, bytes, e);
	}
	if (rc == 0 && answer.status != 200)
		rc = v4_refused(v, &put, &answer, e);
	buf_free(&answer.error_body);
	return rc;
}

/* "bytes 10-19/100": exactly the range that was asked for; `bytes` 0: up to the end. */
static bool
range_is(const char *text, uint64_t offset, size_t bytes, size_t got)
{
	uint64_t first, last, total;
	int end = 0;

	if (sscanf(text, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64 "%n", &first, &last, &total, &end) != 3 || text[end] != '\0')
		return false;
	if (first != offset || last < first || last >= total || last - first + 1 != got)
		return false;
	return bytes > 0 ? got == bytes : last + 1 == total;
}

static int
v4_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	struct v4 *v = (struct v4 *)s;
	struct ask get = { .method = "GET", .doing = "get of", .name = name, .to = to,
	                   .limit = bytes > 0 ? bytes : STORE_OBJECT_MAX };
	bool ranged = offset > 0 || bytes > 0;
	size_t before = to->bytes, got;
	struct s3_http_answer answer;
	char range[64];

	if (ranged && bytes > 0)
		snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, offset, offset + bytes - 1);
	else
		snprintf(range, sizeof(range), "bytes=%" PRIu64 "-", offset);
	get.range = ranged ? range : NULL;
	buf_add(to, NULL, 0);
	if (v4_ask(v, &get, ranged ? 206 : 200, ranged ? 206 : 200, &answer, e)) {
		/* 200 to a range is an answer, but none that we can use: the whole object may be wanted in a thousand pieces. */
		if (answer.status == 200 && e->kind == ERR_FAILED)
			return v4_odd(v, &get, ERR_CORRUPT, "the store answers a range with the whole object", e);
		return -1;
	}
	got = to->bytes - before;
	if (answer.too_long)
		return v4_odd(v, &get, ERR_CORRUPT,
		              bytes > 0 ? "more bytes came than were asked for" : "the object is larger than any of ours", e);
	/* curl compares these, too; but that is the one thing that must never be wrong. */
	if (answer.length < 0 || (uint64_t)answer.length != got) {
		err_set(e, ERR_STORE, "%zu bytes came, and %" PRId64 " were announced", got, answer.length);
		return s3_error_wrap(e, &v->site, get.doing, name);
	}
	if (ranged && !range_is(answer.content_range, offset, bytes, got)) {
		err_set(e, ERR_CORRUPT, "asked for \"%s\", got \"%s\" (%zu bytes)", range, answer.content_range, got);
		return s3_error_wrap(e, &v->site, get.doing, name);
	}
	return 0;
}

static int
v4_remove(struct store *s, const char *name, struct err *e)
{
	struct v4 *v = (struct v4 *)s;
	struct ask delete = { .method = "DELETE", .doing = "remove of", .name = name };
	struct s3_http_answer answer;

	if (v4_ask(v, &delete, 204, 200, &answer, e) == 0)
		return 0;
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	return 0;
}

/* The query of one page, in canonical order. */
static char *
page_query(const struct v4 *v, const char *prefix, const char *token)
{
	struct buf q = BUF_INIT;

	if (token != NULL) {
		buf_addstr(&q, "continuation-token=");
		sigv4_encode(&q, token, false);
		buf_addc(&q, '&');
	}
	buf_addstr(&q, "encoding-type=url&list-type=2&max-keys=1000&prefix=");
	sigv4_encode(&q, v->site.prefix, false);
	sigv4_encode(&q, prefix, false);
	return buf_take(&q);
}

/* Hands the objects of a page on. */
static int
hand_on(const struct v4 *v, const struct s3_page *page, const char *prefix, unsigned *strangers, store_each *each, void *ctx,
        struct err *e)
{
	size_t skip = strlen(v->site.prefix);

	for (size_t i = 0; i < page->count; i++) {
		const char *key = (const char *)page->text.data + page->objects[i].key;
		struct store_object o = { .name = key + skip, .bytes = page->objects[i].bytes,
		    .changed_us = page->objects[i].changed_us };

		if (strncmp(key, v->site.prefix, skip) != 0 || strncmp(o.name, prefix, strlen(prefix)) != 0)
			return err_set(e, ERR_CORRUPT, "the listing holds \"%.200s\", which was not asked for", key);
		if (!store_name_valid(o.name)) {
			if ((*strangers)++ == 0)
				log_debug("%s: \"%s\" is none of our names", v->store.label, key);
			continue;
		}
		if (each(ctx, &o, e))
			return -1;
	}
	return 0;
}

/* Asks for the page at `token` (NULL: the first) and reads it. */
static int
get_page(struct v4 *v, const char *prefix, const char *token, struct s3_page *page, struct err *e)
{
	struct buf body = BUF_INIT;
	char *query = page_query(v, prefix, token);
	struct ask list = { .method = "GET", .doing = "list of", .query = query, .to = &body, .limit = S3_XML_LIST_MAX };
	struct s3_http_answer answer;
	int rc = v4_ask(v, &list, 200, 200, &answer, e);

	if (rc == 0 && answer.too_long)
		rc = v4_odd(v, &list, ERR_CORRUPT, "a page of the listing is larger than 1000 names can be", e);
	else if (rc == 0 && s3_xml_list(page, body.data, body.bytes, e))
		rc = s3_error_wrap(e, &v->site, list.doing, prefix);
	/* A token that comes again would let us go round for ever. */
	if (rc == 0 && page->truncated && token != NULL && strcmp(token, page->token) == 0)
		rc = v4_odd(v, &list, ERR_STORE, "the listing does not come to an end: the same page is announced again", e);
	buf_free(&body);
	free(query);
	return rc;
}

static int
v4_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct v4 *v = (struct v4 *)s;
	char *token = NULL;
	unsigned strangers = 0;
	bool more = true;
	int rc = 0;

	while (rc == 0 && more) {
		struct s3_page page = { .text = BUF_INIT };

		rc = get_page(v, prefix, token, &page, e);
		if (rc == 0)
			rc = hand_on(v, &page, prefix, &strangers, each, ctx, e);
		free(token);
		token = mem_strdup(page.token);
		more = page.truncated;
		s3_xml_page_clear(&page);
	}
	free(token);
	if (rc == 0 && strangers > 0)
		log_warning("%s: %u objects below \"%s\" have names that are not ours and are ignored", v->store.label,
		    strangers, prefix);
	return rc;
}

static void
v4_free(struct store *s)
{
	struct v4 *v = (struct v4 *)s;

	s3_http_free(v->http);
	s3_site_clear(&v->site);
	free(v);
}

static const struct store_ops v4_ops = {
	.put = v4_put,
	.get = v4_get,
	.stat = v4_stat,
	.list = v4_list,
	.remove = v4_remove,
	.free = v4_free,
};

struct store *
s3_v4_open(const struct store_config *config, struct err *e)
{
	struct v4 *v = mem_zero(1, sizeof(*v));

	if (s3_site_init(&v->site, config, e)) {
		free(v);
		return NULL;
	}
	v->store.ops = &v4_ops;
	v->store.label = s3_site_label(&v->site);
	v->http = s3_http_new(&v->site);
	return &v->store;
}
