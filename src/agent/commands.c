#include "agent/args.h"
#include "agent/run.h"

/* The command line as a table: a row each.  Help, completion, the parser and the manual's test are made of it. */

#define AT(member) offsetof(struct args, member)
#define FLAG(name, letter, member, help) { name, letter, OPTION_FLAG, NULL, AT(member), false, help }
#define TEXT(name, what, member, help) { name, 0, OPTION_TEXT, what, AT(member), false, help }
#define FILE_(name, letter, member, help) { name, letter, OPTION_FILE, "FILE", AT(member), false, help }
#define NUMBER(name, member, help) { name, 0, OPTION_NUMBER, "N", AT(member), false, help }
#define LIST(name, what, member, help) { name, 0, OPTION_LIST, what, AT(member), false, help }
#define END { NULL, 0, OPTION_FLAG, NULL, 0, false, NULL }

const struct option_row args_common[] = {
	FILE_("config", 'c', config, "configuration [HOLDFAST_CONFIG, else /etc/holdfast/holdfast.cfg]"),
	FLAG("json", 0, json, "print the outcome as one JSON object"),
	FLAG("quiet", 'q', quiet, "say nothing but warnings, errors and what was asked for"),
	FLAG("verbose", 'v', verbose, "say what is being done"),
	{ "log-format", 0, OPTION_WORD, "text|json", AT(log_format), false, "how messages are written to stderr [text]" },
	FLAG("no-progress", 0, no_progress, "show no progress"),
	FLAG("help", 'h', help, "print this and end"),
	FLAG("version", 0, version, "print the version and end"),
	END
};

const struct option_row args_opening[] = {
	FILE_("key-file", 0, key_file, "with this key [repository.key_file]"),
	FILE_("passphrase-file", 0, passphrase_file, "with the passphrase in this file"),
	END
};

const char *const args_exit_words[9] = {
	"done", "failed", "command line or configuration wrong", "done, with warnings", "not proven: what came back is not what was dumped",
	"the store cannot be reached", "the database cannot be reached", "another run or a lock is in the way", "refused by policy",
};

static const struct option_row init_options[] = {
	TEXT("holder", "NAME", init.holder, "name of the first holder [recovery]"),
	FILE_("key-out", 0, init.key_out, "write its key here [repository.key_file]"),
	FILE_("agent-key-out", 0, init.agent_key_out, "also make a key that can back up and cannot read"),
	FILE_("passphrase-file", 0, init.passphrase_file, "also let this passphrase open the repository"),
	FLAG("accept-single-key", 0, init.accept_single_key, "one key only: if it is lost, so is every backup"),
	END
};

static const struct option_row keys_add_options[] = {
	TEXT("public-key", "HEX", keys.public_key, "the holder's public key, as `keys identity` prints it"),
	FILE_("new-passphrase-file", 0, keys.passphrase_file, "a passphrase instead of a key"),
	FLAG("agent-only", 0, keys.agent_only, "may back up, list and expire, and cannot read"),
	END
};

static const struct option_row keys_identity_options[] = {
	{ "key-out", 0, OPTION_FILE, "FILE", AT(keys.key_out), true, "write the private key here" },
	END
};

static const struct option_row keys_remove_options[] = {
	FLAG("yes", 0, keys.yes, "even the last one that can read"),
	END
};

static const struct option_row backup_options[] = {
	LIST("database", "NAME", databases, "this database instead of the configured ones; repeatable"),
	TEXT("label", "TEXT", backup.label, "free text, kept with the backup"),
	FLAG("hold", 0, backup.hold, "never expire it, until `hold --release`"),
	END
};

static const struct option_row list_options[] = {
	TEXT("database", "NAME", database, "only backups that hold this database"),
	END
};

static const struct option_row show_options[] = {
	TEXT("compare-with", "BACKUP", compare_with, "show what changed between that backup and this one"),
	END
};

static const struct option_row hold_options[] = {
	FLAG("release", 0, release, "let it expire again"),
	END
};

