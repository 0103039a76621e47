#ifndef HF_REPO_CATALOG_H
#define HF_REPO_CATALOG_H

#include "base/bytes.h"
#include "repo/inner.h"

/*
 * Objects sealed with the catalog key: index, manifests, reports, markers.  docs/repository-format.md, section 5.  They are
 * immutable, so a copy in the local cache folder is as good as the store's, and authenticated the same way: a copy that
 * does not open is thrown away and fetched again.
 */
enum catalog_type { CATALOG_INDEX = 1, CATALOG_MANIFEST, CATALOG_REPORT, CATALOG_RUN, CATALOG_SWEEP, CATALOG_HOLD };

#define CATALOG_SECTIONS 4
#define CATALOG_SECTION_MAX (1u << 30)          /* plain bytes of one section */

/* Name of an object; for runs only the first 8 bytes of the id count.  Owned by the caller. */
char *catalog_name(enum catalog_type type, const uint8_t id[ID_BYTES]);

/* Seals and puts; a manifest is read back and compared (R1).  ERR_FAILED when the sealed object would be larger than a store takes. */
int catalog_put(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], const struct buf *sections, unsigned count,
    struct err *e) MUST_USE;

/* Fetches and opens the first `wanted` sections into out[].  ERR_CORRUPT for anything that is not what was put. */
int catalog_get(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], struct buf *out, unsigned wanted, struct err *e) MUST_USE;

/* Of an object with one section of JSON: its value, owned by the caller. */
int catalog_get_json(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], json_t **value, struct err *e) MUST_USE;

/* Ids of all objects of a type, by listing, in no order; `changed_us` may be NULL.  Free both with free. */
int catalog_list(struct repo *r, enum catalog_type type, uint8_t (**ids)[ID_BYTES], int64_t **changed_us, size_t *count, struct err *e) MUST_USE;

/* Removes from the store, then from the cache. */
int catalog_remove(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], struct err *e) MUST_USE;

/* The pure part, for tests and fuzzing: opens `object`, claimed to be (type, id), with the secrets. */
int catalog_open(const uint8_t uuid[16], const uint8_t catalog_key[32], enum catalog_type type, const uint8_t id[ID_BYTES],
    const struct buf *object, struct buf *out, unsigned wanted, struct err *e) MUST_USE;

#endif
