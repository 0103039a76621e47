#ifndef HF_PG_CAGE_H
#define HF_PG_CAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"

/*
 * A cage for programs that run what the source's users wrote: restoring a dump executes functions, triggers and programs of
 * theirs (R44, R48), with the rights of whoever restores.  What runs inside
 *   - is an unprivileged user without groups or capabilities, and cannot gain any;
 *   - sees a minimal file system (programs and libraries, read-only; no home, no /etc but a made-up one) and writes to one
 *     folder alone, in which we open nothing: a link there would lead us anywhere, with our rights;
 *   - has no network, unless it was asked for; unix sockets below that folder work, all others are out of reach;
 *   - sees no process but those of its cage, and dies with the program that started it, however that ends;
 *   - knows no secret: its environment is made here.
 *
 * How much of this the host can enforce is found out when the cage is made, by trying: as root with namespaces of its own,
 * else in a user namespace, else with Landlock alone.  Nothing is assumed; cage_measures tells, for the report.
 *
 * One cage serves any number of commands, also at the same time; each gets namespaces of its own.
 */
struct cage_options {
	const char *home;               /* absolute, exists, ours alone: not seen from inside */
	const char *user;               /* to become when we are root; NULL: stay who we are */
	const char *const *see;         /* more files, sockets and folders to see, read-only; NULL-terminated; NULL: none */
	bool network;                   /* keeps the host's network: a restore to a server over TCP */
};

struct cage;

/* ERR_USAGE when there is no such user.  Makes the folders "work", "show", "tmp" and "root" below `home`, which the owner of
 * `home` removes with it. */
struct cage *cage_new(const struct cage_options *o, struct err *e) MUST_USE;
void cage_free(struct cage *c);

/* The one folder that is written to, as we see it, and as it is seen from inside: two names where there is a mount
 * namespace. */
const char *cage_folder(const struct cage *c);
const char *cage_folder_inside(const struct cage *c);

/* A folder of ours that is read inside and never written to, by its two names: for what both sides open. */
const char *cage_shown(const struct cage *c);
const char *cage_shown_inside(const struct cage *c);

/*
 * Gives a socket that was made in cage_folder a second name, the same, in cage_shown, and connections are made to that one alone: its
 * first name can become a link to any socket of the host, which connect() follows out here.  To be called before any foreign code has
 * run inside.  ERR_NOT_FOUND while it is not there; where the host makes no such link it fails.
 */
int cage_show_socket(const struct cage *c, const char *name, struct err *e) MUST_USE;

/* For child_spec: prepare, with the cage as its ctx, and words for prepare_what.  The process that the parent knows stays
 * outside and passes on signals and the end of the one inside, which is the first of its process table.  Start and wait in
 * one thread, as base/child.h says: what is inside dies with that thread. */
int cage_prepare(void *cage);
#define CAGE_WHAT "enter the cage"

/* The environment inside: PATH, HOME, TMPDIR, a C locale, and libpq told to look at no file of its own (R49), then `more`
 * (NULL-terminated "NAME=value", or NULL).  Free the array with cage_env_free. */
char **cage_env(const struct cage *c, const char *const *more);
void cage_env_free(char **env);

/* Whether there are no namespaces here, so that what runs inside reaches all that its user does, but files; and which user that is. */
bool cage_is_bare(const struct cage *c, uid_t *uid);

/* Array of {measure, enforced, note}, as docs/outcomes.md has it. */
json_t *cage_measures(const struct cage *c);

/* Gives an open file to the user inside. */
int cage_give(const struct cage *c, int fd, struct err *e) MUST_USE;

/* Makes a file in cage_shown for the user inside to read, and opens it for writing; the name must not exist.  The descriptor, or -1. */
int cage_create(const struct cage *c, const char *name, struct err *e) MUST_USE;

#endif