static const struct option_row restore_options[] = {
	TEXT("database", "NAME", restore.database, "which database of the backup [its only one]"),
	TEXT("into", "NAME", restore.into, "new database to make [<database>_<time of backup>]"),
	FLAG("existing", 0, restore.existing, "--into names a database that exists and is empty"),
	LIST("table", "PATTERN", tables, "only this table, as schema.table; repeatable"),
	LIST("schema", "PATTERN", schemas, "only this schema; repeatable"),
	FLAG("globals", 0, restore.globals, "roles and tablespaces first"),
	NUMBER("jobs", restore.jobs, "tables, and later indexes, at a time [drill.jobs]"),
	TEXT("host", "HOST", restore.target.host, "server to restore to [the configured source]"),
	TEXT("port", "PORT", restore.target.port, "its port [5432]"),
	TEXT("user", "NAME", restore.target.user, "role to connect as"),
	FILE_("password-file", 0, restore.target.password_file, "file with its password"),
	FILE_("passfile", 0, restore.target.passfile, "file in the format of ~/.pgpass"),
	TEXT("sslmode", "MODE", restore.target.sslmode, "as libpq's [verify-full for another host]"),
	FILE_("sslrootcert", 0, restore.target.sslrootcert, "authorities that may sign its certificate"),
	TEXT("system-id", "NUMBER", restore.system_id, "confirms a restore to the source: its system identifier"),
	END
};

static const struct option_row verify_options[] = {
	FLAG("data", 0, verify.data, "read, decrypt and check every chunk"),
	FLAG("rebuild-index", 0, verify.rebuild_index, "write the index anew from the packs"),
	END
};

static const struct option_row check_options[] = {
	FLAG("effective", 0, effective, "print every setting, its value, and where that came from"),
	END
};

static const struct option_row expire_options[] = {
	FLAG("plan", 0, plan, "say what would be deleted, and delete nothing"),
	END
};

static const struct option_row report_options[] = {
	{ "format", 0, OPTION_WORD, "text|md|html|json", AT(format), false, "what to make [text]" },
	FILE_("output", 'o', output, "write it here instead of stdout (mode 0600)"),
	END
};

