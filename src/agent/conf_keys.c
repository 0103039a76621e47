#include "agent/conf_keys.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define AT(member) offsetof(struct settings, member)
#define SECONDS(n) ((int64_t)(n) * 1000)
#define DAYS(n) (SECONDS(86400) * (n))
#define MIB(n) ((int64_t)(n) << 20)
#define PETABYTE (MIB(1) << 30)

#define SSLMODES "disable|allow|prefer|require|verify-ca|verify-full"

/* The keys of a server to connect to: the same for the source and for the server that drills restore to. */
#define SERVER(group, member, what)                                                                                               \
	{ group ".host", CONF_TEXT, AT(member.host), NULL, 0, 0, NULL, "Host name, address, or folder of the unix socket of " what "." },  \
	{ group ".port", CONF_PORT, AT(member.port), "5432", 1, 65535, NULL, "Port." },                                           \
	{ group ".user", CONF_TEXT, AT(member.user), NULL, 0, 0, NULL, "Role to connect as; not set: the name of the operating-system user." }, \
	{ group ".password_file", CONF_PATH, AT(member.password_file), NULL, 0, 0, NULL,                                          \
	  "File that holds the password and nothing else." },                                                                     \
	{ group ".passfile", CONF_PATH, AT(member.passfile), NULL, 0, 0, NULL,                                                    \
	  "File in the format of `~/.pgpass`, instead of `password_file`. No password file is read that is not named here." },    \
	{ group ".sslmode", CONF_WORD, AT(member.sslmode), NULL, 0, 0, SSLMODES,                                                  \
	  "As libpq's. Not set: `verify-full` for another host, `prefer` for this one." },                                        \
	{ group ".sslrootcert", CONF_PATH, AT(member.sslrootcert), NULL, 0, 0, NULL, "Authorities that may sign the server's certificate; not set: the system's." }, \
	{ group ".sslcert", CONF_PATH, AT(member.sslcert), NULL, 0, 0, NULL, "Client certificate." },                             \
	{ group ".sslkey", CONF_PATH, AT(member.sslkey), NULL, 0, 0, NULL, "File of the client certificate's key." },             \
	{ group ".maintenance_db", CONF_TEXT, AT(member.maintenance_db), "postgres", 0, 0, NULL,                                  \
	  "Database to connect to for facts of the whole cluster." },                                                             \
	{ group ".connect_timeout", CONF_SPAN, AT(member.connect_timeout_ms), "10s", SECONDS(1), SECONDS(600), NULL, "For one attempt to connect." }, \
	{ group ".bin_dir", CONF_PATH, AT(member.bin_dir), NULL, 0, 0, NULL,                                                      \
	  "Folder of `pg_dump` and `pg_restore`; not set: the usual folders, newest fitting major first." }

