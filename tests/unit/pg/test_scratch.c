#include "cluster.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/stop.h"
#include "pg/scratch.h"

static char base[] = "/tmp/hf-scratch-XXXXXX";

static struct scratch_options
plain_options(void)
{
	struct tools t = TOOLS_INIT;
	struct err e = ERR_INIT;
	struct scratch_options o = { .dir = base, .user = "postgres", .jobs = 2, .need_bytes = 1 };

	assert_good(tools_find(&t, TOOLS_SERVER, NULL, 0, &e), &e);
	o.major = t.major;
	tools_free(&t);
	return o;
}

static struct scratch *
start(const struct scratch_options *o)
{
	struct err e = ERR_INIT;
	struct scratch *s = scratch_start(o, &e);

	if (s == NULL)
		fail_msg("%s", e.msg);
	return s;
}

static int
folders(void)
{
	DIR *d = opendir(base);
	struct dirent *entry;
	int n = 0;

	while ((entry = readdir(d)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static char *
value_of(const struct pg_target *target, const char *db, const char *sql)
{
	struct err e = ERR_INIT;
	struct conn *c = conn_open(target, db, &e);
	char *value = NULL;

	if (c == NULL || conn_value(&value, c, sql, NULL, &e))
		fail_msg("%s: %s", sql, e.msg);
	conn_close(c);
	return value;
}

static void
a_scratch_cluster_serves_and_leaves_no_trace(void **state)
{
	struct scratch_options o = plain_options();
	struct scratch *s = start(&o);
	json_t *described = scratch_describe(s);
	char *value = value_of(scratch_target(s), NULL, "SELECT current_setting('listen_addresses') || current_setting('fsync')");

	(void)state;
	assert_string_equal(value, "off");
	assert_string_equal(json_opt_str(described, "kind", ""), "throw-away cluster");
	assert_true(json_array_size(json_object_get(described, "cage")) >= 5);
	assert_int_equal(folders(), 1);
	assert_string_equal(scratch_database(s, "langfuse"), "langfuse");
	assert_string_not_equal(scratch_database(s, "postgres"), "postgres");
	assert_string_equal(scratch_database(s, "postgres"), scratch_database(s, "postgres"));
	json_decref(described);
	free(value);
	scratch_free(s);
	assert_int_equal(folders(), 0);
}

/* R10: too few connections would end the drill, and not because of the backup. */
static void
a_scratch_cluster_has_connections_for_all_jobs(void **state)
{
	struct scratch_options o = plain_options();
	struct conn *all[2 * 64];
	struct err e = ERR_INIT;
	struct scratch *s;

	(void)state;
	o.jobs = 64;
	s = start(&o);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if ((all[i] = conn_open(scratch_target(s), NULL, &e)) == NULL)
			fail_msg("connection %zu: %s", i + 1, e.msg);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		conn_close(all[i]);
	scratch_free(s);
}

static void
what_cannot_be_had_here_is_no_fault_of_the_backup(void **state)
{
	struct scratch_options o = plain_options();
	struct err e = ERR_INIT;

	(void)state;
	o.preload = "no_such_library_here";
	assert_null(scratch_start(&o, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "no_such_library_here"));
	o.preload = NULL;
	o.major += 40;
	assert_null(scratch_start(&o, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	o.major -= 40;
	o.need_bytes = UINT64_C(1) << 60;
	assert_null(scratch_start(&o, &e));
	assert_int_equal(e.kind, ERR_SPACE);
	assert_int_equal(folders(), 0);
}

/* Nor is it what the operator wrote: that is no verdict at all. */
static void
a_folder_that_is_not_there_is_the_configurations_mistake(void **state)
{
	struct scratch_options o = plain_options();
	struct err e = ERR_INIT;
	const struct pg_target nobody = { .host = "/nowhere" };

	(void)state;
	o.dir = "/nowhere/at/all";
	assert_null(scratch_start(&o, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	assert_non_null(strstr(e.msg, "/nowhere/at/all"));
	assert_null(scratch_reach(&nobody, &o, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	o.dir = "/dev/null";
	assert_null(scratch_start(&o, &e));
	assert_int_equal(e.kind, ERR_USAGE);
}

/* R33: unverifiable is not failed. */
static void
an_extension_that_is_not_installed_is_named(void **state)
{
	struct scratch_options o = plain_options();
	struct scratch *s = start(&o);
	struct err e = ERR_INIT;
	json_t *list = json_array(), *x = json_object();
	char *version = value_of(scratch_target(s), NULL, "SELECT default_version FROM pg_available_extensions WHERE name = 'plpgsql'");

	(void)state;
	json_put_str(x, "name", "plpgsql");
	json_put_str(x, "version", version);
	json_add(list, x);
	assert_good(scratch_preflight(s, list, &e), &e);
	x = json_object();
	json_put_str(x, "name", "holdfast_none");
	json_put_str(x, "version", "0.7.0");
	json_add(list, x);
	assert_int_equal(scratch_preflight(s, list, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(e.msg, "\"holdfast_none\" 0.7.0"));
	json_decref(list);
	free(version);
	scratch_free(s);
}

static void
what_a_killed_run_left_is_swept_by_the_next(void **state)
{
	struct scratch_options o = plain_options();
	struct err e = ERR_INIT;
	struct conn *c = NULL;
	struct scratch *s;
	char socket[512] = "";
	int ready[2];
	pid_t runner;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	runner = fork();
	if (runner == 0) {
		s = scratch_start(&o, &e);
		if (s == NULL || write(ready[1], scratch_target(s)->host, strlen(scratch_target(s)->host)) <= 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_true(read(ready[0], socket, sizeof(socket) - 1) > 0);
	close(ready[0]);
	/* It is in use: another run must leave it alone. */
	assert_int_equal(scratch_sweep(base, &e), 0);
	assert_int_equal(folders(), 1);

	kill(runner, SIGKILL);
	waitpid(runner, NULL, 0);
	o = (struct scratch_options){ .dir = base };
	struct pg_target gone = { .host = socket, .port = "5432", .user = "postgres" };
	for (int i = 0; i < 100 && (c = conn_open(&gone, NULL, &e)) != NULL; i++) {
		conn_close(c);
		usleep(50000);
	}
	assert_null(c);
	assert_int_equal(folders(), 1);
	err_clear(&e);
	assert_int_equal(scratch_sweep(base, &e), 1);
	assert_int_equal(folders(), 0);
}

static void
a_run_that_is_asked_to_stop_cleans_up(void **state)
{
	struct scratch_options o = plain_options();
	struct err e = ERR_INIT;
	int ready[2], status;
	pid_t runner;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	runner = fork();
	if (runner == 0) {
		struct scratch *s;
		struct conn *c;

		stop_install();
		s = scratch_start(&o, &e);
		c = s != NULL ? conn_open(scratch_target(s), NULL, &e) : NULL;
		if (c == NULL || write(ready[1], "r", 1) != 1)
			_exit(1);
		status = conn_exec(c, "SELECT pg_sleep(120)", &e) == -1 && e.kind == ERR_STOPPED ? 0 : 2;
		conn_close(c);
		scratch_free(s);
		_exit(status);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	kill(runner, SIGTERM);
	waitpid(runner, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(folders(), 0);
}

/* R48: what a dump's functions can do, tried as the superuser of the scratch cluster. */
static void
code_in_the_scratch_cluster_gets_nowhere(void **state)
{
	struct scratch_options o = plain_options();
	struct scratch *s = start(&o);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(in);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct conn *c;
	struct err e = ERR_INIT;
	char *sql, *value;

	(void)state;
	assert_int_equal(bind(tcp, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(tcp, 5), 0);
	getsockname(tcp, (struct sockaddr *)&in, &bytes);
	setenv("HOLDFAST_CANARY", "canary", 1);
	c = conn_open(scratch_target(s), NULL, &e);
	assert_non_null(c);
	assert_good(conn_exec(c, "CREATE TABLE public.seen(line text); COPY public.seen FROM PROGRAM 'id -u; env'", &e), &e);
	assert_int_equal(conn_exec(c, "COPY public.seen FROM '/etc/shadow'", &e), -1);
	assert_int_equal(conn_exec(c, "COPY public.seen FROM PROGRAM 'cat /var/lib/dpkg/status'", &e), -1);
	assert_int_equal(conn_exec(c, "COPY public.seen TO '/tmp/../usr/hostile'", &e), -1);
	assert_int_equal(conn_exec(c, "COPY public.seen FROM PROGRAM 'echo x > /usr/bin/hostile'", &e), -1);
	sql = mem_printf("COPY public.seen FROM PROGRAM 'bash -c \"exec 3<>/dev/tcp/127.0.0.1/%u\"'", ntohs(in.sin_port));
	assert_int_equal(conn_exec(c, sql, &e), -1);
	free(sql);
	sql = mem_printf("COPY public.seen FROM PROGRAM 'kill -0 %d'", getpid());
	assert_int_equal(conn_exec(c, sql, &e), -1);
	free(sql);
	conn_close(c);
	value = value_of(scratch_target(s), NULL, "SELECT count(*) FROM public.seen WHERE line ~ 'canary|^0$|root:'");
	assert_string_equal(value, "0");
	free(value);
	/* The same command lines do work where they are allowed to: the refusals above are the cage's. */
	value = value_of(scratch_target(s), NULL, "SELECT count(*) > 3 FROM public.seen");
	assert_string_equal(value, "t");
	free(value);
	unsetenv("HOLDFAST_CANARY");
	close(tcp);
	scratch_free(s);
}

/* R3, R48: connect() follows links, and that of the server's socket lies where the server's user writes. */
static void
a_socket_that_the_dump_exchanged_leads_nobody_to_another_server(void **state)
{
	static struct cluster production;
	struct scratch_options o = plain_options();
	struct scratch *s = start(&o);
	struct err e = ERR_INIT;
	struct conn *c = conn_open(scratch_target(s), NULL, &e);
	char *before = value_of(scratch_target(s), NULL, "SELECT system_identifier FROM pg_control_system()"), *after, *sql, *link;
	struct stat st;

	(void)state;
	cluster_start(&production, NULL);
	assert_int_equal(chmod(production.dir, 0755), 0);
	assert_non_null(c);
	sql = mem_printf("COPY (SELECT 1) TO PROGRAM 'cd %s && mv .s.PGSQL.5432 .s.real && ln -s %s/.s.PGSQL.5432 .s.PGSQL.5432'",
	    cage_folder_inside(scratch_cage(s)), production.dir);
	assert_good(conn_exec(c, sql, &e), &e);
	conn_close(c);
	/* The exchange took place, and led to a server that lets us in. */
	link = mem_printf("%s/.s.PGSQL.5432", cage_folder(scratch_cage(s)));
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	after = value_of(&production.target, NULL, "SELECT system_identifier FROM pg_control_system()");
	assert_string_not_equal(before, after);
	free(after);
	after = value_of(scratch_target(s), NULL, "SELECT system_identifier FROM pg_control_system()");
	assert_string_equal(before, after);
	free(before);
	free(after);
	free(sql);
	free(link);
	scratch_free(s);
	cluster_stop(&production);
	assert_int_equal(folders(), 0);
}

/* From here on this process is one that the host allows no namespaces, and of that user. */
static bool
without_namespaces(uid_t uid, gid_t gid)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = 4, .filter = code };

	if (geteuid() != uid && (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0))
		return false;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

/* The kind of error that a start ends with, in a process without namespaces. */
static int
start_without_namespaces(const struct scratch_options *o, uid_t uid, gid_t gid)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err e = ERR_INIT;
		struct scratch *s = NULL;

		if (!without_namespaces(uid, gid))
			_exit(99);
		s = scratch_start(o, &e);
		if (s == NULL)
			print_message("%s / %s\n", e.msg, e.hint);
		scratch_free(s);
		_exit((int)e.kind);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* R48: there the dump's code would be whoever owns production's files, and its superuser by `peer`. */
static void
where_only_the_user_holds_code_back_it_is_not_that_of_a_server(void **state)
{
	static struct cluster server;
	struct scratch_options o = plain_options();
	struct err e = ERR_INIT;
	char *own = mem_printf("%s/own", base);

	(void)state;
	cluster_start(&server, NULL);
	assert_int_equal(mkdir(own, 0711), 0);
	assert_int_equal(chown(own, server.uid != 0 ? server.uid : geteuid(), (gid_t)-1), 0);
	o.dir = own;
	o.source = &server.target;
	o.user = NULL;
	assert_int_equal(start_without_namespaces(&o, server.uid != 0 ? server.uid : geteuid(), server.gid), ERR_REFUSED);
	/* Whoever names that user in the configuration takes it. */
	o.user = "postgres";
	assert_int_equal(start_without_namespaces(&o, server.uid != 0 ? server.uid : geteuid(), server.gid), ERR_NONE);
	/* As root it becomes nobody, who is none. */
	if (geteuid() == 0) {
		o.dir = base;
		o.user = NULL;
		assert_int_equal(start_without_namespaces(&o, 0, 0), ERR_NONE);
	}
	cluster_stop(&server);
	assert_int_equal(file_remove_tree(own, &e), 0);
	free(own);
	assert_int_equal(folders(), 0);
}

/* R3, R48. */
static void
a_named_server_must_not_be_the_source(void **state)
{
	static struct cluster server;
	struct scratch_options o = plain_options();
	struct err e = ERR_INIT;
	struct scratch *s;
	char *id, *sql, *left;

	(void)state;
	cluster_start(&server, NULL);
	id = value_of(&server.target, NULL, "SELECT system_identifier FROM pg_control_system()");
	assert_null(scratch_attach(&server.target, id, &o, &e));
	assert_int_equal(e.kind, ERR_REFUSED);
	s = scratch_attach(&server.target, "42", &o, &e);
	if (s == NULL)
		fail_msg("%s", e.msg);
	sql = mem_printf("CREATE DATABASE %s", scratch_database(s, "app"));
	cluster_sql(&server, "postgres", sql);
	scratch_free(s);
	left = value_of(&server.target, NULL, "SELECT count(*) FROM pg_database WHERE datname LIKE 'holdfast%'");
	assert_string_equal(left, "0");
	free(left);
	free(sql);
	free(id);
	cluster_stop(&server);
	assert_int_equal(folders(), 0);
}

static int
make_base(void **state)
{
	(void)state;
	return mkdtemp(base) == NULL || chmod(base, 0755) != 0;
}

static int
remove_base(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return file_remove_tree(base, &e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scratch_cluster_serves_and_leaves_no_trace),
		cmocka_unit_test(a_scratch_cluster_has_connections_for_all_jobs),
		cmocka_unit_test(what_cannot_be_had_here_is_no_fault_of_the_backup),
		cmocka_unit_test(a_folder_that_is_not_there_is_the_configurations_mistake),
		cmocka_unit_test(an_extension_that_is_not_installed_is_named),
		cmocka_unit_test(what_a_killed_run_left_is_swept_by_the_next),
		cmocka_unit_test(a_run_that_is_asked_to_stop_cleans_up),
		cmocka_unit_test(code_in_the_scratch_cluster_gets_nowhere),
		cmocka_unit_test(a_socket_that_the_dump_exchanged_leads_nobody_to_another_server),
		cmocka_unit_test(where_only_the_user_holds_code_back_it_is_not_that_of_a_server),
		cmocka_unit_test(a_named_server_must_not_be_the_source),
	};

	return cmocka_run_group_tests(tests, make_base, remove_base);
}
