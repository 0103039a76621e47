#include "store/s3_error.h"

#include <string.h>

static const struct {
	const char *code;
	enum err_kind kind;
	const char *hint;
} codes[] = {
	{ "NoSuchKey", ERR_NOT_FOUND, NULL },
	{ "PreconditionFailed", ERR_EXISTS, NULL },
	{ "InvalidRange", ERR_CORRUPT, NULL },
	{ "NoSuchBucket", ERR_USAGE, "Make the bucket, or correct the setting bucket; holdfast makes none." },
	{ "InvalidBucketName", ERR_USAGE, "Correct the setting bucket." },
	{ "AccessDenied", ERR_DENIED, "The key pair is known to the store, but its policy does not allow this." },
	{ "AllAccessDisabled", ERR_DENIED, "The bucket or the account was disabled by its owner." },
	{ "AccountProblem", ERR_DENIED, "The account was suspended by its owner." },
	{ "InvalidAccessKeyId", ERR_DENIED,
	  "The store does not know this access key: are the credentials right, and is the endpoint the right store?" },
	{ "SignatureDoesNotMatch", ERR_DENIED,
	  "The secret key does not belong to the access key, or something between here and the store changes requests." },
	{ "RequestTimeTooSkewed", ERR_DENIED, "The clock of this machine or of the store is wrong by more than 15 minutes." },
	{ "ExpiredToken", ERR_DENIED, "The session token has expired: get new credentials." },
	{ "InvalidToken", ERR_DENIED, "The session token does not belong to this key pair." },
	{ "InvalidSecurity", ERR_DENIED, NULL },
	{ "XMinioStorageFull", ERR_SPACE, "The store's disks are full: free space there, or shorten the retention." },
	{ "QuotaExceeded", ERR_SPACE, "The quota of the bucket or the user is used up." },
	{ "XMinioAdminBucketQuotaExceeded", ERR_SPACE, "The quota of the bucket is used up." },
	{ "PermanentRedirect", ERR_USAGE, NULL },
	{ "TemporaryRedirect", ERR_USAGE, NULL },
	{ "Redirect", ERR_USAGE, NULL },
	{ "AuthorizationHeaderMalformed", ERR_USAGE, NULL },
	{ "IllegalLocationConstraintException", ERR_USAGE, NULL },
	{ "SlowDown", ERR_STORE, NULL },
	{ "SlowDownRead", ERR_STORE, NULL },
	{ "SlowDownWrite", ERR_STORE, NULL },
	{ "ServiceUnavailable", ERR_STORE, NULL },
	{ "InternalError", ERR_STORE, NULL },
	{ "RequestTimeout", ERR_STORE, NULL },
	{ "RequestTimedOut", ERR_STORE, NULL },
	{ "OperationAborted", ERR_STORE, NULL },
	{ "ConditionalRequestConflict", ERR_STORE, NULL },
	{ "XMinioServerNotInitialized", ERR_STORE, NULL },
	/* Our sums are right when we make them: the bytes were changed on the way, and may come whole the next time. */
	{ "BadDigest", ERR_STORE, NULL },
	{ "XAmzContentSHA256Mismatch", ERR_STORE, NULL },
	{ "IncompleteBody", ERR_STORE, NULL },
};

static enum err_kind
kind_of_status(long status)
{
	switch (status) {
	case 401:
	case 403:
	case 407:
		return ERR_DENIED;
	case 404:
	case 408:
	case 409:
	case 425:
	case 429:
		return ERR_STORE;
	case 412:
		return ERR_EXISTS;
	case 416:
		return ERR_CORRUPT;
	case 507:
		return ERR_SPACE;
	default:
		if (status >= 300 && status < 400)
			return ERR_USAGE;
		return status >= 500 ? ERR_STORE : ERR_FAILED;
	}
}

static void
hint_region(struct err *e, const struct s3_site *site, const struct s3_failure *f)
{
	if (f->text.region[0] != '\0')
		err_hint(e, "The bucket is in region \"%s\", and \"%s\" is configured: set region and endpoint to match.",
		         f->text.region, site->region);
	else
		err_hint(e, "Region \"%s\" or the endpoint is not that of this bucket; redirections are not followed.",
		    site->region);
}

int
s3_error_set(struct err *e, const struct s3_site *site, const char *doing, const char *name, const struct s3_failure *f)
{
	const char *code = f->text.code, *colon, *hint = NULL;
	enum err_kind kind = kind_of_status(f->status);

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i].code, code) == 0) {
			kind = codes[i].kind;
			hint = codes[i].hint;
		}
	/* A code that is not in the table, with 404: something else is missing (an upload, a policy), not the object. */
	if (code[0] != '\0' && hint == NULL && kind == ERR_STORE && f->status == 404)
		kind = ERR_FAILED;
	colon = f->text.message[0] != '\0' ? ": " : "";
	if (f->status == 0)
		err_set(e, kind, "%s%s%s", code, colon, f->text.message);
	else
		err_set(e, kind, "HTTP %ld%s%s%s%s", f->status, code[0] != '\0' ? " " : "", code, colon, f->text.message);
	if (hint != NULL)
		err_hint(e, "%s", hint);
	else if (kind == ERR_USAGE)
		hint_region(e, site, f);
	else if (f->status == 404 && code[0] == '\0')
		err_hint(e, "This answer is not S3's: is the endpoint an S3 server, and not a web page or a proxy without one?");
	return s3_error_wrap(e, site, doing, name);
}

int
s3_error_wrap(struct err *e, const struct s3_site *site, const char *doing, const char *name)
{
	return err_wrap(e, "%s \"%s%s\" in bucket \"%s\" at %s", doing, site->prefix, name, site->bucket, site->endpoint);
}
