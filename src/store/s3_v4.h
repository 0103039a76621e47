#ifndef HF_STORE_S3_V4_H
#define HF_STORE_S3_V4_H

#include "store/store.h"

/* An S3 store over libcurl, signed with AWS Signature Version 4; certificates verified, deadlines ours. */
struct store *s3_v4_open(const struct store_config *config, struct err *e) MUST_USE;

#endif