const struct conf_key conf_keys[] = {
	{ "name", CONF_NAME, AT(name), NULL, 0, 0, NULL, "What the database is called in backups and reports. Required." },

	{ "repository.kind", CONF_CHOICE, AT(store.kind), NULL, 0, 0, "folder|s3", "Where backups are kept. Required." },
	{ "repository.folder.path", CONF_PATH, AT(store.path), NULL, 0, 0, NULL, "The folder. Required for `folder`." },
	{ "repository.s3.endpoint", CONF_TEXT, AT(store.endpoint), NULL, 0, 0, NULL,
	  "`https://` and the host, with a port where it is not 443. Required for `s3`." },
	{ "repository.s3.bucket", CONF_NAME, AT(store.bucket), NULL, 0, 0, NULL, "The bucket; it must exist. Required for `s3`." },
	{ "repository.s3.prefix", CONF_TEXT, AT(store.prefix), NULL, 0, 0, NULL, "Folder inside the bucket, as `langfuse/`; not set: the whole bucket." },
	{ "repository.s3.region", CONF_TEXT, AT(store.region), "us-east-1", 0, 0, NULL, "Region, as it enters signatures." },
	{ "repository.s3.signature", CONF_WORD, AT(store.signature), "v4", 0, 0, "v4|v2",
	  "How requests are signed. `v2` is for old installations of Ceph and MinIO." },
	{ "repository.s3.ca_file", CONF_PATH, AT(store.ca_file), NULL, 0, 0, NULL, "Certificate authorities; not set: the system's." },
	{ "repository.s3.virtual_host", CONF_FLAG, AT(store.virtual_host), "false", 0, 0, NULL,
	  "Puts the bucket's name in front of the host's instead of into the path." },
	{ "repository.s3.v2_unverified_tls", CONF_FLAG, AT(store.v2_unverified_tls), "false", 0, 0, NULL,
	  "The `v2` transport cannot verify certificates; with `https://` it is refused unless you accept that here." },
	{ "repository.s3.access_key_file", CONF_PATH, AT(store.access_key_file), NULL, 0, 0, NULL,
	  "File with the access key alone; with `secret_key_file`. Without both: `credentials_file`, then `AWS_ACCESS_KEY_ID` and "
	  "`AWS_SECRET_ACCESS_KEY`, then `AWS_SHARED_CREDENTIALS_FILE` or `~/.aws/credentials`." },
	{ "repository.s3.secret_key_file", CONF_PATH, AT(store.secret_key_file), NULL, 0, 0, NULL, "File with the secret key alone." },
	{ "repository.s3.credentials_file", CONF_PATH, AT(store.credentials_file), NULL, 0, 0, NULL, "File in the format of `~/.aws/credentials`." },
	{ "repository.s3.profile", CONF_TEXT, AT(store.profile), "default", 0, 0, NULL, "Section of such a file." },
	{ "repository.s3.connect_timeout", CONF_SPAN, AT(store.connect_timeout_ms), "10s", SECONDS(1), SECONDS(600), NULL, "For one connection." },
	{ "repository.s3.stall_timeout", CONF_SPAN, AT(store.stall_timeout_ms), "30s", SECONDS(1), SECONDS(3600), NULL,
	  "A transfer slower than 1 KiB/s for this long is broken off and tried again." },
	{ "repository.s3.request_timeout", CONF_SPAN, AT(store.total_timeout_ms), "10m", SECONDS(1), SECONDS(86400), NULL, "For one whole request." },
	{ "repository.attempts", CONF_NUMBER, AT(store.attempts), "12", 1, 100, NULL, "How often a request that failed for a moment is tried: with the pauses in between, for a minute or two. While the store has not answered once, 6 times at most." },
	{ "repository.bytes_per_second", CONF_SIZE, AT(store.bytes_per_second), "0", 0, PETABYTE, NULL,
	  "Bound for both directions together; 0: none." },
	{ "repository.key_file", CONF_PATH, AT(key_file), "/etc/holdfast/key", 0, 0, NULL, "This machine's key to the repository, as `init` wrote it." },
	{ "repository.passphrase_file", CONF_PATH, AT(passphrase_file), NULL, 0, 0, NULL, "File with a passphrase, instead of `key_file`." },
	{ "repository.cache_dir", CONF_PATH_OR_NONE, AT(cache_dir), "/var/cache/holdfast", 0, 0, NULL,
	  "Keeps copies of index objects between runs; `\"\"`: no cache. Safe to delete." },

	SERVER("source", source, "the server to back up"),
	{ "source.databases", CONF_ALL_OR_LIST, AT(databases), "all", 0, 0, NULL,
	  "Names of the databases, or `\"all\"`: every one that accepts connections, templates excepted." },
	{ "source.exclude_table_data", CONF_LIST, AT(exclude_table_data), NULL, 0, 0, NULL,
	  "Patterns as `pg_dump --exclude-table-data` takes them. Every report names them as not covered." },

	{ "backup.jobs", CONF_NUMBER, AT(backup.jobs), "2", 1, 64, NULL, "How many `pg_dump` run at a time." },
	{ "backup.workers", CONF_NUMBER, AT(backup.workers), "0", 0, 64, NULL,
	  "Threads that hash, compress and encrypt; 0: as many as there are processors for us." },
	{ "backup.level", CONF_NUMBER, AT(backup.level), "3", 1, 19, NULL, "Level of zstd." },
	{ "backup.large_table", CONF_SIZE, AT(backup.large_table_bytes), "64 MiB", MIB(1), PETABYTE, NULL,
	  "A table at least this large is dumped by a process of its own." },
	{ "backup.lock_timeout", CONF_SPAN, AT(backup.lock_timeout_ms), "30s", SECONDS(1), SECONDS(3600), NULL,
	  "How long to wait for the lock (ACCESS SHARE) on the tables; while it waits, others queue behind it." },
	{ "backup.lock_attempts", CONF_NUMBER, AT(backup.lock_attempts), "3", 1, 100, NULL, "How often that is tried before the backup fails." },
	{ "backup.idle_timeout", CONF_SPAN, AT(backup.idle_timeout_ms), "15m", SECONDS(1), DAYS(1), NULL, "A `pg_dump` that is silent for this long is ended." },
	{ "backup.deadline", CONF_SPAN, AT(backup.deadline_ms), "12h", SECONDS(10), DAYS(30), NULL, "For the whole backup." },
	{ "backup.shrink_percent", CONF_NUMBER, AT(backup.shrink_percent), "50", 1, 100, NULL,
	  "A backup that lost more of its rows or bytes than this is marked suspect, and nothing expires until somebody has looked." },

	{ "drill.dir", CONF_PATH, AT(drill.dir), "/var/tmp", 0, 0, NULL, "The throw-away cluster lives in a folder of its own below this one." },
	{ "drill.user", CONF_TEXT, AT(drill.user), NULL, 0, 0, NULL,
	  "Unprivileged user that runs it when holdfast runs as root; not set: `nobody`, and for the `pg_restore` of a restore `postgres` where there is one." },
	{ "drill.bin_dir", CONF_PATH, AT(drill.bin_dir), NULL, 0, 0, NULL, "Folder of `initdb` and `postgres`; not set: the usual folders." },
	SERVER("drill.server", drill.server, "a server to drill on, instead of a throw-away cluster; never the source's"),
	{ "drill.jobs", CONF_NUMBER, AT(drill.jobs), "2", 1, 64, NULL, "How many tables, and later indexes, are restored at a time." },
	{ "drill.deadline", CONF_SPAN, AT(drill.deadline_ms), "12h", SECONDS(10), DAYS(30), NULL, "For the whole drill." },
	{ "drill.min_free", CONF_SIZE, AT(drill.min_free_bytes), "1 GiB", 0, PETABYTE, NULL, "Free space that a drill leaves in `drill.dir`: it begins only where more is free, and is stopped when less is left." },
	{ "drill.amcheck", CONF_FLAG, AT(drill.amcheck), "true", 0, 0, NULL, "Checks the indexes of what was restored with amcheck." },
	{ "drill.checks", CONF_CHECKS, AT(drill.checks), NULL, 0, 0, NULL,
	  "A list of groups `{ name; sql; expect; database; }`: each statement must give one value, equal to `expect` (any but null and false "
	  "without it), in the restored database (in each without `database`)." },

	{ "keep.last", CONF_NUMBER, AT(keep.last), "7", 0, 100000, NULL, "The newest so many backups." },
	{ "keep.daily", CONF_NUMBER, AT(keep.daily), "7", 0, 100000, NULL, "The newest of each of the last so many days that have one." },
	{ "keep.weekly", CONF_NUMBER, AT(keep.weekly), "5", 0, 100000, NULL, "The same for weeks." },
	{ "keep.monthly", CONF_NUMBER, AT(keep.monthly), "12", 0, 100000, NULL, "The same for months." },
	{ "keep.yearly", CONF_NUMBER, AT(keep.yearly), "0", 0, 100000, NULL, "The same for years." },
	{ "keep.grace", CONF_SPAN, AT(keep.grace_ms), "3d", 0, DAYS(365), NULL, "Between condemning stored data and deleting it." },
	{ "keep.min_proven", CONF_NUMBER, AT(keep.min_proven), "1", 0, 1000, NULL,
	  "Never fewer proven backups than this; without so many, nothing is deleted." },
};
const size_t conf_keys_count = sizeof(conf_keys) / sizeof(conf_keys[0]);

