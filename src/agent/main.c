#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/run.h"
#include "agent/text.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "base/width.h"
#include "pg/conn.h"

/*
 * Keeps to itself what it will know: no core dump, no ptrace by other processes of the same user, no file that others can
 * read.  A descriptor 0 to 2 that is closed would be given to the next file that is opened, and a message would be written
 * into the repository; for stdout one is put there that cannot be written to, so that output which is lost is an error.
 */
static void
harden(void)
{
	const struct rlimit none = { 0, 0 };

	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(1);
	umask(077);
	setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__
	/* The leak checker of a sanitized build attaches by ptrace. */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	/* A pack's memory goes back when the pack is stored.  glibc moves this bound up otherwise, and keeps tens of MiB of holes. */
	mallopt(M_MMAP_THRESHOLD, 8 << 20);
	stop_install();
	conn_forget_environment();
}

static void
add_error(json_t *outcome, const struct err *e, const struct conf *conf)
{
	json_t *error = json_object(), *more;

	json_put_str(error, "kind", err_kind_name(e->kind));
	json_put_str(error, "message", e->msg);
	json_put_str(error, "hint", e->hint[0] != '\0' ? e->hint : NULL);
	if (conf != NULL && conf_problem(conf, 1) != NULL) {
		more = json_array();
		for (size_t i = 1; conf_problem(conf, i) != NULL; i++)
			json_add(more, json_str(conf_problem(conf, i)->msg));
		json_put(error, "more", more);
	}
	json_put(outcome, "error", error);
}

/* The outcome on stdout, as JSON or text. */
static int
print_outcome(const struct run *r, const json_t *outcome, bool failed, struct err *e)
{
	struct grid_look look = {
		.colour = isatty(STDOUT_FILENO) && (getenv("NO_COLOR") == NULL || getenv("NO_COLOR")[0] == '\0') &&
			(getenv("TERM") == NULL || strcmp(getenv("TERM"), "dumb") != 0),
		.columns = width_terminal(STDOUT_FILENO, 0),
	};
	char *text, *line;
	int rc;

	if (r->args->json) {
		text = json_text(outcome, JSON_INDENT(2));
		line = mem_printf("%s\n", text);
		free(text);
	} else {
		line = text_render(r->command->name, outcome, failed, &look);
	}
	rc = run_print(line, e);
	free(line);
	return rc;
}

/* Logs the first `count` warnings of the outcome: the others were logged when they came up. */
static void
say_warnings(const json_t *outcome, size_t count)
{
	json_t *w;
	size_t i;

	json_array_foreach(json_object_get(outcome, "warnings"), i, w)
		if (i < count && json_is_string(w))
			log_warning("%s", json_string_value(w));
}

/* Prints what there is to print, then says how it went, so that the last lines are what is to be read; gives the exit code. */
static int
conclude(struct run *r, json_t *outcome, struct err *e)
{
	struct err output = ERR_INIT;
	bool failed = e->kind != ERR_NONE, json = r->args->json;
	json_t *logged = log_take_warnings();
	size_t own = json_array_size(json_object_get(outcome, "warnings")), warnings = own + json_array_size(logged);

	if (failed && json && outcome == NULL) {
		outcome = json_object();
		json_put_str(outcome, "command", r->command != NULL ? r->command->name : NULL);
		json_put(outcome, "warnings", json_array());
	}
	if (failed && outcome != NULL)
		add_error(outcome, e, r->conf);
	/* A retry for a lock, a cache that cannot be written: what was said on the way is a warning of this run (exit code 3). */
	json_array_extend(json_object_get(outcome, "warnings"), logged);
	json_decref(logged);
	if (outcome != NULL && !r->printed && (json || !r->args->quiet || (r->command->traits & COMMAND_ASKS) != 0) && print_outcome(r, outcome, failed, &output) != 0)
		err_hint(&output, failed ? "" : "The command itself was done; only its outcome could not be written.");
	/* A network file system may tell of a full disk only now. */
	if (output.kind == ERR_NONE && close(STDOUT_FILENO) != 0 && errno != EBADF)
		err_sys(&output, "close standard output");
	say_warnings(outcome, own);
	if (failed)
		log_err(LOG_ERROR, e);
	for (size_t i = 1; failed && r->conf != NULL && conf_problem(r->conf, i) != NULL; i++)
		log_err(LOG_ERROR, conf_problem(r->conf, i));
	if (output.kind != ERR_NONE)
		log_err(LOG_ERROR, &output);
	json_decref(outcome);
	return failed ? err_exit_code(e) : output.kind != ERR_NONE ? 1 : warnings > 0 ? 3 : 0;
}

static int
print_help(const struct run *r, const char *group, struct err *e)
{
	char *text = r->args->version ? mem_strdup("holdfast " HOLDFAST_VERSION "\n") : args_help(r->command, group);
	int rc = run_print(text, e);

	free(text);
	return rc;
}

static int
run_command(struct run *r, json_t **outcome, struct err *e)
{
	bool bare = (r->command->traits & COMMAND_BARE) != 0;
	struct conf *conf = NULL;
	int rc = -1;

	log_set_json(r->args->log_format != NULL && strcmp(r->args->log_format, "json") == 0);
	log_set_level(r->args->verbose ? LOG_DEBUG : r->args->quiet ? LOG_WARNING : LOG_INFO);
	if (!bare) {
		rc = conf_load(&conf, r->args->config, environ, e);
		r->conf = conf;
		if (rc != 0)
			return -1;
		conf_open_with(conf, r->args->key_file, r->args->passphrase_file);
		r->ops.settings = conf_settings(conf);
	}
	r->ops.progress = progress_new(r->args->quiet || r->args->no_progress || bare);
	rc = r->command->run(r, outcome, e);
	progress_free(r->ops.progress);
	return rc;
}

int
main(int argc, char **argv)
{
	struct args args = { 0 };
	struct run r = { .args = &args };
	struct err e = ERR_INIT;
	json_t *outcome = NULL;
	const char *group;
	int code;

	harden();
	if (args_parse(&args, &r.command, &group, argc, argv, &e)) {
		/* What could not be read may hold it. */
		for (int i = 1; i < argc; i++)
			args.json = args.json || strcmp(argv[i], "--json") == 0;
	} else if (args.help || args.version) {
		if (print_help(&r, group, &e) == 0)
			args.json = false;
	} else if (run_command(&r, &outcome, &e) != 0 && e.kind == ERR_NONE) {
		err_set(&e, ERR_FAILED, "%s failed, and did not say why", r.command->name);
	}
	code = conclude(&r, outcome, &e);
	conf_free(r.conf);
	args_free(&args);
	return code;
}
