#include "store/s3_v2.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <libs3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "store/s3_error.h"
#include "store/s3_site.h"

#define LIBRARY "libs3.so.2"
#define PAGE 1000

/* The functions of the library, by their own types. */
static struct {
	__typeof__(S3_initialize) *initialize;
	__typeof__(S3_get_status_name) *get_status_name;
	__typeof__(S3_create_request_context) *create_request_context;
	__typeof__(S3_destroy_request_context) *destroy_request_context;
	__typeof__(S3_runonce_request_context) *runonce_request_context;
	__typeof__(S3_get_request_context_fdsets) *get_request_context_fdsets;
	__typeof__(S3_get_request_context_timeout) *get_request_context_timeout;
	__typeof__(S3_put_object) *put_object;
	__typeof__(S3_get_object) *get_object;
	__typeof__(S3_head_object) *head_object;
	__typeof__(S3_delete_object) *delete_object;
	__typeof__(S3_list_bucket) *list_bucket;
} s3;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char load_error[256];            /* "": loaded */

/* Held while a request is made and while one is aborted.  libs3 gives an aborted request's handle back to its common stock
 * before it takes it out of its context: nobody may start another request in between.  And it dates requests by gmtime, which
 * has one answer for all threads. */
static pthread_mutex_t stock = PTHREAD_MUTEX_INITIALIZER;

static void
load(void)
{
	static const struct { const char *name; void **where; } symbols[] = {
		{ "S3_initialize", (void **)&s3.initialize },
		{ "S3_get_status_name", (void **)&s3.get_status_name },
		{ "S3_create_request_context", (void **)&s3.create_request_context },
		{ "S3_destroy_request_context", (void **)&s3.destroy_request_context },
		{ "S3_runonce_request_context", (void **)&s3.runonce_request_context },
		{ "S3_get_request_context_fdsets", (void **)&s3.get_request_context_fdsets },
		{ "S3_get_request_context_timeout", (void **)&s3.get_request_context_timeout },
		{ "S3_put_object", (void **)&s3.put_object },
		{ "S3_get_object", (void **)&s3.get_object },
		{ "S3_head_object", (void **)&s3.head_object },
		{ "S3_delete_object", (void **)&s3.delete_object },
		{ "S3_list_bucket", (void **)&s3.list_bucket },
	};
	/* Never closed: it has threads' and curl's state of its own that outlives any store. */
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	S3Status status;

	if (library == NULL) {
		snprintf(load_error, sizeof(load_error), "%s", dlerror());
		return;
	}
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		*symbols[i].where = dlsym(library, symbols[i].name);
		if (*symbols[i].where == NULL) {
			snprintf(load_error, sizeof(load_error), LIBRARY " has no %s", symbols[i].name);
			return;
		}
	}
	status = s3.initialize("holdfast", S3_INIT_ALL, S3_DEFAULT_HOSTNAME);
	if (status != S3StatusOK)
		snprintf(load_error, sizeof(load_error), LIBRARY " cannot be initialised: %s", s3.get_status_name(status));
}

/* A context runs one request at a time and keeps its connection. */
struct line {
	S3RequestContext *context;
	struct line *next;
};

struct v2 {
	struct store store;
	struct s3_site site;
	S3BucketContext bucket;
	pthread_mutex_t lock;
	struct line *idle;
};

/* One request, as its callbacks see it. */
struct transfer {
	struct v2 *v;
	const char *doing, *name;
	char key[S3_MAX_KEY_SIZE + 1];
	bool done;
	S3Status status;
	char message[256];
	uint64_t moved;                 /* bytes, and the number of callbacks: any sign of life */

	const char *body;               /* put */
	size_t body_bytes, sent;

	struct buf *to;                 /* get */
	size_t limit, received;
	bool too_long;

	bool has_properties;            /* get, stat */
	uint64_t length;
	int64_t modified_s;

	struct listing *listing;        /* list */
};

static S3Status
on_properties(const S3ResponseProperties *p, void *ctx)
{
	struct transfer *t = ctx;

	t->has_properties = true;
	t->length = p->contentLength;
	t->modified_s = p->lastModified;
	t->moved++;
	return S3StatusOK;
}

static void
on_complete(S3Status status, const S3ErrorDetails *details, void *ctx)
{
	struct transfer *t = ctx;

	t->done = true;
	t->status = status;
	if (details != NULL && details->message != NULL)
		snprintf(t->message, sizeof(t->message), "%s", details->message);
}

