#ifndef HF_STORE_FOLDER_H
#define HF_STORE_FOLDER_H

#include <stdbool.h>

#include "store/store.h"

/*
 * A store in a folder of this machine (or of a mounted disk).  An object is a file with the object's name.  The folder is
 * held open: when a disk is taken away and an empty mount point is left behind, nothing is "not found" by that (R13).
 * Temporaries live in "<folder>/.tmp" and are never objects (R30).
 */
struct store *folder_open(const char *path, bool create, struct err *e) MUST_USE;

#endif
