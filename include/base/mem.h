#ifndef HF_BASE_MEM_H
#define HF_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Memory.  Small allocations do not fail: when the machine has none left, the process says so and exits with 1.  Each
 * job is a process that commits last, so that loses nothing but the run.  A length that comes from outside is bounded
 * by its reader before it gets here.
 */
void *mem_alloc(size_t bytes);
void *mem_zero(size_t count, size_t bytes);             /* zeroed; the product is checked */
void *mem_grow(void *p, size_t count, size_t bytes);    /* realloc; the product is checked */
char *mem_strdup(const char *s);                        /* NULL gives NULL */
char *mem_strndup(const char *s, size_t bytes);
char *mem_printf(const char *format, ...) PRINTF_LIKE(1, 2);

/* Overwrites a secret so that the compiler cannot leave it out, then frees it.  NULL is nothing. */
void mem_wipe(void *p, size_t bytes);
void mem_free_secret(void *p, size_t bytes);

#endif