static int
on_send(int room, char *to, void *ctx)
{
	struct transfer *t = ctx;
	size_t n = t->body_bytes - t->sent;

	if (n > (size_t)room)
		n = (size_t)room;
	memcpy(to, t->body + t->sent, n);
	t->sent += n;
	t->moved += n;
	return (int)n;
}

static S3Status
on_receive(int bytes, const char *data, void *ctx)
{
	struct transfer *t = ctx;

	if ((size_t)bytes > t->limit - t->received) {
		t->too_long = true;
		return S3StatusAbortedByCallback;
	}
	buf_add(t->to, data, (size_t)bytes);
	t->received += (size_t)bytes;
	t->moved += (uint64_t)bytes;
	return S3StatusOK;
}

static int
line_take(struct v2 *v, struct line **taken, struct err *e)
{
	struct line *l;

	pthread_mutex_lock(&v->lock);
	l = v->idle;
	if (l != NULL)
		v->idle = l->next;
	pthread_mutex_unlock(&v->lock);
	if (l == NULL) {
		l = mem_zero(1, sizeof(*l));
		if (s3.create_request_context(&l->context) != S3StatusOK) {
			free(l);
			return err_set(e, ERR_FAILED, "libs3 has no memory for a request");
		}
	}
	*taken = l;
	return 0;
}

static void
line_give_back(struct v2 *v, struct line *l)
{
	pthread_mutex_lock(&v->lock);
	l->next = v->idle;
	v->idle = l;
	pthread_mutex_unlock(&v->lock);
}

/* Ends what runs in it and its connection. */
static void
line_free(struct line *l)
{
	pthread_mutex_lock(&stock);
	s3.destroy_request_context(l->context);
	pthread_mutex_unlock(&stock);
	free(l);
}

/* Waits until something can be read or written, or 100 ms: stop and deadlines are looked at that often. */
static void
wait_a_little(struct line *l)
{
	fd_set readable, writable, odd;
	struct timeval tick = { .tv_usec = 100000 };
	int64_t limit = s3.get_request_context_timeout(l->context);
	int highest = -1;

	FD_ZERO(&readable);
	FD_ZERO(&writable);
	FD_ZERO(&odd);
	if (limit >= 0 && limit < 100)
		tick.tv_usec = (suseconds_t)(limit * 1000);
	/* Without a descriptor to wait for (a name is being looked up), a short sleep. */
	if (s3.get_request_context_fdsets(l->context, &readable, &writable, &odd, &highest) != S3StatusOK || highest < 0)
		tick.tv_usec = tick.tv_usec < 10000 ? tick.tv_usec : 10000;
	select(highest + 1, &readable, &writable, &odd, &tick);
}

/* Runs the request that was started in `l` to its end, or to ours: 0, or -1 when it was not let finish. */
static int
run(struct line *l, struct transfer *t, struct err *e)
{
	const struct s3_site *site = &t->v->site;
	int64_t began = clock_mono_ms(), mark_ms = began, now;
	uint64_t mark = 0;
	int left = 1;

	for (;;) {
		S3Status status = s3.runonce_request_context(l->context, &left);

		if (status != S3StatusOK)
			return err_set(e, ERR_STORE, "libs3: %s", s3.get_status_name(status));
		if (t->done || left == 0)
			return 0;
		if (stop_check(e))
			return -1;
		now = clock_mono_ms();
		if (t->moved != mark) {
			mark = t->moved;
			mark_ms = now;
		}
		if (now - mark_ms >= site->stall_ms || now - began >= site->total_ms)
			return err_set(e, ERR_STORE, "no progress for %.1f s, %.1f s in all (%zu bytes sent, %zu received)",
			               (double)(now - mark_ms) / 1000, (double)(now - began) / 1000, t->sent, t->received);
		wait_a_little(l);
	}
}

/* Statuses that are libs3's own and no code of S3's. */
static int
explain_local(const struct transfer *t, struct err *e)
{
	switch (t->status) {
	case S3StatusNameLookupError:
	case S3StatusFailedToConnect:
		err_set(e, ERR_STORE, "%s", s3.get_status_name(t->status));
		return err_hint(e, "Is the store running, and is the endpoint right?");
	case S3StatusInterrupted:
	case S3StatusInternalError:
	case S3StatusServerFailedVerification:
	case S3StatusConnectionFailed:
	case S3StatusAbortedByCallback:
	case S3StatusXmlParseFailure:
		return err_set(e, ERR_STORE, "%s (%zu bytes sent, %zu received)", s3.get_status_name(t->status), t->sent,
		    t->received);
	default:
		return err_set(e, ERR_FAILED, "libs3: %s", s3.get_status_name(t->status));
	}
}