const struct command args_commands[] = {
	{ "init", "make a repository and its first keys", "", 0, 0, init_options,
	  "Makes the repository that the configuration describes, and a key that can back up and restore. Keep a copy of that key somewhere "
	  "else than the repository and this machine: without a key a backup cannot be read by anybody. Two ways to open it are asked for, "
	  "a second key or a passphrase, unless --accept-single-key says otherwise.",
	  "holdfast init --passphrase-file /root/passphrase\n"
	  "holdfast init --key-out /root/recovery.key --agent-key-out /etc/holdfast/key", "01258", 0, run_init },
	{ "keys list", "list who can open the repository", "", 0, 0, NULL, "Lists the holders of keys, and what each may do.",
	  "holdfast keys list", "01235", COMMAND_ASKS | COMMAND_OPENS, run_keys_list },
	{ "keys add", "let another key or passphrase open the repository", "NAME", 1, 1, keys_add_options,
	  "Wraps the repository's secrets for one more holder, who is called NAME from now on, whatever its key file says, and prints two lines "
	  "that belong into that key file. Takes a key that can read.",
	  "holdfast keys add verifier --public-key 8f1e...\nholdfast keys add web1 --public-key 03ab... --agent-only\n"
	  "holdfast keys add offline --new-passphrase-file /root/passphrase", "012358", COMMAND_OPENS, run_keys_add },
	{ "keys identity", "make a key pair for a new holder", "NAME", 1, 1, keys_identity_options,
	  "Writes a private key to a file that must not exist and prints its public half, which `keys add` on another machine takes. The private "
	  "key never leaves this machine. NAME stands in the file; the holder's name is the one that `keys add` is given.",
	  "holdfast keys identity verifier --key-out /etc/holdfast/key", "0128", 0, run_keys_identity },
	{ "keys rotate", "seal what comes from now on to a new vault key", "", 0, 0, NULL,
	  "Opens a new epoch: later backups are sealed to a new key pair. Nothing that is stored is rewritten or lost. Prints every holder that gets "
	  "the new key: look at them. Takes a key that can read.",
	  "holdfast keys rotate", "012358", COMMAND_OPENS, run_keys_rotate },
	{ "keys remove", "take the repository away from a holder", "HOLDER", 1, 1, keys_remove_options,
	  "Removes a holder's wrapped secrets. HOLDER is a name, an id, or a unique beginning of one (4 characters at least), or what "
	  "`keys list` calls foreign (keys/ID). Who copied the "
	  "secrets before can still open what was written until the next `keys rotate`, which should follow.",
	  "holdfast keys remove nightly\nholdfast keys remove 5c0d9a21", "012358", COMMAND_OPENS, run_keys_remove },
	{ "backup", "take a backup", "", 0, 0, backup_options,
	  "Dumps the configured databases under one snapshot each, stores what is not stored yet, and commits. It is a backup when this command "
	  "ends with 0 or 3; when it does not, there is no trace in `list`, unless what failed is the hold or the look after the commit, and then the "
	  "error names the backup.",
	  "holdfast backup\nholdfast backup --database langfuse --label \"before 3.120\" --hold", "01235678", COMMAND_OPENS, run_backup },
	{ "list", "list backups", "", 0, 0, list_options, "Lists backups, newest first.", "holdfast list\nholdfast list --json", "01235", COMMAND_ASKS | COMMAND_OPENS, run_list },
	{ "show", "show what is in a backup", "BACKUP", 1, 1, show_options,
	  "Shows the streams and tables of a backup. BACKUP is an id, a unique beginning of one (4 characters at least), or latest.",
	  "holdfast show latest\nholdfast show latest --compare-with 3f9c", "01235", COMMAND_ASKS | COMMAND_OPENS, run_show },
	{ "hold", "keep a backup for ever, or no longer", "BACKUP", 1, 1, hold_options,
	  "A backup on hold does not expire, whatever the policy says.", "holdfast hold 3f9c\nholdfast hold --release 3f9c", "01257", COMMAND_OPENS, run_hold },
	{ "restore", "restore a backup into a new database", "BACKUP", 1, 1, restore_options,
	  "Restores into a database that it makes, or into an empty one: never over one that has something in it. The server is the configured "
	  "source, and then --system-id must name its system identifier; or the one that --host names, to which nothing of the source's "
	  "connection settings applies.",
	  "holdfast restore latest --into langfuse_restored --system-id 7301233499123456789\n"
	  "holdfast restore 3f9c --host /var/run/postgresql --user postgres --table public.traces", "012345678", COMMAND_OPENS, run_restore },
	{ "cat", "write one stream of a backup to stdout", "BACKUP STREAM", 2, 2, NULL,
	  "Writes a stream as it was dumped, so that pg_restore alone can go on from there. `show` lists the streams. When the exit code is not "
	  "0, what was written is not to be used.",
	  "holdfast cat latest langfuse/public.traces > traces.dump\nholdfast cat latest globals", "01258", COMMAND_ASKS | COMMAND_OPENS, run_cat },
	{ "drill", "prove a backup: restore it, dump it again, compare", "[BACKUP]", 0, 1, NULL,
	  "Restores the backup (latest) into a throw-away cluster, runs the checks, dumps it again and compares every table with what was in "
	  "the snapshot. The signed result is stored in the repository; `report` prints it.",
	  "holdfast drill\nholdfast drill 3f9c --json", "012345678", COMMAND_OPENS, run_drill },
	{ "verify", "check that what is stored is all there and intact", "", 0, 0, verify_options,
	  "Checks that every backup's chunks are in the index and every pack in the store. With --data every byte is read.",
	  "holdfast verify\nholdfast verify --data", "0123457", COMMAND_OPENS, run_verify },
	{ "check", "look for what would make a backup or a drill fail", "", 0, 0, check_options,
	  "Tries the configuration: store, keys, servers, programs, disk space. Each problem comes with what to do. --effective prints the "
	  "configuration in force instead, and connects to nothing.",
	  "holdfast check\nholdfast check --effective", "012356", COMMAND_ASKS | COMMAND_OPENS, run_check },
	{ "expire", "delete what the policy no longer keeps", "", 0, 0, expire_options,
	  "Deletes backups by the policy in keep, and stored data that no backup has needed for keep.grace. It never goes below keep.min_proven, "
	  "and does nothing while a newer backup is suspect.",
	  "holdfast expire --plan\nholdfast expire", "0123578", COMMAND_OPENS, run_expire },
	{ "report", "print the report of a drill", "[BACKUP]", 0, 1, report_options,
	  "Prints the newest stored drill report (latest), or the newest of one backup, with the history before it. Here latest is the newest "
	  "report, whichever backup it is of: the newest backup may not have been drilled yet.",
	  "holdfast report\nholdfast report 3f9c\nholdfast report --format html --output drill.html", "012345", COMMAND_ASKS | COMMAND_OPENS, run_report },
	{ "completion bash", "print a completion script for bash", "", 0, 0, NULL, "Prints a script that completes commands, options and their words.",
	  "source <(holdfast completion bash)\nholdfast completion bash > /etc/bash_completion.d/holdfast", "012", COMMAND_BARE | COMMAND_ASKS, run_completion_bash },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, 0, NULL },
};
