/*
 * The cage, tried from inside: this program starts itself in it, with the name of one thing to attempt, and ends with the errno
 * of that attempt.  What must be refused inside is shown to work outside first, so that no test passes for another reason.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/child.h"
#include "base/file.h"
#include "base/mem.h"
#include "pg/cage.h"

/* ---- inside ---- */

static int
attempt_open(const char *path, int flags)
{
	return open(path, flags, 0600) >= 0 ? 0 : errno;
}

static int
attempt_connect(const char *what, const char *where)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t bytes = sizeof(un);
	int fd;

	if (strcmp(what, "tcp") == 0) {
		in.sin_port = htons((uint16_t)atoi(where));
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		return connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 ? 0 : errno;
	}
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (strcmp(what, "abstract") == 0) {
		memcpy(un.sun_path + 1, where, strlen(where));
		bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(where));
	} else {
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", where);
	}
	return connect(fd, (struct sockaddr *)&un, bytes) == 0 ? 0 : errno;
}

/* 0 when there is a socket of this family to be had, of whatever type. */
static int
attempt_socket(int family)
{
	for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type++)
		if (socket(family, type, 0) >= 0)
			return 0;
	return errno;
}

/* 0 when this process has a right that it must not have. */
static int
attempt_rights(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	gid_t groups[64];
	int bad = 0, n = getgroups(64, groups);

	if (f == NULL)
		return errno;
	/* Without root one cannot leave a group; but none of others is there. */
	for (int i = 0; i < n; i++)
		bad += groups[i] != getegid();
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "Cap", 3) == 0 && strncmp(line, "CapBnd", 6) != 0 && strstr(line, "0000000000000000") == NULL)
			bad++;
		if (strncmp(line, "NoNewPrivs:", 11) == 0 && strchr(line, '1') == NULL)
			bad++;
	}
	fclose(f);
	return bad > 0 || geteuid() == 0 || getuid() == 0 || n < 0 ? 0 : EPERM;
}

static int
count_processes(void)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;
	int n = 0;

	while (d != NULL && (entry = readdir(d)) != NULL)
		n += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	return n;
}

/* A process in rooms of its own, as the first argument says. */
static int
attempt_clone(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return errno;
	return waitpid((pid_t)pid, NULL, 0) == pid ? 0 : errno;
}

static int
attempt_clone3(void)
{
	struct clone_args how = { .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &how, sizeof(how));

	if (pid == 0)
		_exit(0);
	return pid < 0 ? errno : 0;
}

static void *
nothing(void *arg)
{
	return arg;
}

static int
attempt_thread(void)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, nothing, NULL);

	return rc != 0 ? rc : pthread_join(thread, NULL);
}

static int
inside(char **argv)
{
	const char *what = argv[1], *arg = argv[2];

	if (strcmp(what, "read") == 0)
		return attempt_open(arg, O_RDONLY);
	if (strcmp(what, "write") == 0)
		return attempt_open(arg, O_WRONLY | O_CREAT);
	if (strcmp(what, "tcp") == 0 || strcmp(what, "unix") == 0 || strcmp(what, "abstract") == 0)
		return attempt_connect(what, arg);
	if (strcmp(what, "kill") == 0)
		return kill(atoi(arg), 0) == 0 ? 0 : errno;
	if (strcmp(what, "rights") == 0)
		return attempt_rights();
	if (strcmp(what, "processes") == 0)
		return count_processes() == 1 ? 0 : ESRCH;
	if (strcmp(what, "env") == 0)
		return getenv(arg) != NULL ? 0 : ENOENT;
	if (strcmp(what, "mount") == 0)
		return mount("x", "/tmp", "tmpfs", 0, NULL) == 0 ? 0 : errno;
	if (strcmp(what, "clone") == 0)
		return attempt_clone(strtoul(arg, NULL, 16));
	if (strcmp(what, "clone3") == 0)
		return attempt_clone3();
	if (strcmp(what, "thread") == 0)
		return attempt_thread();
	if (strcmp(what, "socket") == 0)
		return attempt_socket(atoi(arg));
	if (strcmp(what, "pair") == 0)
		return socketpair(atoi(arg), SOCK_STREAM, 0, (int[2]){ 0 }) == 0 ? 0 : errno;
	if (strcmp(what, "exit") == 0)
		return atoi(arg);
	if (strcmp(what, "cwd") == 0)
		return access("here", F_OK) == 0 ? 0 : errno;
	/* "beat": a heart that can be heard outside, in a grandchild that nobody waits for */
	if (fork() != 0)
		for (;;)
			pause();
	for (;;) {
		int fd = open("beat", O_WRONLY | O_CREAT | O_APPEND, 0600);

		if (fd < 0 || write(fd, ".", 1) != 1)
			return errno;
		close(fd);
		usleep(20000);
	}
}