static int
explain(const struct transfer *t, struct err *e)
{
	const struct s3_site *site = &t->v->site;
	struct s3_failure f = { .status = 0 };
	const char *name = s3.get_status_name(t->status);

	if (t->status < S3StatusErrorAccessDenied) {
		explain_local(t, e);
		return s3_error_wrap(e, site, t->doing, t->name);
	}
	if (t->status == S3StatusHttpErrorForbidden)
		f.status = 403;
	else if (t->status == S3StatusHttpErrorNotFound)
		f.status = 404;
	else if (t->status == S3StatusHttpErrorConflict)
		f.status = 409;
	else if (t->status == S3StatusHttpErrorMovedTemporarily)
		f.status = 307;
	else if (t->status == S3StatusHttpErrorBadRequest)
		f.status = 400;
	else if (t->status == S3StatusErrorUnknown || t->status == S3StatusHttpErrorUnknown)
		f.status = 503;         /* 5xx and codes that libs3 does not know: it keeps neither number nor name */
	if (f.status == 0)
		snprintf(f.text.code, sizeof(f.text.code), "%s", strncmp(name, "Error", 5) == 0 ? name + 5 : name);
	for (size_t i = 0; t->message[i] != '\0'; i++)
		f.text.message[i] = t->message[i] >= ' ' && t->message[i] <= '~' ? t->message[i] : '?';
	s3_error_set(e, site, t->doing, t->name, &f);
	if (f.status == 503)
		err_hint(e, "libs3 does not say what the store answered; its log does.");
	return -1;
}

/* Begins, runs and judges one request. */
static int
v2_do(struct v2 *v, struct transfer *t, void (*start)(struct transfer *t, S3RequestContext *context), struct err *e)
{
	struct line *l = NULL;

	t->v = v;
	if (line_take(v, &l, e))
		return -1;
	snprintf(t->key, sizeof(t->key), "%s%s", v->site.prefix, t->name);
	pthread_mutex_lock(&stock);
	start(t, l->context);
	pthread_mutex_unlock(&stock);
	if (run(l, t, e)) {
		line_free(l);
		return s3_error_wrap(e, &v->site, t->doing, t->name);
	}
	line_give_back(v, l);
	if (!t->done) {
		err_set(e, ERR_STORE, "libs3 lost the request");
		return s3_error_wrap(e, &v->site, t->doing, t->name);
	}
	return t->status == S3StatusOK ? 0 : explain(t, e);
}

static void
start_get(struct transfer *t, S3RequestContext *context, uint64_t offset, uint64_t bytes)
{
	static const S3GetConditions none = { .ifModifiedSince = -1, .ifNotModifiedSince = -1 };
	static const S3GetObjectHandler handler = { { on_properties, on_complete }, on_receive };

	s3.get_object(&t->v->bucket, t->key, &none, offset, bytes, context, &handler, t);
}

static void
start_first_byte(struct transfer *t, S3RequestContext *context)
{
	start_get(t, context, 0, 1);
}

static void
start_head(struct transfer *t, S3RequestContext *context)
{
	static const S3ResponseHandler handler = { on_properties, on_complete };

	s3.head_object(&t->v->bucket, t->key, context, &handler, t);
}

static int
v2_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	struct v2 *v = (struct v2 *)s;
	struct transfer head = { .doing = "stat of", .name = name };
	struct buf byte = BUF_INIT;
	struct transfer get = { .doing = "stat of", .name = name, .to = &byte, .limit = 1 };

	if (v2_do(v, &head, start_head, e) == 0) {
		o->name = name;
		o->bytes = head.length;
		o->changed_us = head.modified_s > 0 ? head.modified_s * 1000000 : 0;
		return 0;
	}
	/* HEAD has no words: 404 may be the bucket, 403 anything.  GET of one byte has. */
	if (head.status < S3StatusErrorAccessDenied)
		return -1;
	err_clear(e);
	if (v2_do(v, &get, start_first_byte, e) == 0 || get.status == S3StatusErrorInvalidRange) {
		err_set(e, ERR_STORE, "HEAD fails, and GET does not");
		s3_error_wrap(e, &v->site, "stat of", name);
	}
	buf_free(&byte);
	return -1;
}

static void
start_put(struct transfer *t, S3RequestContext *context)
{
	static const S3PutObjectHandler handler = { { on_properties, on_complete }, on_send };
	uint8_t digest[MD5_BYTES];
	char *md5;
	S3PutProperties properties = { .expires = -1, .cannedAcl = S3CannedAclPrivate };

	hash_md5(digest, t->body, t->body_bytes);
	md5 = base64_encode(digest, sizeof(digest));
	properties.md5 = md5;
	s3.put_object(&t->v->bucket, t->key, t->body_bytes, &properties, context, &handler, t);
	free(md5);                      /* the header is made by now */
}

