#ifndef HF_STORE_THROTTLE_H
#define HF_STORE_THROTTLE_H

#include "store/store.h"

/*
 * A store that moves `bytes_per_second` on average, all threads and both directions together, after a first second for free.
 * An object goes at the speed of the line; the pause is before a put and after a get, and ends early when a signal comes.
 * Takes `inner`.
 */
struct store *throttle_new(struct store *inner, uint64_t bytes_per_second);

#endif
