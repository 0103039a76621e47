#ifndef HF_SRC_PG_CAGE_PLAN_H
#define HF_SRC_PG_CAGE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * All that the way into a cage needs, made before the fork: between fork and exec nothing may be allocated.
 */
enum cage_mode {
	CAGE_ROOT,                      /* namespaces, made as root */
	CAGE_USER,                      /* namespaces, made in a user namespace */
	CAGE_BARE,                      /* no namespaces: Landlock, limits and the user */
};

struct cage_view {
	enum { VIEW_BIND, VIEW_LINK, VIEW_FILE, VIEW_SHM, VIEW_PROC } kind;
	bool writable;
	bool device;
	bool folder;                    /* the source of a bind is a folder */
	char *from;                     /* bind: path outside; link: its target; file: the content */
	char *to;                       /* path below the new root, beginning with that root */
	char *inside;                   /* path as it is seen inside */
};

struct cage {
	enum cage_mode mode;
	bool network, proc, landlock, filter;
	bool become;                    /* we are root, and change to uid and gid */
	uid_t uid;
	gid_t gid;
	char *folder, *shown, *root, *tmp;      /* as seen from outside */
	const char *inside, *shown_inside, *tmp_inside;
	struct cage_view *views;
	size_t view_count;
	char uid_map[64], gid_map[64];
	int landlock_abi;               /* 0: the kernel has none */
	int mode_errno;                 /* why a better mode did not work */
};

/* Steps of the way in.  Each returns 0 or an errno and uses async-signal-safe calls only. */
int cage_build_root(const struct cage *c);
int cage_drop_caps(void);
int cage_landlock(const struct cage *c);
int cage_filter(const struct cage *c);
int cage_landlock_abi(void);

#endif
