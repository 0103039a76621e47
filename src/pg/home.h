#ifndef HF_SRC_PG_HOME_H
#define HF_SRC_PG_HOME_H

#include "base/err.h"

/*
 * A folder for one run, "holdfast-scratch-<random id>" below a configured one, that does not outlive its owner: the owner holds
 * a lock on its marker file, which the kernel drops when the owner dies, however it dies; the next run removes every
 * such folder whose lock is free.
 */
struct home {
	char *path;
	int lock;
};

int home_make(struct home *h, const char *dir, struct err *e) MUST_USE;

/* Removes the folder and lets go; an empty struct is nothing.  Failure is logged: nothing that was proven depends on it. */
void home_remove(struct home *h);

/* Removes what runs that died left below `dir`; the number of folders removed, -1 when one could not be. */
int home_sweep(const char *dir, struct err *e);

#define HOME_INIT { .path = NULL, .lock = -1 }

#endif
