#ifndef HF_STORE_RETRY_H
#define HF_STORE_RETRY_H

#include "store/store.h"

/*
 * A store that tries again what failed with ERR_STORE and nothing else: at most `attempts` times in all, with a random pause
 * before each further try of up to first_pause_ms, doubled each time up to longest_pause_ms.  A signal ends a pause.
 *
 * A put that finds the same bytes under the name is a success: they may have come from a try whose answer was lost.  A listing
 * is handed on when it is complete, so that nobody sees an object twice; it is held in memory until then.
 *
 * Takes `inner`.
 */
struct store *retry_new(struct store *inner, unsigned attempts, int64_t first_pause_ms, int64_t longest_pause_ms);

#endif
