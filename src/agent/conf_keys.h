#ifndef HF_AGENT_CONF_KEYS_H
#define HF_AGENT_CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "ops/settings.h"

/* What a value may be, and with it what lies at its place in struct settings. */
enum conf_type {
	CONF_TEXT,                      /* const char *: not empty */
	CONF_NAME,                      /* const char *: letters, digits, ".", "_", "-" */
	CONF_PATH,                      /* const char *: absolute */
	CONF_PATH_OR_NONE,              /* the same; "" is NULL */
	CONF_PORT,                      /* const char *, written as a number */
	CONF_WORD,                      /* const char *: one of `words` */
	CONF_CHOICE,                    /* unsigned (or enum): which of `words` */
	CONF_FLAG,                      /* bool */
	CONF_NUMBER,                    /* unsigned (or int) in [low, high] */
	CONF_SIZE,                      /* uint64_t, bytes in [low, high] */
	CONF_SPAN,                      /* int64_t, milliseconds in [low, high] */
	CONF_LIST,                      /* const char *const *: each not empty */
	CONF_ALL_OR_LIST,               /* the same; "all" is NULL */
	CONF_CHECKS,                    /* const struct check_sql * */
};

struct conf_key {
	const char *path;               /* "repository.s3.bucket" */
	enum conf_type type;
	size_t at;                      /* offset in struct settings */
	const char *initial;            /* default, as it would be written; NULL: not set */
	int64_t low, high;
	const char *words;              /* "folder|s3" */
	const char *meaning;            /* a sentence or two, Markdown allowed */
};

extern const struct conf_key conf_keys[];
extern const size_t conf_keys_count;

/* Index of a key, or -1. */
int conf_key_find(const char *path);

/* Whether some key lies below this path. */
bool conf_key_is_group(const char *path);

/* "HOLDFAST_REPOSITORY_S3_BUCKET"; owned by the caller. */
char *conf_key_variable(const char *path);

/* The name of the key to use instead, where `name` (the last part of a path) would hold a secret itself; else NULL. */
const char *conf_key_secret(const char *name);

/* Words for people: "duration", and "1s to 7d" ("" where there is no range). */
const char *conf_type_name(enum conf_type type);
void conf_key_range(const struct conf_key *k, struct buf *to);

/* Memory of a configuration: freed as a whole. */
struct conf_arena {
	void **blocks;
	size_t count;
};
void *conf_arena_keep(struct conf_arena *a, void *block);
void conf_arena_free(struct conf_arena *a);

/* Reads one value, or the words of a list, into its place.  ERR_USAGE says what is wrong with it, not where it stands. */
int conf_key_set(const struct conf_key *k, struct settings *s, struct conf_arena *a, const char *text, struct err *e) MUST_USE;
int conf_key_set_list(const struct conf_key *k, struct settings *s, struct conf_arena *a, char *const *words, size_t count, struct err *e) MUST_USE;

#endif
