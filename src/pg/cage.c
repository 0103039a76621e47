#include "pg/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "pg/cage_plan.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
#define PROCESSES_MOST 4096
#define FILES_MOST 4096

/* ---- the way in: async-signal-safe calls only ---- */

static int
write_map(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = errno;
	close(fd);
	return rc;
}

/* By system call: the C library's own would talk to threads that a forked child does not have. */
static int
become_user(const struct cage *c)
{
	if (!c->become)
		return 0;
	if (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setresgid, c->gid, c->gid, c->gid) != 0 ||
	    syscall(SYS_setresuid, c->uid, c->uid, c->uid) != 0)
		return errno;
	return 0;
}

static int
enter_namespaces(const struct cage *c)
{
	int flags = NAMESPACES | (c->network ? 0 : CLONE_NEWNET), rc;

	if (c->mode == CAGE_ROOT)
		return unshare(flags) == 0 ? 0 : errno;
	/* The maps belong to whoever enters: so become that user first, and stay the owner of our own /proc entry. */
	if ((rc = become_user(c)) != 0)
		return rc;
	prctl(PR_SET_DUMPABLE, 1);
	if (unshare(CLONE_NEWUSER | flags) != 0)
		return errno;
	/* Refused only by kernels older than 3.19, which did not ask for it. */
	(void)write_map("/proc/self/setgroups", "deny");
	if ((rc = write_map("/proc/self/uid_map", c->uid_map)) == 0)
		rc = write_map("/proc/self/gid_map", c->gid_map);
	return rc;
}

static void
set_limit(int what, rlim_t most)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)what, &now) != 0 || (now.rlim_max != RLIM_INFINITY && now.rlim_max < most))
		return;
	now.rlim_cur = now.rlim_max = most;
	(void)setrlimit((__rlimit_resource_t)what, &now);
}

