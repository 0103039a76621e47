#ifndef HF_STORE_STORE_H
#define HF_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * A store keeps whole objects by name.  An object is written once and never rewritten: `put` of a name that exists is
 * ERR_EXISTS wherever the store can tell (a folder always can, S3 where If-None-Match works); nobody depends on it, since
 * names are unique by construction (R25).  When put returns 0, the object is durable and complete; when it fails, it is
 * not there, or it is there whole (a timeout leaves that open; the same put again is right either way).
 *
 * Names: 1 to 512 bytes of [a-z0-9/._-], no empty, "." or ".." segment, no segment over 255 bytes, no name that is a folder
 * of another (MinIO's rules; S3-compatible stores differ in everything else).  A name that breaks them is a bug of ours and
 * asserted.  An object whose name breaks them is not ours (the folder markers that S3 consoles make, lost+found, a README):
 * a listing leaves it out and warns.
 *
 * All calls may be made from several threads at once.  A signal (base/stop.h) ends them soon.  Errors: ERR_NOT_FOUND (an
 * answer of the store said so; R13), ERR_STORE (unreachable, timed out, broke off, 5xx, throttled: a retry may help),
 * ERR_DENIED (401/403, file rights), ERR_SPACE (full), ERR_CORRUPT (what came is not what was asked for, and will not be),
 * ERR_USAGE (no such bucket, wrong region, bad endpoint, certificate not trusted), ERR_STOPPED.
 *
 * Retry, throttle and fail-on-purpose are stores around a store.
 */
#define STORE_OBJECT_MAX (32u << 20)    /* every object fits into one plain PUT */
#define STORE_NAME_MAX 512

struct store_object {
	const char *name;               /* relative to the store's prefix; valid during the callback */
	uint64_t bytes;
	int64_t changed_us;             /* the store's own clock, wall time in microseconds; 0 where it does not tell */
};

typedef int store_each(void *ctx, const struct store_object *o, struct err *e);

struct store {
	const struct store_ops *ops;
	char *label;                    /* "folder /var/backups/x" or "s3 bucket/prefix at endpoint", for messages; owned */
};

struct store_ops {
	int (*put)(struct store *s, const char *name, const void *data, size_t bytes, struct err *e);

	/* Appends `bytes` from `offset` to `to`; bytes == 0 reads to the end.  Exactly the asked range: a transfer that broke
	 * off is never a success (ERR_STORE), a range that is not all there is ERR_CORRUPT, and so is an offset at or beyond the
	 * end (but 0) and an object of more than STORE_OBJECT_MAX.  After a failure `to` is as it was. */
	int (*get)(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e);

	/* o->name is `name` itself. */
	int (*stat)(struct store *s, const char *name, struct store_object *o, struct err *e);

	/* Calls `each` for every object whose name begins with `prefix` (a folder name with its '/', or ""), once, in no order
	 * that anybody may rely on, following every page.  `each` may use the store.  A non-zero return of `each` ends the
	 * listing with that error.  R24: a listing can be incomplete; never infer from it alone that something is absent. */
	int (*list)(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e);

	/* What is not there is removed already: success. */
	int (*remove)(struct store *s, const char *name, struct err *e);

	void (*free)(struct store *s);
};

int store_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e) MUST_USE;
int store_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e) MUST_USE;
int store_stat(struct store *s, const char *name, struct store_object *o, struct err *e) MUST_USE;
int store_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e) MUST_USE;
int store_remove(struct store *s, const char *name, struct err *e) MUST_USE;
const char *store_label(const struct store *s);
void store_free(struct store *s);               /* NULL is nothing */

bool store_name_valid(const char *name);

/* "" or a valid name with a '/' after it. */
bool store_prefix_valid(const char *prefix);

/* What the operator configured.  Strings are borrowed until store_open returns; NULL or 0 means the default in brackets. */
struct store_config {
	enum { STORE_FOLDER, STORE_S3 } kind;

	const char *path;               /* folder: where */

	const char *endpoint;           /* S3: "https://minio.example:9000" */
	const char *bucket;
	const char *prefix;             /* "sm-backups/langfuse/" without the bucket: "langfuse/"; [""] */
	const char *region;             /* ["us-east-1"] */
	const char *signature;          /* "v4" or "v2" ["v4"] */
	const char *ca_file;            /* [the system's] */
	bool virtual_host;              /* bucket in the host name instead of the path [false] */
	bool v2_unverified_tls;         /* v2 cannot verify certificates: https with v2 is refused unless this is set */

	/* Credentials, first that is set: two files; AWS-style shared file with profile; AWS_ACCESS_KEY_ID and
	 * AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN) from the environment; AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials.
	 * A file that others can read is refused. */
	const char *access_key_file, *secret_key_file;
	const char *credentials_file, *profile;         /* [profile "default"] */

	int64_t connect_timeout_ms;     /* [10 s] */
	int64_t stall_timeout_ms;       /* slower than 1 KiB/s for this long is a failure [30 s] */
	int64_t total_timeout_ms;       /* one request [10 min] */
	unsigned attempts;              /* of a transient failure, with jittered exponential pauses [12]; 6 at most before the first answer */
	uint64_t bytes_per_second;      /* throttle, both directions together [0: none] */
};

/*
 * Opens what is configured, wrapped in retry and throttle.  Makes no request.  A folder must exist unless `create`: a backup
 * disk that is not mounted must not become a backup on the root disk.  ERR_USAGE names the setting that is wrong.
 */
struct store *store_open(const struct store_config *config, bool create, struct err *e) MUST_USE;

#endif
