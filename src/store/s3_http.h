#ifndef HF_STORE_S3_HTTP_H
#define HF_STORE_S3_HTTP_H

#include <stdbool.h>

#include "store/s3_site.h"
#include "store/sigv4.h"

/*
 * HTTP over libcurl: one request, one answer, in bounded time (R12).  Connections are kept and used again; several threads
 * each get one of their own.  Redirections are not followed: a signed request is for one host.
 */
struct s3_http;

struct s3_http *s3_http_new(const struct s3_site *site);        /* borrows `site` */
void s3_http_free(struct s3_http *h);

struct s3_http_call {
	const char *method;             /* GET, HEAD, PUT, DELETE */
	const char *url;
	const struct sigv4_header *headers;
	size_t header_count;
	const void *body;               /* of a PUT */
	size_t body_bytes;
	struct buf *to;                 /* where the body of a 2xx goes, appended, at most `limit` bytes of it */
	size_t limit;
};

struct s3_http_answer {
	long status;
	int64_t length;                 /* Content-Length; -1: there was none */
	int64_t modified_us;            /* Last-Modified; 0: there was none */
	char content_range[128];        /* "" : there was none */
	char bucket_region[64];         /* x-amz-bucket-region; "" : there was none */
	bool too_long;                  /* a 2xx body was larger than `limit` and was left at that */
	struct buf error_body;          /* the beginning of any other body; clear it */
};

/*
 * 0 when an answer came whole, whatever its status.  ERR_STORE: no connection, broken off, too slow; ERR_USAGE: the
 * certificate is not to be trusted; ERR_STOPPED.
 */
int s3_http_do(struct s3_http *h, const struct s3_http_call *call, struct s3_http_answer *a, struct err *e) MUST_USE;

#endif