/* What every way in ends with. */
static int
settle(const struct cage *c)
{
	int rc;

	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_NOFILE, FILES_MOST);
	set_limit(RLIMIT_NPROC, PROCESSES_MOST);
	set_limit(RLIMIT_MEMLOCK, 0);
	/* Whatever a library left open stays here; the report pipe of child.c closes at exec anyhow. */
	(void)syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
	/* A capability that is not in the bounding set never comes back; the call ends at the first that the kernel lacks. */
	for (int cap = 0; c->become && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (c->mode != CAGE_USER && (rc = become_user(c)) != 0)
		return rc;
	if ((rc = cage_drop_caps()) != 0)
		return rc;
	/* A change of user takes the death signal away. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return errno;
	if (chdir(c->inside) != 0)
		return errno;
	if (c->landlock && (rc = cage_landlock(c)) != 0)
		return rc;
	return c->filter ? cage_filter(c) : 0;
}

/* Ends as the process inside did. */
static _Noreturn void
end_as(int status)
{
	if (WIFSIGNALED(status)) {
		sigset_t one;
		int signo = WTERMSIG(status);

		set_limit(RLIMIT_CORE, 0);
		signal(signo, SIG_DFL);
		sigemptyset(&one);
		sigaddset(&one, signo);
		kill(getpid(), signo);
		sigprocmask(SIG_UNBLOCK, &one, NULL);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/*
 * The process in between.  It stands outside the new process table, hands signals in, and leaves with the status of the one
 * inside.  When it is killed, the kernel kills that one (PR_SET_PDEATHSIG), and with it, since it is the first of its table,
 * all the others.
 */
static _Noreturn void
stand_between(pid_t inside, int alive)
{
	sigset_t all;
	siginfo_t info;
	int status;

	/* Holds nothing open but its sign of life: a pipe's end must be seen when the one inside closes it. */
	dup2(alive, 0);
	syscall(SYS_close_range, 1U, ~0U, 0);
	sigfillset(&all);
	for (;;) {
		int signo = sigwaitinfo(&all, &info);

		if (signo == SIGCHLD && waitpid(inside, &status, WNOHANG) == inside)
			end_as(status);
		else if (signo > 0 && signo != SIGCHLD)
			kill(inside, signo);
	}
}

static int
enter(const struct cage *c)
{
	sigset_t all, before;
	pid_t inside;
	int alive[2], rc;
	char byte;

	if ((rc = enter_namespaces(c)) != 0)
		return rc;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pipe2(alive, O_CLOEXEC | O_NONBLOCK) != 0)
		return errno;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	inside = _Fork();
	if (inside < 0)
		return errno;
	if (inside > 0)
		stand_between(inside, alive[1]);
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(alive[1]);
	(void)syscall(SYS_sethostname, "cage", 4);
	if ((rc = cage_build_root(c)) != 0 || (rc = settle(c)) != 0)
		return rc;
	/* The death signal is set only now; the pipe tells whether the one in between died before. */
	return read(alive[0], &byte, 1) < 0 && errno == EAGAIN ? 0 : ESRCH;
}

int
cage_prepare(void *cage)
{
	const struct cage *c = cage;

	return c->mode == CAGE_BARE ? settle(c) : enter(c);
}

/* ---- the plan ---- */

static struct cage_view *
add_view(struct cage *c, int kind, const char *from, const char *to)
{
	struct cage_view *v;

	c->views = mem_grow(c->views, c->view_count + 1, sizeof(*c->views));
	v = &c->views[c->view_count++];
	*v = (struct cage_view){ .from = mem_strdup(from), .inside = mem_strdup(to) };
	v->kind = (__typeof__(v->kind))kind;
	v->to = mem_printf("%s%s", c->root, to);
	return v;
}

/* Shows a path of the host as it is there: a link as a link, what is absent not at all. */
static void
show(struct cage *c, const char *path, bool follow)
{
	char target[4096];
	struct stat st;
	ssize_t n;

	if ((follow ? stat : lstat)(path, &st) != 0)
		return;
	if (S_ISLNK(st.st_mode)) {
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			return;
		target[n] = '\0';
		add_view(c, VIEW_LINK, target, path);
		return;
	}
	add_view(c, VIEW_BIND, path, path)->folder = S_ISDIR(st.st_mode);
}

static void
show_devices(struct cage *c)
{
	static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		add_view(c, VIEW_BIND, devices[i], devices[i])->device = true;
	add_view(c, VIEW_LINK, "/proc/self/fd", "/dev/fd");
	add_view(c, VIEW_LINK, "/proc/self/fd/0", "/dev/stdin");
	add_view(c, VIEW_LINK, "/proc/self/fd/1", "/dev/stdout");
	add_view(c, VIEW_LINK, "/proc/self/fd/2", "/dev/stderr");
	add_view(c, VIEW_SHM, NULL, "/dev/shm");
}

static void
show_all(struct cage *c, const char *const *see)
{
	static const char *const shown[] = {
		"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
		"/etc/ld-musl-x86_64.path", "/etc/alternatives", "/etc/localtime", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf",
		"/etc/ssl/certs",
	};
	static const char *const for_network[] = { "/etc/resolv.conf", "/etc/hosts", "/etc/services", "/etc/gai.conf", "/etc/host.conf" };
	struct cage_view *v;
	char *text;

	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		show(c, shown[i], false);
	for (size_t i = 0; c->network && i < sizeof(for_network) / sizeof(for_network[0]); i++)
		show(c, for_network[i], true);
	for (; see != NULL && *see != NULL; see++)
		show(c, *see, true);
	/* A user list that names nobody of this host. */
	text = mem_printf("root:x:0:0::/:/bin/false\ncage:x:%u:%u::/:/bin/false\n", (unsigned)c->uid, (unsigned)c->gid);
	add_view(c, VIEW_FILE, text, "/etc/passwd");
	free(text);
	text = mem_printf("root:x:0:\ncage:x:%u:\n", (unsigned)c->gid);
	add_view(c, VIEW_FILE, text, "/etc/group");
	free(text);
	show_devices(c);
	add_view(c, VIEW_PROC, NULL, "/proc");
	v = add_view(c, VIEW_BIND, c->tmp, c->tmp_inside);
	v->folder = v->writable = true;
	v = add_view(c, VIEW_BIND, c->folder, c->inside);
	v->folder = v->writable = true;
	add_view(c, VIEW_BIND, c->shown, c->shown_inside)->folder = true;
}

static void
forget_views(struct cage *c)
{
	for (size_t i = 0; i < c->view_count; i++) {
		free(c->views[i].from);
		free(c->views[i].to);
		free(c->views[i].inside);
	}
	free(c->views);
	c->views = NULL;
	c->view_count = 0;
}

/* Goes in, in a process of its own, and tells with which errno that ended. */
static int
try_out(struct cage *c)
{
	pid_t pid;
	int status;

	pid = fork();
	if (pid == 0)
		_exit(cage_prepare(c));
	if (pid < 0)
		return errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static bool
sees_tmp(const char *const *see)
{
	for (; see != NULL && *see != NULL; see++)
		if (strncmp(*see, "/tmp/", 5) == 0)
			return true;
	return false;
}

/* From the best to the least: the first way in that works here is the one.  /proc, Landlock and the filter are given up one by
 * one within each, since a container often forbids just one of them. */
static int
choose(struct cage *c, const char *const *see, struct err *e)
{
	static const struct { bool proc, landlock, filter; } without[] = {
		{ true, true, true }, { false, true, true }, { true, false, true }, { true, true, false }, { true, false, false },
		{ false, false, false },
	};
	int rc = 0;

	c->landlock_abi = cage_landlock_abi();
	for (int mode = geteuid() == 0 ? CAGE_ROOT : CAGE_USER; mode <= CAGE_BARE; mode++) {
		c->mode = (enum cage_mode)mode;
		c->inside = mode == CAGE_BARE ? c->folder : "/scratch";
		c->shown_inside = mode == CAGE_BARE ? c->shown : "/scratch-shown";
		/* Mount points are never made below a folder that can be written to from inside: a link there would lead us astray. */
		c->tmp_inside = mode == CAGE_BARE ? c->tmp : sees_tmp(see) ? "/scratch-tmp" : "/tmp";
		forget_views(c);
		show_all(c, see);
		for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
			c->proc = without[i].proc;
			c->landlock = without[i].landlock && c->landlock_abi > 0;
			c->filter = without[i].filter;
			if ((rc = try_out(c)) == 0)
				return 0;
		}
		if (c->mode_errno == 0)
			c->mode_errno = rc;
	}
	errno = rc;
	return err_sys(e, "become an unprivileged user for the scratch database");
}

static int
find_user(struct cage *c, const char *user, struct err *e)
{
	struct passwd *found;

	c->uid = geteuid();
	c->gid = getegid();
	if (c->uid == 0) {
		found = getpwnam(user != NULL ? user : "nobody");
		if (found == NULL)
			return err_set(e, ERR_USAGE, "there is no user \"%s\" to run the scratch database as", user != NULL ? user : "nobody");
		if (found->pw_uid == 0)
			return err_set(e, ERR_USAGE, "user \"%s\" is root, and the scratch database must not run as root", user);
		c->uid = found->pw_uid;
		c->gid = found->pw_gid;
		c->become = true;
	}
	snprintf(c->uid_map, sizeof(c->uid_map), "%u %u 1\n", (unsigned)c->uid, (unsigned)c->uid);
	snprintf(c->gid_map, sizeof(c->gid_map), "%u %u 1\n", (unsigned)c->gid, (unsigned)c->gid);
	return 0;
}

static int
make_folder(const struct cage *c, const char *path, mode_t mode, bool give, struct err *e)
{
	if (mkdir(path, mode) != 0 || chmod(path, mode) != 0)           /* whatever the umask is */
		return err_sys(e, "make folder \"%s\"", path);
	if (give && c->become && lchown(path, c->uid, c->gid) != 0)
		return err_sys(e, "give folder \"%s\" to the user of the scratch database", path);
	return 0;
}

struct cage *
cage_new(const struct cage_options *o, struct err *e)
{
	struct cage *c = mem_zero(1, sizeof(*c));

	c->network = o->network;
	c->folder = mem_printf("%s/work", o->home);
	c->shown = mem_printf("%s/show", o->home);             /* as short as can be: sockets lie in it */
	c->tmp = mem_printf("%s/tmp", o->home);
	c->root = mem_printf("%s/root", o->home);
	if (find_user(c, o->user, e) || make_folder(c, c->folder, 0700, true, e) || make_folder(c, c->tmp, 0700, true, e) ||
	    make_folder(c, c->root, 0711, false, e) || make_folder(c, c->shown, 0711, false, e) || choose(c, o->see, e)) {
		cage_free(c);
		return NULL;
	}
	return c;
}

void
cage_free(struct cage *c)
{
	if (c == NULL)
		return;
	forget_views(c);
	free(c->folder);
	free(c->shown);
	free(c->tmp);
	free(c->root);
	free(c);
}

const char *
cage_folder(const struct cage *c)
{
	return c->folder;
}

const char *
cage_folder_inside(const struct cage *c)
{
	return c->inside;
}

const char *
cage_shown(const struct cage *c)
{
	return c->shown;
}

const char *
cage_shown_inside(const struct cage *c)
{
	return c->shown_inside;
}

/* By number and not by name from then on: whatever the name in the cage's folder comes to mean, this one is that socket. */
int
cage_show_socket(const struct cage *c, const char *name, struct err *e)
{
	char *from = mem_printf("%s/%s", c->folder, name), *to = mem_printf("%s/%s", c->shown, name);
	struct stat st;
	int rc = -1;

	if (linkat(AT_FDCWD, from, AT_FDCWD, to, 0) != 0) {
		err_sys(e, "make a second name of the socket \"%s\" in \"%s\"", from, c->shown);
	} else if (lstat(to, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		unlink(to);
		err_set(e, ERR_FAILED, "\"%s\" is no socket", from);
	} else {
		rc = 0;
	}
	free(from);
	free(to);
	return rc;
}

int
cage_give(const struct cage *c, int fd, struct err *e)
{
	if (c->become && fchown(fd, c->uid, c->gid) != 0)
		return err_sys(e, "give a file to the user of the cage");
	return 0;
}

int
cage_create(const struct cage *c, const char *name, struct err *e)
{
	char *path = mem_printf("%s/%s", c->shown, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		err_sys(e, "make \"%s\"", path);
	else if (cage_give(c, fd, e))
		file_close(&fd);
	free(path);
	return fd;
}

char **
cage_env(const struct cage *c, const char *const *more)
{
	char **env = mem_zero(16, sizeof(*env));
	size_t n = 0;

	env[n++] = mem_strdup("PATH=/usr/local/bin:/usr/bin:/bin");
	env[n++] = mem_printf("HOME=%s", c->inside);
	env[n++] = mem_printf("TMPDIR=%s", c->tmp_inside);
	env[n++] = mem_strdup("LC_ALL=C");
	env[n++] = mem_strdup("TZ=UTC");
	env[n++] = mem_strdup("PGPASSFILE=/dev/null");
	env[n++] = mem_strdup("PGSERVICEFILE=/dev/null");
	env[n++] = mem_strdup("PGSYSCONFDIR=/dev/null");
	for (; more != NULL && *more != NULL; more++) {
		env = mem_grow(env, n + 2, sizeof(*env));
		env[n++] = mem_strdup(*more);
		env[n] = NULL;
	}
	return env;
}

void
cage_env_free(char **env)
{
	for (char **p = env; p != NULL && *p != NULL; p++)
		free(*p);
	free(env);
}

bool
cage_is_bare(const struct cage *c, uid_t *uid)
{
	*uid = c->uid;
	return c->mode == CAGE_BARE;
}

static void
measure(json_t *list, const char *name, bool enforced, const char *note)
{
	json_t *m = json_object();

	json_put_str(m, "measure", name);
	json_put_bool(m, "enforced", enforced);
	json_put_str(m, "note", note);
	json_add(list, m);
}

json_t *
cage_measures(const struct cage *c)
{
	bool spaces = c->mode != CAGE_BARE;
	json_t *list = json_array();
	char note[160], why[128];

	snprintf(why, sizeof(why), "this host allows no namespaces (%s)", strerror(c->mode_errno));
	snprintf(note, sizeof(note), "uid %u, no groups, no capabilities, no way to gain any", (unsigned)c->uid);
	measure(list, "unprivileged user", c->uid != 0,
	    c->become ? note : "the user that holdfast runs as; no capabilities, no way to gain any");
	measure(list, "minimal file system, one writable folder", spaces || c->landlock,
	    spaces ? "mount namespace" :
	    c->landlock ? "Landlock alone; world-readable lists of users are visible" : why);
	measure(list, "no network", !c->network && (spaces || c->filter || (c->landlock && c->landlock_abi >= 4)),
	    c->network ? "the target is reached over the network" :
	    spaces && c->filter ? "network namespace, loopback down; no sockets but unix ones" :
	    spaces ? "network namespace, loopback down; not from a virtual machine to its host (vsock)" :
	    c->filter ? "no sockets but unix ones" : c->landlock && c->landlock_abi >= 4 ? "Landlock: TCP only" : why);
	measure(list, "no unix socket of the host", spaces, spaces ? (c->network ? "but abstract ones, where Landlock cannot refuse them" :
	    "mount and network namespace") : why);
	measure(list, "no process of the host is visible", spaces, spaces ? (c->proc ? "pid namespace" : "pid namespace, no /proc") : why);
	measure(list, "no shared memory or message queue of the host", spaces, spaces ? "ipc namespace" : why);
	snprintf(note, sizeof(note), "ABI %d", c->landlock_abi);
	measure(list, "Landlock", c->landlock, c->landlock ? note : c->landlock_abi > 0 ? "refused" : "not in this kernel");
	measure(list, "filter of system calls", c->filter, c->filter ? "seccomp" : "refused here");
	measure(list, "ends with the drill", spaces,
	    spaces ? "parent death signal, first process of its table" : "only its first process is certain to");
	measure(list, "no credentials in the environment", true, "made from nothing");
	return list;
}
