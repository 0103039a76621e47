#include "agent/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "report/render.h"

int
run_print(const char *text, struct err *e)
{
	return file_write_all(STDOUT_FILENO, text, strlen(text), "standard output", e);
}

int
run_init(struct run *r, json_t **outcome, struct err *e)
{
	struct init_request *q = &r->args->init;

	if (q->holder == NULL)
		q->holder = "recovery";
	if (q->key_out == NULL)
		q->key_out = r->ops.settings->key_file;
	if (q->key_out == NULL) {
		err_set(e, ERR_USAGE, "init needs the option \"--key-out FILE\"");
		return err_hint(e, "The configuration names a passphrase and no key_file that could be the default.");
	}
	if (q->agent_key_out != NULL && strcmp(q->agent_key_out, q->key_out) == 0) {
		err_set(e, ERR_USAGE, "--agent-key-out and the recovery key would both be \"%s\"", q->key_out);
		return err_hint(e, "Name another place for the recovery key with --key-out.");
	}
	return ops_init(&r->ops, q, outcome, e);
}

int
run_keys_list(struct run *r, json_t **outcome, struct err *e)
{
	r->args->keys.what = KEYS_LIST;
	return ops_keys(&r->ops, &r->args->keys, outcome, e);
}

int
run_keys_add(struct run *r, json_t **outcome, struct err *e)
{
	struct keys_request *q = &r->args->keys;

	if ((q->public_key == NULL) == (q->passphrase_file == NULL))
		return err_set(e, ERR_USAGE, "keys add needs one of \"--public-key HEX\" and \"--new-passphrase-file FILE\"");
	q->what = KEYS_ADD;
	q->holder = r->args->operands[0];
	return ops_keys(&r->ops, q, outcome, e);
}

int
run_keys_identity(struct run *r, json_t **outcome, struct err *e)
{
	r->args->keys.what = KEYS_IDENTITY;
	r->args->keys.holder = r->args->operands[0];
	return ops_keys(&r->ops, &r->args->keys, outcome, e);
}

int
run_keys_rotate(struct run *r, json_t **outcome, struct err *e)
{
	r->args->keys.what = KEYS_ROTATE;
	return ops_keys(&r->ops, &r->args->keys, outcome, e);
}

int
run_keys_remove(struct run *r, json_t **outcome, struct err *e)
{
	r->args->keys.what = KEYS_REMOVE;
	r->args->keys.holder = r->args->operands[0];
	return ops_keys(&r->ops, &r->args->keys, outcome, e);
}

int
run_backup(struct run *r, json_t **outcome, struct err *e)
{
	r->args->backup.databases = r->args->databases.items;
	return ops_backup(&r->ops, &r->args->backup, outcome, e);
}

int
run_list(struct run *r, json_t **outcome, struct err *e)
{
	return ops_list(&r->ops, r->args->database, outcome, e);
}

int
run_show(struct run *r, json_t **outcome, struct err *e)
{
	return ops_show(&r->ops, r->args->operands[0], r->args->compare_with, outcome, e);
}

int
run_hold(struct run *r, json_t **outcome, struct err *e)
{
	return ops_hold(&r->ops, r->args->operands[0], !r->args->release, outcome, e);
}

/* The server that --host names shares nothing with the source but how long to wait: a password that belongs to one server is
 * not shown to another. */
static int
choose_target(struct run *r, struct restore_request *q, struct err *e)
{
	const struct settings *s = r->ops.settings;
	struct pg_target *t = &q->target;

	if (t->host == NULL) {
		if (t->port != NULL || t->user != NULL || t->password_file != NULL || t->passfile != NULL || t->sslmode != NULL || t->sslrootcert != NULL)
			return err_set(e, ERR_USAGE, "the options of a connection go together with \"--host HOST\"");
		*t = s->source;
		return 0;
	}
	if (t->port == NULL)
		t->port = "5432";
	t->maintenance_db = "postgres";
	t->connect_timeout_ms = s->source.connect_timeout_ms;
	t->bin_dir = s->source.bin_dir;
	return 0;
}

int
run_restore(struct run *r, json_t **outcome, struct err *e)
{
	struct restore_request *q = &r->args->restore;

	q->backup = r->args->operands[0];
	q->tables = r->args->tables.items;
	q->schemas = r->args->schemas.items;
	if (q->existing && q->into == NULL)
		return err_set(e, ERR_USAGE, "--existing goes together with \"--into NAME\"");
	if (q->jobs == 0)
		q->jobs = r->ops.settings->drill.jobs;
	if (choose_target(r, q, e))
		return -1;
	return ops_restore(&r->ops, q, outcome, e);
}

