#ifndef HF_REPO_INNER_H
#define HF_REPO_INNER_H

#include "base/bytes.h"
#include "codec/cut.h"
#include "repo/repo.h"

/*
 * What the files of this room share: the opened repository and its secrets.
 */
#define ID_BYTES 16
#define ID_TEXT 33
#define CHUNK_ID_BYTES 32

struct vault {
	uint32_t epoch;
	bool readable;                  /* private_key is there */
	uint8_t public_key[32], private_key[32];
};

struct secrets {
	uint8_t catalog[32], chunk_id[32];
	struct vault *vaults;           /* by epoch, oldest first */
	size_t vault_count;
};

struct identity {
	char name[KEY_NAME_MAX];
	enum key_role role;
	bool pinned;
	uint8_t seed[32], pin[32];
	uint8_t x_private[32], x_public[32], sign_seed[32], sign_public[32];
	char repository[37];            /* "" when not known */
};

struct index;

struct repo {
	struct store *store;            /* borrowed */
	char *cache;                    /* folder of this repository in the cache, or NULL */
	char uuid_text[37];
	uint8_t uuid[16];
	size_t chunk_min, chunk_avg, chunk_max;
	json_t *format;                 /* as read; authenticated once the secrets are open */
	struct secrets secrets;
	struct identity *self;
	char self_holder[ID_TEXT];
	struct index *index;            /* NULL until loaded */
	struct cut_rule cuts;
	unsigned workers;
	int level;
};

/* identity.c */
void identity_from_seed(struct identity *i);    /* derives the keys from seed */
void identity_pin(uint8_t pin[32], const uint8_t uuid[16], const struct secrets *s);

/* holders.c */
void holder_secrets_new(struct secrets *s);
void holder_secrets_wipe(struct secrets *s);
const struct vault *holder_vault(const struct secrets *s, uint32_t epoch);     /* NULL: no such epoch */
int holder_put(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, const char holder_id[ID_TEXT], const char *name,
    enum key_role role, const char *public_hex, json_t *scrypt, struct err *e) MUST_USE;
int holder_put_passphrase(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, const char holder_id[ID_TEXT],
    const char *name, const char *passphrase, struct err *e) MUST_USE;
/* All objects below keys/ that have the shape of a holder (an array, owned by the caller); `malformed` (or NULL) gets how many have not. */
int holder_read_all(struct store *s, json_t **all, size_t *malformed, struct err *e) MUST_USE;
/* Whether an object was written by somebody with the catalog key. */
bool holder_authentic(const json_t *object, const struct secrets *s);
/* Newest epoch first: as the objects themselves claim, which proves nothing. */
void holder_sort_by_epoch(json_t *all);
/* Finds and opens the secrets for `self`, or for a passphrase (then fills `self`). */
int holder_open(struct store *s, const uint8_t uuid[16], struct identity *self, const char *passphrase, struct secrets *secrets,
    char holder_id[ID_TEXT], struct err *e) MUST_USE;

/* repo.c */
bool repo_id_parse(uint8_t id[ID_BYTES], const char *hex);
int repo_uuid_parse(uint8_t uuid[16], const char *text);
/* Whether `text` is what we would write for this value: no byte of it may be another without being noticed. */
bool repo_json_is_canonical(const json_t *value, const struct buf *text);

#endif
