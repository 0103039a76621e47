#ifndef HF_STORE_S3_V2_H
#define HF_STORE_S3_V2_H

#include "store/store.h"

/*
 * An S3 store over libs3 2.0 and AWS Signature Version 2, for installations that speak nothing newer.  The library is loaded
 * when this is called and needed at no other time.
 *
 * What libs3 does wrong is fenced in here: it calls a GET that broke off a success (bytes are compared with the announced
 * length), and it verifies no certificate (https is refused unless v2_unverified_tls).  What it cannot do stays undone: its
 * own limit of 1 KiB/s over 15 s comes before a longer stall_timeout_ms, there are no session tokens, and whether a name is
 * taken is looked up before a put, so that of two writers at the same moment both may win.
 */
struct store *s3_v2_open(const struct store_config *config, struct err *e) MUST_USE;

#endif