static int
v2_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	struct v2 *v = (struct v2 *)s;
	struct transfer put = { .doing = "put of", .name = name, .body = bytes > 0 ? data : "", .body_bytes = bytes };
	struct store_object o;

	if (v2_stat(s, name, &o, e) == 0) {
		err_set(e, ERR_EXISTS, "it is there already");
		return s3_error_wrap(e, &v->site, "put of", name);
	}
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	return v2_do(v, &put, start_put, e);
}

/* What is to be got travels in `limit` and `length`. */
static void
start_range(struct transfer *t, S3RequestContext *context)
{
	start_get(t, context, t->length, t->limit);
}

static void
start_whole(struct transfer *t, S3RequestContext *context)
{
	start_get(t, context, 0, 0);
}

static int
v2_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	struct v2 *v = (struct v2 *)s;
	struct transfer t = { .doing = "get of", .name = name, .to = to, .length = offset };
	struct store_object o;
	int rc;

	/* A range without an end that the store ignored could not be told from the right answer. */
	if (offset > 0 && bytes == 0) {
		if (v2_stat(s, name, &o, e))
			return -1;
		if (offset >= o.bytes || o.bytes > STORE_OBJECT_MAX) {
			err_set(e, ERR_CORRUPT, "nothing at %" PRIu64 " of its %" PRIu64 " bytes", offset, o.bytes);
			return s3_error_wrap(e, &v->site, "get of", name);
		}
		bytes = (size_t)(o.bytes - offset);
	}
	t.limit = bytes > 0 ? bytes : STORE_OBJECT_MAX;
	buf_add(to, NULL, 0);
	rc = v2_do(v, &t, bytes > 0 ? start_range : start_whole, e);
	if (t.too_long)
		err_set(e, ERR_CORRUPT, "more bytes came than were asked for, or than any object of ours has");
	else if (rc != 0)
		return -1;
	/* The reason for the fence: libs3 says OK to a transfer that broke off. */
	else if (!t.has_properties || t.received != t.length)
		err_set(e, ERR_STORE, "%zu bytes came, and %" PRIu64 " were announced", t.received, t.length);
	else if (bytes > 0 && t.received != bytes)
		err_set(e, ERR_CORRUPT, "asked for %zu bytes at %" PRIu64 ", got %zu", bytes, offset, t.received);
	else
		return 0;
	return s3_error_wrap(e, &v->site, "get of", name);
}

static void
start_delete(struct transfer *t, S3RequestContext *context)
{
	static const S3ResponseHandler handler = { on_properties, on_complete };

	s3.delete_object(&t->v->bucket, t->key, context, &handler, t);
}

static int
v2_remove(struct store *s, const char *name, struct err *e)
{
	struct transfer t = { .doing = "remove of", .name = name };

	if (v2_do((struct v2 *)s, &t, start_delete, e) == 0)
		return 0;
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	return 0;
}

/* A page: held until the request is over, so that `each` may use the store.  As in a buf: size, time, key, 0. */
struct listing {
	struct buf held;
	char marker[S3_MAX_KEY_SIZE + 1];
	bool more;
	bool got;                       /* this page had keys */
};

/* libs3 reads a listing's times, which are UTC, as if they were of this machine's zone; taking them apart there again gives
 * what the store said (but for the hour that a zone leaps over in spring, which comes out an hour off). */
static int64_t
utc_us(int64_t misread_s)
{
	time_t s = (time_t)misread_s;
	struct tm tm;

	if (misread_s <= 0 || localtime_r(&s, &tm) == NULL)
		return 0;
	return (int64_t)timegm(&tm) * 1000000;
}

static S3Status
on_list(int truncated, const char *next, int count, const S3ListBucketContent *contents, int prefixes, const char **names,
        void *ctx)
{
	struct transfer *t = ctx;
	struct listing *l = t->listing;

	(void)next;                     /* only there with a delimiter; the last key serves */
	(void)prefixes;
	(void)names;
	l->more = truncated != 0;
	for (int i = 0; i < count; i++) {
		buf_u64(&l->held, contents[i].size);
		buf_u64(&l->held, (uint64_t)utc_us(contents[i].lastModified));
		buf_add(&l->held, contents[i].key, strlen(contents[i].key) + 1);
		snprintf(l->marker, sizeof(l->marker), "%s", contents[i].key);
		l->got = true;
	}
	t->moved++;
	return S3StatusOK;
}

