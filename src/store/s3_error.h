#ifndef HF_STORE_S3_ERROR_H
#define HF_STORE_S3_ERROR_H

#include "store/s3_site.h"
#include "store/s3_xml.h"

/* What a store said no with. */
struct s3_failure {
	long status;                    /* HTTP; 0 where it is not known (libs3) */
	struct s3_error_text text;      /* code "" when the answer was not S3's */
};

/*
 * Sets `e` from an answer: the kind by S3's code, or, where there is none, by the HTTP status; a hint where there is one.
 * `doing` as "put of", `name` the object's ("" for the bucket itself).  A 404 that does not bear S3's own words is not
 * "not found" (R13): a proxy in front of a store that restarts says that, too.  Returns -1.
 */
int s3_error_set(struct err *e, const struct s3_site *site, const char *doing, const char *name, const struct s3_failure *f);

/* The same "<doing> \"<name>\" at <endpoint>/<bucket>" around an error that has its words.  Returns -1. */
int s3_error_wrap(struct err *e, const struct s3_site *site, const char *doing, const char *name);

#endif
