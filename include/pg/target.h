#ifndef HF_PG_TARGET_H
#define HF_PG_TARGET_H

#include <stdint.h>

struct cage;

/*
 * A PostgreSQL server as the operator configured it.  Strings are borrowed from the settings; NULL means libpq's own
 * default, with these exceptions (R49): libpq never looks at a service file or a password file that nobody named, no PG*
 * variable of the environment is looked at, and a server that is reached over a network (not a socket, not loopback) is
 * "verify-full" unless `sslmode` says otherwise, against the system's CA bundle unless `sslrootcert` names another.
 */
struct pg_target {
	const char *host;               /* host name, address, or folder of the unix socket */
	const char *port;
	const char *user;
	const char *password_file;      /* holds the password alone (Kubernetes secret, systemd credential) */
	const char *passfile;           /* libpq's own format, ~/.pgpass style */
	const char *sslmode, *sslrootcert, *sslcert, *sslkey;
	const char *maintenance_db;     /* to connect to for facts of the cluster ["postgres"] */
	int64_t connect_timeout_ms;     /* [10 s] */
	const char *bin_dir;            /* where pg_dump and pg_restore lie; NULL: looked for in the usual folders */
	struct cage *cage;              /* whoever may own this server: programs that connect to it run in here; NULL: as we do */
};

#endif
