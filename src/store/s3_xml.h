#ifndef HF_STORE_S3_XML_H
#define HF_STORE_S3_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * The two XML answers of S3 that we read.  They come from the network: no entities, no document type, no fetching of
 * anything, every text bounded; unknown elements are passed over (Ceph and MinIO have their own).
 */
#define S3_XML_LIST_MAX (8u << 20)      /* 1000 keys of 1024 bytes, three characters a byte, and what is around them */
#define S3_XML_ERROR_MAX (64u << 10)

struct s3_listed {
	size_t key;                     /* where its name begins in `text`; it ends with a 0 */
	uint64_t bytes;
	int64_t changed_us;             /* 0: the store did not say */
};

struct s3_page {
	struct buf text;
	struct s3_listed *objects;
	size_t count;
	bool truncated;                 /* there are more pages, from `token` on */
	char *token;                    /* NULL: none */
};

/* One page of ListObjectsV2, asked for with encoding-type=url.  ERR_STORE for what is no such page: a proxy's words, or half
 * an answer.  `p` is empty or cleared before; clear it in any case. */
int s3_xml_list(struct s3_page *p, const void *xml, size_t bytes, struct err *e) MUST_USE;
void s3_xml_page_clear(struct s3_page *p);

/* The members of an <Error>; false when it is none.  Texts are cut to what fits and hold printable characters only. */
struct s3_error_text {
	char code[64];
	char message[256];
	char region[64];
};

bool s3_xml_error(struct s3_error_text *t, const void *xml, size_t bytes);

#endif