/* ---- outside ---- */

struct fixture {
	char *base, *home, *secret;
	char *self, *inside;            /* this program, by its two names */
	struct cage *cage;
};

/* Puts this program where it can be seen from inside. */
static void
copy_self(const struct cage *c)
{
	struct err e = ERR_INIT;
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = cage_create(c, "probe", &e);
	char room[65536];
	ssize_t n;

	assert_true(from >= 0 && to >= 0);
	while ((n = read(from, room, sizeof(room))) > 0)
		assert_int_equal(file_write_all(to, room, (size_t)n, "probe", &e), 0);
	assert_int_equal(fchmod(to, 0500), 0);
	close(from);
	close(to);
}

static int
set_up(void **state)
{
	struct fixture *f = mem_zero(1, sizeof(*f));
	char template[] = "/tmp/holdfast-cage-XXXXXX";
	struct cage_options o = { .user = "nobody" };
	struct err e = ERR_INIT;

	assert_non_null(mkdtemp(template));
	f->base = mem_strdup(template);
	chmod(f->base, 0755);
	f->home = mem_printf("%s/home", f->base);
	f->secret = mem_printf("%s/secret", f->base);
	assert_int_equal(mkdir(f->home, 0711), 0);
	assert_int_equal(file_write_new(f->secret, "secret", 6, 0644, &e), 0);
	chmod(f->secret, 0666);
	o.home = f->home;
	f->cage = cage_new(&o, &e);
	if (f->cage == NULL)
		fail_msg("%s", e.msg);
	copy_self(f->cage);
	f->self = mem_printf("%s/probe", cage_shown(f->cage));
	f->inside = mem_printf("%s/probe", cage_shown_inside(f->cage));
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	cage_free(f->cage);
	assert_int_equal(file_remove_tree(f->base, &e), 0);
	free(f->inside);
	free(f->base);
	free(f->home);
	free(f->secret);
	free(f->self);
	free(f);
	return 0;
}

static bool
enforced(const struct fixture *f, const char *measure)
{
	json_t *list = cage_measures(f->cage), *m;
	bool yes = false;
	size_t i;

	json_array_foreach(list, i, m)
		if (strcmp(json_opt_str(m, "measure", ""), measure) == 0)
			yes = json_is_true(json_object_get(m, "enforced"));
	json_decref(list);
	return yes;
}

/* Whether it is `possible`.  Where nothing may be skipped, as in CI, what is not is a failure. */
static bool
possible_here(bool possible, const char *what)
{
	const char *strict = getenv("HOLDFAST_NO_SKIP");

	if (!possible && strict != NULL && strcmp(strict, "1") == 0)
		fail_msg("not on this machine: %s, and HOLDFAST_NO_SKIP=1 forbids to skip", what);
	return possible;
}

/* For a test that shows nothing without it; one that goes on asks enforced_here(). */
static void
need(bool possible, const char *what)
{
	if (possible_here(possible, what))
		return;
	print_message("SKIPPED, not on this machine: %s\n", what);
	skip();
}

static bool
enforced_here(const struct fixture *f, const char *measure)
{
	return possible_here(enforced(f, measure), measure);
}

/* 0, or "exited with status N" as N, in the cage or (bare) outside of it. */
static int
run(const struct fixture *f, bool caged, const char *what, const char *arg)
{
	const char *const argv[] = { caged ? f->inside : f->self, what, arg, NULL };
	const char *const more[] = { "ASAN_OPTIONS=detect_leaks=0", NULL };
	char **env = cage_env(f->cage, more);
	struct child_spec spec = { .name = "probe", .argv = argv, .env = (const char *const *)env };
	struct err e = ERR_INIT;
	const char *status;
	int rc;

	if (caged) {
		spec.prepare = cage_prepare;
		spec.prepare_ctx = f->cage;
		spec.prepare_what = CAGE_WHAT;
	}
	rc = child_run(&spec, NULL, 20000, &e);
	cage_env_free(env);
	if (rc == 0)
		return 0;
	status = strstr(e.msg, "exited with status ");
	if (status != NULL)
		return atoi(status + strlen("exited with status "));
	print_message("%s\n", e.msg);
	return -1;
}