/* A stage that lets only text through: an archive on a terminal does harm and helps nobody. */
struct text_only {
	struct sink sink;
};

static int
text_only_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < bytes; i++)
		if ((p[i] < 0x20 && p[i] != '\n' && p[i] != '\t' && p[i] != '\r') || p[i] == 0x7f) {
			err_set(e, ERR_REFUSED, "the stream is binary and standard output is a terminal");
			return err_hint(e, "Redirect it to a file or into a program: holdfast cat ... > file");
		}
	return sink_write(s->next, data, bytes, e);
}

static int
text_only_finish(struct sink *s, struct err *e)
{
	return sink_finish(s->next, e);
}

static void
text_only_free(struct sink *s)
{
	free(s);
}

static struct sink *
text_only_new(struct sink *next)
{
	static const struct sink_ops ops = { text_only_write, text_only_finish, text_only_free };
	struct text_only *t = mem_zero(1, sizeof(*t));

	t->sink.ops = &ops;
	t->sink.next = next;
	return &t->sink;
}

int
run_cat(struct run *r, json_t **outcome, struct err *e)
{
	struct sink *out;
	int rc;

	*outcome = NULL;
	if (r->args->json)
		return err_set(e, ERR_USAGE, "cat writes the stream itself to standard output: --json has no place there");
	out = sink_fd_new(STDOUT_FILENO, "standard output");
	if (isatty(STDOUT_FILENO))
		out = text_only_new(out);
	rc = ops_cat(&r->ops, r->args->operands[0], r->args->operands[1], out, e);
	if (rc != 0 && e->sys == EPIPE)
		err_hint(e, "The reader of the pipe has ended before it had everything; the backup is not at fault.");
	sink_free(out);
	return rc;
}

int
run_drill(struct run *r, json_t **outcome, struct err *e)
{
	return ops_drill(&r->ops, r->args->operand_count > 0 ? r->args->operands[0] : "latest", outcome, e);
}

int
run_verify(struct run *r, json_t **outcome, struct err *e)
{
	return ops_verify(&r->ops, &r->args->verify, outcome, e);
}

int
run_check(struct run *r, json_t **outcome, struct err *e)
{
	if (!r->args->effective)
		return ops_check(&r->ops, outcome, e);
	*outcome = json_object();
	json_put_str(*outcome, "command", "check");
	json_put(*outcome, "warnings", json_array());
	json_put(*outcome, "effective", conf_effective(r->conf));
	return 0;
}

int
run_expire(struct run *r, json_t **outcome, struct err *e)
{
	return ops_expire(&r->ops, r->args->plan, outcome, e);
}

int
run_report(struct run *r, json_t **outcome, struct err *e)
{
	const struct args *a = r->args;
	const char *format = a->format != NULL ? a->format : a->json ? "json" : "text";
	char *text = NULL;
	int rc;

	if (a->json && strcmp(format, "json") != 0)
		return err_set(e, ERR_USAGE, "--json and --format %s contradict each other", format);
	if (ops_report(&r->ops, a->operand_count > 0 ? a->operands[0] : NULL, outcome, e))
		return -1;
	/* On stdout, text and JSON go the way of every other outcome. */
	if (a->output == NULL && (strcmp(format, "json") == 0 || strcmp(format, "text") == 0)) {
		r->args->json = strcmp(format, "json") == 0;
		return 0;
	}
	text = strcmp(format, "md") == 0 ? report_markdown(*outcome) : strcmp(format, "html") == 0 ? report_html(*outcome) :
	       strcmp(format, "text") == 0 ? report_text(*outcome, false, 100) : json_text(*outcome, JSON_INDENT(2));
	rc = a->output == NULL ? run_print(text, e) : file_write_replace(a->output, text, strlen(text), 0600, e);
	free(text);
	r->printed = true;
	return rc == 0 || a->output == NULL ? rc : err_wrap(e, "report to \"%s\"", a->output);
}

int
run_completion_bash(struct run *r, json_t **outcome, struct err *e)
{
	char *text = args_completion_bash();
	int rc = run_print(text, e);

	(void)r;
	*outcome = NULL;
	free(text);
	return rc;
}
