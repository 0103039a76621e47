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
	uint8_t authority_public[32];   /* Ed25519: signs key objects; in the pin */
	uint8_t authority[32];          /* its seed; zero for an agent, who lets nobody in */
	struct vault *vaults;           /* by epoch, oldest first; two of one epoch are possible (two rotations at once) */
	size_t vault_count;
};

struct identity {
	char name[KEY_NAME_MAX];
	enum key_role role;
	bool pinned;
	bool signs;                     /* the repository knows sign_public as ours: set when opened */
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
	json_t *key_objects;            /* set of names below keys/ that a listing showed since it was opened, or that we put */
	struct index *index;            /* NULL until loaded */
	struct cut_rule cuts;
	unsigned workers;
	int level;
};

/* identity.c */
void identity_from_seed(struct identity *i);    /* derives the keys from seed */
void identity_pin(uint8_t pin[32], const uint8_t uuid[16], const struct secrets *s);

/* secrets.c */
#define SECRETS_VAULTS_MAX 2048
#define VAULT_NAME_TEXT 33
void holder_secrets_new(struct secrets *s);
void holder_secrets_wipe(struct secrets *s);
void secrets_name(char name[VAULT_NAME_TEXT], const struct vault *v);     /* what a header calls it: from its public key, which it does not tell */
bool secrets_named(const json_t *names, const json_t *name);              /* the name is among those of a header */
bool secrets_have(const struct secrets *s, const struct vault *v);
struct vault *secrets_add(struct secrets *s, uint32_t epoch);           /* a new vault key pair */
void secrets_drop_last(struct secrets *s);                              /* ... that came to nothing: nothing may be sealed to it */
void secrets_merge(struct secrets *s, struct secrets *from);            /* takes up the vault keys that only `from` has, and wipes it */
char *secrets_text(const struct secrets *s, enum key_role role);        /* without the private keys for an agent; free with mem_free_secret */
int secrets_read(const void *text, size_t bytes, struct secrets *s, struct err *e) MUST_USE;
void secrets_put_hex(json_t *o, const char *key, const void *data, size_t bytes);
bool secrets_get_hex(const json_t *o, const char *key, void *to, size_t bytes);        /* false: missing, another length, or capitals */

/* holders.c */
/* Writes one holder's object and reads it back (R29).  Takes `scrypt`, which may be NULL.  The object's name is added to the set `names` before:
 * after a failure it may be there. */
int holder_put(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, const char holder_id[ID_TEXT], const char *name,
    enum key_role role, const char *public_hex, json_t *scrypt, json_t *names, struct err *e) MUST_USE;
int holder_put_passphrase(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, const char holder_id[ID_TEXT],
    const char *name, const char *passphrase, json_t *names, struct err *e) MUST_USE;
int holder_take_away(struct store *s, const json_t *names, struct err *e) MUST_USE;     /* tries each, even after one failed */
/* All objects below keys/ that have the shape of a holder (an array, owned by the caller); the names of others are added to `malformed`
 * (or NULL).  R24: those in the set `names` are asked for where the listing leaves them out, and what it shows is added. */
int holder_read_all(struct store *s, json_t *names, json_t **all, json_t *malformed, struct err *e) MUST_USE;
/* Whether an object was written by a recovery holder of this repository. */
bool holder_authentic(const json_t *object, const uint8_t uuid[16], const struct secrets *s);
/* Newest epoch first: as the objects themselves claim, which proves nothing. */
void holder_sort_by_epoch(json_t *all);
/* Finds and opens the secrets for `self`, or for a passphrase (then fills `self`): what all of its objects have. */
int holder_open(struct store *s, json_t *names, const uint8_t uuid[16], struct identity *self, const char *passphrase, struct secrets *secrets,
    char holder_id[ID_TEXT], struct err *e) MUST_USE;

/* keys.c */
/* The objects that recovery holders wrote, newest epoch first. */
int holder_read_ours(struct repo *r, json_t **all, struct err *e) MUST_USE;
void holder_describe(const struct repo *r, const json_t *object, struct holder *h);    /* all but `objects` */
/* A new object for the holder of this one, with what we have now. */
int holder_renew(struct repo *r, const json_t *object, json_t *names, struct err *e) MUST_USE;
/* Takes up what our own key opens at this moment: another's rotation may have ended since we opened.  *news: there was something. */
int keys_catch_up(struct repo *r, bool *news, struct err *e) MUST_USE;
int keys_need_recovery(const struct repo *r, const char *what, struct err *e) MUST_USE; /* ERR_KEY for an agent: it "cannot <what>" */

/* repo.c */
extern const char repo_pin_hint[];
bool repo_id_parse(uint8_t id[ID_BYTES], const char *hex);
int repo_uuid_parse(uint8_t uuid[16], const char *text);
/* Whether `text` is what we would write for this value: no byte of it may be another without being noticed. */
bool repo_json_is_canonical(const json_t *value, const struct buf *text);

#endif