static void
what_runs_inside_reads_neither_the_hosts_secrets_nor_its_user_list(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, false, "read", f->secret), 0);
	assert_int_equal(run(f, true, "read", f->secret), enforced_here(f, "no process of the host is visible") ? ENOENT : EACCES);
	assert_int_not_equal(run(f, true, "read", "/etc/shadow"), 0);
	assert_int_not_equal(run(f, true, "read", "/root"), 0);
	assert_int_not_equal(run(f, true, "read", "/var/lib"), 0);
	assert_int_not_equal(run(f, true, "read", "/home"), 0);
	assert_int_equal(run(f, true, "read", "/usr/bin/env"), 0);
}

static void
what_runs_inside_writes_to_its_own_folder_alone(void **state)
{
	struct fixture *f = *state;
	char *here = mem_printf("%s/here", cage_folder_inside(f->cage));

	assert_int_equal(run(f, false, "write", f->secret), 0);
	assert_int_not_equal(run(f, true, "write", f->secret), 0);
	assert_int_not_equal(run(f, true, "write", "/usr/x"), 0);
	assert_int_not_equal(run(f, true, "write", "/etc/x"), 0);
	assert_int_not_equal(run(f, true, "write", "/x"), 0);
	assert_int_equal(run(f, true, "write", here), 0);
	assert_int_equal(run(f, true, "write", "/dev/null"), 0);
	assert_int_equal(run(f, true, "cwd", NULL), 0);
	free(here);
	here = mem_printf("%s/here", cage_folder(f->cage));
	assert_int_equal(access(here, F_OK), 0);
	free(here);
}

static int
listen_on(const void *address, socklen_t bytes, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, address, bytes), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* R48: what both sides open lies where nothing inside can put something else. */
static void
what_is_shown_inside_is_not_changed_there(void **state)
{
	struct fixture *f = *state;
	char *path = mem_printf("%s/x", cage_shown_inside(f->cage)), *here = mem_printf("%s/x", cage_folder(f->cage));
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct err e = ERR_INIT;
	int fd;

	assert_int_not_equal(run(f, true, "write", path), 0);
	free(path);
	path = mem_printf("%s/given", cage_shown_inside(f->cage));
	fd = cage_create(f->cage, "given", &e);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(run(f, true, "read", path), 0);
	if (enforced_here(f, "minimal file system, one writable folder"))
		assert_int_not_equal(run(f, true, "write", path), 0);
	free(path);

	/* A second name is made of a socket that is there, and of nothing that leads to one. */
	assert_int_equal(cage_show_socket(f->cage, "x", &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_int_equal(symlink("/var/run/postgresql/.s.PGSQL.5432", here), 0);
	assert_int_equal(cage_show_socket(f->cage, "x", &e), -1);
	assert_int_equal(unlink(here), 0);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", here);
	fd = listen_on(&un, sizeof(un), AF_UNIX);
	assert_int_equal(chmod(here, 0777), 0);
	assert_int_equal(cage_show_socket(f->cage, "x", &e), 0);
	assert_int_equal(unlink(here), 0);
	free(here);
	here = mem_printf("%s/x", cage_shown_inside(f->cage));
	assert_int_equal(run(f, true, "unix", here), 0);
	close(fd);
	free(here);
}

/* R48: no route from the scratch database to anything. */
static void
what_runs_inside_reaches_no_port_and_no_socket_of_the_host(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX }, hidden = { .sun_family = AF_UNIX };
	socklen_t bytes = sizeof(in);
	char port[16], name[64], *path = mem_printf("%s/socket", f->base);
	int tcp = listen_on(&in, sizeof(in), AF_INET), unix_fd, abstract;

	getsockname(tcp, (struct sockaddr *)&in, &bytes);
	snprintf(port, sizeof(port), "%u", ntohs(in.sin_port));
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	unix_fd = listen_on(&un, sizeof(un), AF_UNIX);
	chmod(path, 0777);
	snprintf(name, sizeof(name), "holdfast-test-%d", getpid());
	memcpy(hidden.sun_path + 1, name, strlen(name));
	abstract = listen_on(&hidden, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)), AF_UNIX);

	assert_int_equal(run(f, false, "tcp", port), 0);
	assert_int_equal(run(f, false, "unix", path), 0);
	assert_int_equal(run(f, false, "abstract", name), 0);
	if (enforced_here(f, "no network"))
		assert_int_not_equal(run(f, true, "tcp", port), 0);
	if (enforced_here(f, "no unix socket of the host")) {
		assert_int_not_equal(run(f, true, "abstract", name), 0);
		assert_int_not_equal(run(f, true, "unix", path), 0);
	}
	close(tcp);
	close(unix_fd);
	close(abstract);
	free(path);
}

