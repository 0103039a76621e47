#ifndef HF_STORE_S3_CREDENTIALS_H
#define HF_STORE_S3_CREDENTIALS_H

#include "store/store.h"

/*
 * The key pair for a store, from the first of these that is set: access_key_file and secret_key_file; credentials_file with
 * profile; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN); AWS_SHARED_CREDENTIALS_FILE, or else
 * ~/.aws/credentials, with profile (or AWS_PROFILE).  A source that is set and wrong is an error and never skipped: the next
 * one might be somebody else's key.
 */
struct s3_credentials {
	char *access;
	char *secret;                   /* wiped when cleared, as is the token */
	char *session_token;            /* NULL: none */
};

int s3_credentials_read(struct s3_credentials *c, const struct store_config *config, struct err *e) MUST_USE;
void s3_credentials_clear(struct s3_credentials *c);

#endif
