#ifndef HF_REPO_VERIFY_H
#define HF_REPO_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/progress.h"
#include "repo/repo.h"

/*
 * Reads the repository and says what is wrong with it.  Open the repository without a cache for this: it is the store's bytes
 * that are judged.
 *
 * The structure: holders, index, sizes of packs, reports and their signatures, and every backup followed to its chunks.  With
 * `data`, every pack is read whole as well: its digest compared with the index, its directory and (for a recovery holder)
 * each of its chunks opened, unpacked and compared with its id.
 *
 * `result` gets the members of the outcome "verify" (docs/outcomes.md).  What is damaged is a problem in there, not an error;
 * an error means that it could not be looked at (store unreachable, stopped).
 */
int verify_run(struct repo *r, bool data, struct progress *progress, json_t *result, struct err *e) MUST_USE;

/* Writes the index anew from the packs' own directories, then removes the old index objects.  *packs gets how many were
 * read; packs that cannot be read are added to `problems` (an array), and keep the record that an old index object has of them. */
int verify_rebuild_index(struct repo *r, uint64_t *packs, json_t *problems, struct err *e) MUST_USE;

#endif
