#ifndef HF_STORE_S3_SITE_H
#define HF_STORE_S3_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/s3_credentials.h"
#include "store/store.h"

/* Where a bucket is and how to get there: the configuration of an S3 store, checked, copied and with its defaults in. */
struct s3_site {
	bool secure;                    /* https */
	char *authority;                /* "minio.example:9000": as in the Host header, so without a usual port */
	char *endpoint;                 /* "https://minio.example:9000", for messages and URLs */
	char *bucket;
	char *prefix;                   /* "" or with its '/' */
	char *region;
	char *ca_file;                  /* NULL: the system's */
	bool virtual_host;
	int64_t connect_ms, stall_ms, total_ms;
	struct s3_credentials credentials;
};

int s3_site_init(struct s3_site *site, const struct store_config *config, struct err *e) MUST_USE;
void s3_site_clear(struct s3_site *site);

/* The label of a store there; owned by the caller. */
char *s3_site_label(const struct s3_site *site);

#endif