int
conf_key_find(const char *path)
{
	for (size_t i = 0; i < conf_keys_count; i++)
		if (strcmp(conf_keys[i].path, path) == 0)
			return (int)i;
	return -1;
}

bool
conf_key_is_group(const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < conf_keys_count; i++)
		if (strncmp(conf_keys[i].path, path, n) == 0 && conf_keys[i].path[n] == '.')
			return true;
	return false;
}

char *
conf_key_variable(const char *path)
{
	char *name = mem_printf("HOLDFAST_%s", path);

	for (char *p = name; *p != '\0'; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
	return name;
}

const char *
conf_key_secret(const char *name)
{
	static const char *const secrets[][2] = {
		{ "password", "password_file" }, { "passwd", "password_file" }, { "pgpassword", "password_file" },
		{ "passphrase", "passphrase_file" }, { "secret", "secret_key_file" }, { "secret_key", "secret_key_file" },
		{ "secret_access_key", "secret_key_file" }, { "access_key", "access_key_file" }, { "access_key_id", "access_key_file" },
		{ "key", "key_file" }, { "private_key", "key_file" }, { "token", "credentials_file" }, { "session_token", "credentials_file" },
	};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (strcasecmp(secrets[i][0], name) == 0)
			return secrets[i][1];
	return NULL;
}

const char *
conf_type_name(enum conf_type type)
{
	static const char *const names[] = {
		[CONF_TEXT] = "string", [CONF_NAME] = "name", [CONF_PATH] = "absolute path", [CONF_PATH_OR_NONE] = "absolute path or \"\"",
		[CONF_PORT] = "number", [CONF_WORD] = "one of", [CONF_CHOICE] = "one of", [CONF_FLAG] = "true or false",
		[CONF_NUMBER] = "number", [CONF_SIZE] = "size", [CONF_SPAN] = "duration", [CONF_LIST] = "list of strings",
		[CONF_ALL_OR_LIST] = "\"all\" or list of strings", [CONF_CHECKS] = "list of groups",
	};

	return names[type];
}

/* The largest unit that gives a whole number, so that it reads as it would be written. */
static void
add_span(struct buf *to, int64_t ms)
{
	static const struct { int64_t ms; const char *unit; } units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };

	for (size_t i = 0; ms != 0 && i < sizeof(units) / sizeof(units[0]); i++)
		if (ms % units[i].ms == 0) {
			buf_addf(to, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
			return;
		}
	buf_addc(to, '0');
}

static void
add_bound(struct buf *to, const struct conf_key *k, int64_t v)
{
	char human[32];

	if (k->type == CONF_SPAN)
		add_span(to, v);
	else if (k->type == CONF_SIZE && v > 0)
		buf_addstr(to, bytes_human(human, (uint64_t)v));
	else
		buf_addf(to, "%" PRId64, v);
}

void
conf_key_range(const struct conf_key *k, struct buf *to)
{
	for (const char *p = k->words; p != NULL && *p != '\0'; p += strspn(p, "|")) {
		size_t n = strcspn(p, "|");

		buf_addf(to, "%s\"%.*s\"", p == k->words ? "" : ", ", (int)n, p);
		p += n;
	}
	if (k->high > 0) {
		add_bound(to, k, k->low);
		buf_addstr(to, " to ");
		add_bound(to, k, k->high);
	}
	buf_add(to, NULL, 0);
}
