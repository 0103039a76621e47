#ifndef HF_STORE_SIGV4_H
#define HF_STORE_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/*
 * AWS Signature Version 4, as pure functions.  Our own and not libcurl's, because Debian 12's libcurl neither sends
 * x-amz-content-sha256 nor brings path and query into canonical form.
 *
 * What is signed must be what is sent, byte for byte: the caller builds path, query and headers in canonical form once and
 * sends those.
 */
struct sigv4_header {
	const char *name;               /* lower-case */
	const char *value;              /* no blanks around it */
};

struct sigv4_request {
	const char *method;
	const char *path;               /* encoded by sigv4_encode with its '/' kept; begins with '/' */
	const char *query;              /* "a=1&b=2": encoded, sorted, a '=' after every name; "" for none */
	const struct sigv4_header *headers;     /* all of them, sorted by name */
	size_t header_count;
	const char *payload_sha256;     /* hex; the value of x-amz-content-sha256 */
};

struct sigv4_key {
	const char *access, *secret;
	const char *region, *service;   /* "us-east-1", "s3" */
};

#define SIGV4_DATE 17

/* "20261124T021500Z" */
void sigv4_date(char to[SIGV4_DATE], int64_t wall_us);

/* Appends `text` with everything but A-Z a-z 0-9 - . _ ~ (and '/', where it is kept) as %XX. */
void sigv4_encode(struct buf *to, const char *text, bool keep_slash);

/* Appends the value of the Authorization header. */
void sigv4_authorization(struct buf *to, const struct sigv4_request *r, const struct sigv4_key *k, const char date[SIGV4_DATE]);

#endif
