#ifndef HF_PG_SCRATCH_H
#define HF_PG_SCRATCH_H

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "pg/cage.h"
#include "pg/target.h"
#include "pg/tools.h"

/*
 * A server to restore into and then throw away.
 *
 * scratch_start makes one: a cluster of the source's major in a folder of its own, run in a cage by an unprivileged user, reached
 * by a unix socket alone, with settings that are fast and fit for no other use (nothing is synced: if the machine stops,
 * so does the drill).  scratch_attach takes a server that the operator named for it; never the source.  The life of both: start
 * or attach, restore into databases named by scratch_database, scratch_free, always, which leaves no trace.  What a killed
 * run left behind is removed by scratch_sweep.
 *
 * scratch_start and scratch_free belong to one thread: the cluster dies with the thread that started it.
 */
struct scratch_options {
	const char *dir;                /* the folder of the run is made below it; must exist */
	const char *user;               /* unprivileged user when we are root; NULL: nobody named one, and it is "nobody" */
	const struct pg_target *source; /* whose server's user the cluster should not run as; NULL: not known */
	const char *bin_dir;            /* server programs; NULL: the usual folders */
	const char *programs;           /* folder of more programs that will connect to it, to be seen inside; NULL: none */
	int major;                      /* of the source */
	const char *superuser;          /* its bootstrap superuser, so that ACLs of system objects read the same; NULL: "postgres" */
	const char *preload;            /* its shared_preload_libraries; NULL or "": none */
	const char *bytea_output;       /* the source's, in which bytea is dumped: "hex", "escape"; NULL: the default */
	uint64_t need_bytes;            /* do not start with less free space than this */
	uint64_t floor_bytes;           /* the cluster is killed when less is left free than this; 0: never */
	uint64_t expect_bytes;          /* what it should come to hold; far more is the dump's own doing */
	unsigned jobs;                  /* sessions that work at once */
	int64_t start_timeout_ms;       /* for initdb, and again for the start; 0: 2 minutes */
};

struct scratch;

/* ERR_USAGE when `dir` is not there.  ERR_REFUSED where the host allows no namespaces, and the cluster would run, without anybody
 * having named that user, as the one of a server: "postgres", or the owner of the source's socket.  ERR_NOT_FOUND when programs of
 * this major or a preloaded library are not installed here (a drill says "not verifiable here", R33); ERR_SPACE; ERR_TIMEOUT and
 * ERR_FAILED quote the server's log. */
struct scratch *scratch_start(const struct scratch_options *o, struct err *e) MUST_USE;

/*
 * `dir`, `user` and `bin_dir` of the options serve pg_restore; the rest is not looked at.  ERR_REFUSED when the server has the
 * source's system identifier (R3, R48).  Databases that a killed drill left there are dropped.
 */
struct scratch *scratch_attach(const struct pg_target *server, const char *source_system_identifier, const struct scratch_options *o,
    struct err *e) MUST_USE;

/* Cage and programs for a restore to a server that the operator chose, the source too if they said so: what R3 asks for is the
 * caller's.  No database is dropped in the end unless scratch_database named it. */
struct scratch *scratch_reach(const struct pg_target *server, const struct scratch_options *o, struct err *e) MUST_USE;

/* Stops and removes the cluster; on a named server drops the databases that scratch_database named.  NULL is nothing. */
void scratch_free(struct scratch *s);

/* Removes what runs that were killed left below `dir`.  The number of folders, or -1. */
int scratch_sweep(const char *dir, struct err *e);

/* Valid until freed.  It names the cage, so that a pg_dump of it runs in there, too: code of the dump owns the server (R46). */
const struct pg_target *scratch_target(const struct scratch *s);
struct cage *scratch_cage(const struct scratch *s);                     /* for the pg_restore that works on it */
const struct tools *scratch_tools(const struct scratch *s);
uint64_t scratch_sort_bytes(const struct scratch *s);                   /* a maintenance_work_mem for each of `jobs` sessions */

/* The name to restore `database` under: its own where it is free, else one that says what it is.  Valid until freed. */
const char *scratch_database(struct scratch *s, const char *database);

/* `kind`, `server_version`, `cage`, as docs/outcomes.md has it. */
json_t *scratch_describe(const struct scratch *s);

/*
 * R33: the extensions recorded of a database (facts_database: array of `name`, `version`) against what this server can
 * install.  0, or ERR_NOT_FOUND "extension "vector" 0.7.0 is not installed here".
 */
int scratch_preflight(struct scratch *s, const json_t *extensions, struct err *e) MUST_USE;

/*
 * Why the cluster is gone, where it was killed for want of room: ERR_FAILED when it held far more than was expected, so that what was
 * restored wrote without end; ERR_SPACE when others took the room, or there was too little.  Else 0.
 */
int scratch_room(const struct scratch *s, struct err *e) MUST_USE;

#endif