static void
start_list(struct transfer *t, S3RequestContext *context)
{
	static const S3ListBucketHandler handler = { { on_properties, on_complete }, on_list };
	const char *marker = t->listing->marker;

	s3.list_bucket(&t->v->bucket, t->key, marker[0] != '\0' ? marker : NULL, NULL, PAGE, context, &handler, t);
}

static int
hand_on(const struct v2 *v, const struct buf *held, const char *prefix, unsigned *strangers, store_each *each, void *ctx,
        struct err *e)
{
	struct cursor c = cursor_over(held->data, held->bytes);
	size_t skip = strlen(v->site.prefix);

	while (c.left > 0) {
		struct store_object o = { 0 };
		const char *key;

		o.bytes = cursor_u64(&c);
		o.changed_us = (int64_t)cursor_u64(&c);
		key = (const char *)c.at;
		cursor_take(&c, strlen(key) + 1);
		if (strncmp(key, v->site.prefix, skip) != 0 || strncmp(key + skip, prefix, strlen(prefix)) != 0)
			return err_set(e, ERR_CORRUPT, "the listing holds \"%.200s\", which was not asked for", key);
		o.name = key + skip;
		if (!store_name_valid(o.name))
			(*strangers)++;
		else if (each(ctx, &o, e))
			return -1;
	}
	return 0;
}

static int
v2_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	struct v2 *v = (struct v2 *)s;
	struct listing l = { .held = BUF_INIT, .more = true };
	unsigned strangers = 0;
	int rc = 0;

	while (rc == 0 && l.more) {
		struct transfer t = { .doing = "list of", .name = prefix, .listing = &l };

		buf_clear(&l.held);
		l.more = l.got = false;
		rc = v2_do(v, &t, start_list, e);
		if (rc == 0)
			rc = hand_on(v, &l.held, prefix, &strangers, each, ctx, e);
		if (rc == 0 && l.more && !l.got) {
			err_set(e, ERR_STORE, "the listing is not complete and does not go on");
			rc = s3_error_wrap(e, &v->site, t.doing, prefix);
		}
	}
	buf_free(&l.held);
	if (rc == 0 && strangers > 0)
		log_warning("%s: %u objects below \"%s\" have names that are not ours and are ignored", v->store.label,
		    strangers, prefix);
	return rc;
}

static void
v2_free(struct store *s)
{
	struct v2 *v = (struct v2 *)s;
	struct line *l;

	while ((l = v->idle) != NULL) {
		v->idle = l->next;
		line_free(l);
	}
	pthread_mutex_destroy(&v->lock);
	s3_site_clear(&v->site);
	free(v);
}

static const struct store_ops v2_ops = {
	.put = v2_put,
	.get = v2_get,
	.stat = v2_stat,
	.list = v2_list,
	.remove = v2_remove,
	.free = v2_free,
};

/* What v2 over libs3 cannot do is refused, not dropped. */
static int
check(const struct s3_site *site, const struct store_config *c, struct err *e)
{
	if (site->secure && !c->v2_unverified_tls) {
		err_set(e, ERR_USAGE, "signature \"v2\" with https: libs3 does not verify the server's certificate");
		return err_hint(e, "Use signature \"v4\", or accept an unverified connection with v2_unverified_tls.");
	}
	if (site->credentials.session_token != NULL)
		return err_set(e, ERR_USAGE, "signature \"v2\" has no session tokens: use signature \"v4\"");
	pthread_once(&once, load);
	if (load_error[0] != '\0') {
		err_set(e, ERR_USAGE, "signature \"v2\" needs libs3: %s", load_error);
		return err_hint(e, "Install it (Debian: the package libs3-2), or use signature \"v4\".");
	}
	return 0;
}

struct store *
s3_v2_open(const struct store_config *config, struct err *e)
{
	struct v2 *v = mem_zero(1, sizeof(*v));

	if (s3_site_init(&v->site, config, e)) {
		free(v);
		return NULL;
	}
	if (check(&v->site, config, e)) {
		s3_site_clear(&v->site);
		free(v);
		return NULL;
	}
	v->store.ops = &v2_ops;
	v->store.label = s3_site_label(&v->site);
	v->bucket = (S3BucketContext){
		.hostName = v->site.authority,
		.bucketName = v->site.bucket,
		.protocol = v->site.secure ? S3ProtocolHTTPS : S3ProtocolHTTP,
		.uriStyle = v->site.virtual_host ? S3UriStyleVirtualHost : S3UriStylePath,
		.accessKeyId = v->site.credentials.access,
		.secretAccessKey = v->site.credentials.secret,
	};
	pthread_mutex_init(&v->lock, NULL);
	return &v->store;
}