static void
what_runs_inside_neither_sees_nor_signals_processes_of_the_host(void **state)
{
	struct fixture *f = *state;
	char pid[16], *proc;

	need(enforced(f, "no process of the host is visible"), "no process of the host is visible");
	snprintf(pid, sizeof(pid), "%d", getpid());
	proc = mem_printf("/proc/%s", pid);
	assert_int_equal(run(f, false, "kill", pid), 0);
	assert_int_not_equal(run(f, true, "kill", pid), 0);
	assert_int_equal(run(f, false, "read", proc), 0);
	assert_int_not_equal(run(f, true, "read", proc), 0);
	assert_int_equal(run(f, true, "processes", NULL), 0);
	free(proc);
}

static void
what_runs_inside_has_no_rights_and_no_secrets(void **state)
{
	struct fixture *f = *state;

	setenv("AWS_SECRET_ACCESS_KEY", "canary", 1);
	setenv("PGPASSWORD", "canary", 1);
	assert_int_equal(run(f, true, "env", "AWS_SECRET_ACCESS_KEY"), ENOENT);
	assert_int_equal(run(f, true, "env", "PGPASSWORD"), ENOENT);
	assert_int_equal(run(f, true, "env", "PGPASSFILE"), 0);
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("PGPASSWORD");
	/* Without namespaces /proc is out of sight, and with it the answer. */
	assert_int_equal(run(f, true, "rights", NULL), enforced_here(f, "no process of the host is visible") ? EPERM : EACCES);
	assert_int_equal(run(f, true, "mount", NULL), EPERM);
}

/* R44: a room of its own gives a process all capabilities in it, and with them the kernel's less trodden paths. */
static void
what_runs_inside_makes_no_rooms_of_its_own(void **state)
{
	static const unsigned long spaces[] = {
		CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP,
	};
	struct fixture *f = *state;
	char flags[32];

	need(enforced(f, "filter of system calls"), "filter of system calls");
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		snprintf(flags, sizeof(flags), "%lx", spaces[i]);
		if (geteuid() == 0)
			assert_int_equal(run(f, false, "clone", flags), 0);
		assert_int_equal(run(f, true, "clone", flags), EPERM);
	}
	/* A filter cannot read what clone3 is asked for.  The C library does without it. */
	assert_int_equal(run(f, true, "clone3", NULL), ENOSYS);
	assert_int_equal(run(f, true, "clone", "0"), 0);
	assert_int_equal(run(f, true, "thread", NULL), 0);
}

static int
try_family(const struct fixture *f, bool caged, const char *what, int family)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", family);
	return run(f, caged, what, number);
}

/* R48: AF_VSOCK leads from a virtual machine to its host past most network namespaces, and AF_ALG into the kernel's cryptography. */
static void
what_runs_inside_has_unix_sockets_alone(void **state)
{
	static const int others[] = { AF_INET, AF_INET6, AF_NETLINK, AF_VSOCK, AF_ALG, AF_PACKET, AF_UNSPEC };
	struct fixture *f = *state;

	need(enforced(f, "filter of system calls"), "filter of system calls");
	assert_int_equal(try_family(f, false, "socket", AF_INET), 0);
	assert_int_equal(try_family(f, false, "socket", AF_NETLINK), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(try_family(f, true, "socket", others[i]), EAFNOSUPPORT);
		assert_int_equal(try_family(f, true, "pair", others[i]), EAFNOSUPPORT);
	}
	assert_int_equal(try_family(f, true, "socket", AF_UNIX), 0);
	assert_int_equal(try_family(f, true, "pair", AF_UNIX), 0);
}

