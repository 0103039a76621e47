#ifndef HF_REPO_KEYS_H
#define HF_REPO_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "store/store.h"

/*
 * Who can open a repository.  An identity is a secret of 32 bytes from which an X25519 key (to receive the repository's
 * secrets) and an Ed25519 key (to sign reports) follow; it lies in a key file, or follows from a passphrase.  A holder is an
 * identity to which a repository's secrets were wrapped.  docs/repository-format.md, section 4.
 *
 * An agent backs up, lists and expires, and cannot read one byte of any backup nor let anybody in; a recovery holder also restores.
 */
enum key_role { KEY_AGENT, KEY_RECOVERY };

#define KEY_PUBLIC_TEXT 129             /* hex of X25519 ‖ Ed25519, with the 0 */
#define KEY_NAME_MAX 64

struct identity;

/* A new random identity.  `name` is 1 to 63 printable characters (checked by the caller with key_name_valid). */
struct identity *identity_new(const char *name, enum key_role role);

/* Reads a key file.  ERR_KEY when it is none, ERR_DENIED when others can read it. */
struct identity *identity_read(const char *path, struct err *e) MUST_USE;

/* Writes a key file with mode 0600; ERR_EXISTS when the name is taken. */
int identity_write(const struct identity *i, const char *path, struct err *e) MUST_USE;

void identity_free(struct identity *i);         /* wipes; NULL is nothing */

void identity_public(const struct identity *i, char to[KEY_PUBLIC_TEXT]);
const char *identity_name(const struct identity *i);
enum key_role identity_role(const struct identity *i);

bool key_name_valid(const char *name);
const char *key_role_name(enum key_role role);

/* What stands about a holder in the repository; newest object of each. */
struct holder {
	char id[33];                    /* stays the same over rotations */
	char name[KEY_NAME_MAX];
	char public_key[KEY_PUBLIC_TEXT];
	char created[32];
	enum key_role role;
	bool passphrase;
	bool self;                      /* the one that opened the repository */
	uint32_t epoch;                 /* newest vault epoch that it can use */
	unsigned objects;               /* under keys/, superseded ones included */
};

struct repo;

/* Fills *holders (free with free).  An object counts when a recovery holder signed it; others let nobody in, are left out, and are counted in
 * *foreign. */
int keys_list(struct repo *r, struct holder **holders, size_t *count, size_t *foreign, struct err *e) MUST_USE;

/* Those others: an array (owned by the caller) of `object` (its name) and, where they have the shape of a holder, what they claim to be:
 * `name`, `role`, `public_key`, otherwise null. */
int keys_foreign(struct repo *r, json_t **foreign, struct err *e) MUST_USE;

/* Adds a holder by public identity (64 or 128 hex digits), or by passphrase.  Needs a recovery holder: an agent lets nobody in.
 * The new object is read back and compared before it counts (R29).  ERR_REFUSED when a rotation ended meanwhile: the holder is there, without
 * its key.  `holder_id` gets the new id. */
int keys_add(struct repo *r, const char *name, enum key_role role, const char *public_key, const char *passphrase, char holder_id[33],
    struct err *e) MUST_USE;

/* Opens a new vault epoch for all holders (R29: adds, verifies; superseded objects go in a later run).  Needs a recovery
 * holder, since an agent cannot wrap the older private keys for the others.  Passphrases get the new key first, then other key files that read,
 * then ours, then agents: whoever seals to it comes behind those that read it.  ERR_REFUSED when another rotation is at work, or a reader was
 * let in meanwhile without it.  Who was removed meanwhile gets nothing.  *epoch gets the new number. */
int keys_rotate(struct repo *r, uint32_t *epoch, struct err *e) MUST_USE;

/* Which recovery holders lack the newest vault key of all, or that which this key seals to: after a rotation that did not end, what is backed
 * up may be unreadable to them.  *who gets their names, quoted (owned by the caller), or NULL for nobody. */
int keys_behind(struct repo *r, char **who, struct err *e) MUST_USE;

/* Removes a holder's objects; it is called by its name, its id, or a unique beginning of that (4 digits at least).  ERR_REFUSED for the last
 * recovery holder and one that alone has a vault key unless `even_last`, for the one in use, and when ours was removed meanwhile and nobody
 * else is left to read: it is put back.  "keys/<id>" removes a foreign object. */
int keys_remove(struct repo *r, const char *holder_id, bool even_last, struct err *e) MUST_USE;

/* Removes key objects that a newer one of the same holder supersedes, which has every vault key of theirs, and is not of the newest epoch:
 * that one's rotation may be at work. */
int keys_tidy(struct repo *r, unsigned *removed, struct err *e) MUST_USE;

#endif