/* A named server over TCP is reached from inside, and nothing else becomes possible with that. */
static void
what_may_use_the_network_has_no_other_families_of_sockets(void **state)
{
	static const int good[] = { AF_UNIX, AF_INET, AF_NETLINK }, others[] = { AF_VSOCK, AF_ALG, AF_PACKET };
	struct fixture *f = *state, net = *f;
	char *home = mem_printf("%s/net", f->base);
	const struct cage_options o = { .home = home, .user = "nobody", .network = true };
	struct err e = ERR_INIT;

	need(enforced(f, "filter of system calls"), "filter of system calls");
	assert_int_equal(mkdir(home, 0711), 0);
	net.cage = cage_new(&o, &e);
	assert_non_null(net.cage);
	copy_self(net.cage);
	net.inside = mem_printf("%s/probe", cage_shown_inside(net.cage));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(try_family(&net, true, "socket", good[i]), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(try_family(&net, true, "socket", others[i]), EAFNOSUPPORT);
	cage_free(net.cage);
	free(net.inside);
	free(home);
}

static void
the_end_of_what_runs_inside_is_told_as_it_was(void **state)
{
	struct fixture *f = *state;
	const char *const absent[] = { "/nowhere/program", NULL };
	const struct child_spec no_program = { .name = "probe", .argv = absent, .prepare = cage_prepare, .prepare_ctx = f->cage };
	struct err e = ERR_INIT;

	assert_int_equal(run(f, true, "exit", "0"), 0);
	assert_int_equal(run(f, true, "exit", "37"), 37);
	assert_null(child_start(&no_program, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
}

static off_t
heart(const struct fixture *f)
{
	char *path = mem_printf("%s/beat", cage_folder(f->cage));
	struct stat st;
	off_t bytes = stat(path, &st) == 0 ? st.st_size : -1;

	free(path);
	return bytes;
}

static void
wait_for_heart(const struct fixture *f)
{
	for (int i = 0; i < 500 && heart(f) < 3; i++)
		usleep(20000);
	assert_true(heart(f) >= 3);
}

static void
assert_heart_stopped(const struct fixture *f)
{
	off_t before;

	usleep(300000);
	before = heart(f);
	usleep(300000);
	assert_int_equal(heart(f), before);
}

static struct child *
start_heart(const struct fixture *f)
{
	const char *const argv[] = { f->inside, "beat", NULL };
	const char *const env[] = { "ASAN_OPTIONS=detect_leaks=0", NULL };
	const struct child_spec spec = { .name = "heart", .argv = argv, .env = env, .prepare = cage_prepare, .prepare_ctx = f->cage };
	struct err e = ERR_INIT;
	struct child *c = child_start(&spec, &e);

	if (c == NULL)
		print_message("%s\n", e.msg);
	return c;
}

static void
everything_inside_dies_when_the_child_is_freed(void **state)
{
	struct fixture *f = *state;
	struct child *c;

	need(enforced(f, "ends with the drill"), "ends with the drill");
	c = start_heart(f);
	assert_non_null(c);
	wait_for_heart(f);
	child_free(c);
	assert_heart_stopped(f);
}

/* The drill itself is killed -9: nothing of the cage may live on, grandchildren included. */
static void
everything_inside_dies_when_its_parent_is_killed(void **state)
{
	struct fixture *f = *state;
	pid_t parent;

	need(enforced(f, "ends with the drill"), "ends with the drill");
	parent = fork();
	if (parent == 0) {
		if (start_heart(f) == NULL)
			_exit(1);
		for (;;)
			pause();
	}
	wait_for_heart(f);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	assert_heart_stopped(f);
}

static void
a_user_that_is_missing_or_root_is_refused(void **state)
{
	struct fixture *f = *state;
	struct cage_options o = { .home = f->home, .user = "no-such-user-here" };
	struct err e = ERR_INIT;

	need(geteuid() == 0, "root, who alone chooses a user");
	o.home = f->base;
	assert_null(cage_new(&o, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	o.user = "root";
	assert_null(cage_new(&o, &e));
	assert_int_equal(e.kind, ERR_USAGE);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_runs_inside_reads_neither_the_hosts_secrets_nor_its_user_list, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_runs_inside_writes_to_its_own_folder_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_shown_inside_is_not_changed_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_runs_inside_reaches_no_port_and_no_socket_of_the_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_runs_inside_neither_sees_nor_signals_processes_of_the_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_runs_inside_has_no_rights_and_no_secrets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_runs_inside_makes_no_rooms_of_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_runs_inside_has_unix_sockets_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_may_use_the_network_has_no_other_families_of_sockets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_of_what_runs_inside_is_told_as_it_was, set_up, tear_down),
		cmocka_unit_test_setup_teardown(everything_inside_dies_when_the_child_is_freed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(everything_inside_dies_when_its_parent_is_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_user_that_is_missing_or_root_is_refused, set_up, tear_down),
	};

	if (argc > 1)
		return inside(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
