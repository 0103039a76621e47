#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/stop.h"

#define STDERR_KEPT 4096
#define LINE_KEPT 400
#define GATHER_US 1000
#define PIPE_ROOM (1 << 20)             /* as large as an unprivileged process may ask for by default */
#define READ_ROOM (256 * 1024)
#define SLICE_NS (100 * 1000 * 1000)    /* the longest that Linux gives */

struct child {
	char *name;
	pid_t pid;
	bool ended;
	int status;
	int in, out;                    /* our ends, -1 when closed or not asked for */
	int err_read;
	pthread_t drain;                /* reads stderr, so that a chatty child never blocks */
	bool draining;
	int wake;                       /* eventfd that ends the drain, -1 */
	pthread_mutex_t lock;           /* guards words */
	char words[STDERR_KEPT + 1];
	size_t words_bytes;
	size_t line_bytes;              /* of the line that is being written to stderr */
	char words_copy[STDERR_KEPT + 1];
};

/* Keeps the beginning of each line: pg_dump shows a query that names all tables there are, and what went wrong stands before it. */
static size_t
cut_lines(struct child *c, char *chunk, size_t bytes)
{
	size_t kept = 0;

	for (size_t i = 0; i < bytes; i++) {
		c->line_bytes = chunk[i] == '\n' ? 0 : c->line_bytes + 1;
		if (c->line_bytes <= LINE_KEPT)
			chunk[kept++] = chunk[i];
		else if (c->line_bytes <= LINE_KEPT + 3)
			chunk[kept++] = '.';
	}
	return kept;
}

static void *
drain_stderr(void *arg)
{
	struct child *c = arg;
	struct pollfd on[2] = { { .fd = c->err_read, .events = POLLIN }, { .fd = c->wake, .events = POLLIN } };
	char chunk[1024];

	for (;;) {
		size_t got, over;
		ssize_t n;

		if (poll(on, 2, -1) < 0)
			continue;               /* EINTR; nothing else can be */
		if (on[1].revents != 0)
			break;
		n = read(c->err_read, chunk, sizeof(chunk));
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		got = n > 0 ? cut_lines(c, chunk, (size_t)n) : 0;
		pthread_mutex_lock(&c->lock);
		over = c->words_bytes + got > STDERR_KEPT ? c->words_bytes + got - STDERR_KEPT : 0;
		memmove(c->words, c->words + over, c->words_bytes - over);
		c->words_bytes -= over;
		memcpy(c->words + c->words_bytes, chunk, got);
		c->words_bytes += got;
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

/* What the child needs between fork and exec; nothing here allocates. */
struct plan {
	const struct child_spec *spec;
	char *const *argv;
	char *const *env;
	int in, out, err, report;
	pid_t parent;
};

/*
 * For a child that moves bytes: woken, it preempts nobody, and once it runs it runs on (sched(7); the slice since Linux 6.12, ignored
 * before).  On two busy processors a first night is a twentieth shorter.  A kernel that refuses loses speed only.
 */
static void
run_in_long_slices(void)
{
	/* struct sched_attr as first published (Linux's sched/types.h, SCHED_ATTR_SIZE_VER0): that header and libc's cannot be had together. */
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} a = { .size = sizeof(a), .policy = SCHED_BATCH, .nice = getpriority(PRIO_PROCESS, 0), .runtime = SLICE_NS };

	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

static _Noreturn void
become(const struct plan *p)
{
	int failed[2] = { 0, 0 };               /* errno; 1 when it was the preparation */

	stop_reset_in_child();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != p->parent)
		_exit(127);
	if (p->spec->batch)
		run_in_long_slices();
	if (dup2(p->in, 0) < 0 || dup2(p->out, 1) < 0 || dup2(p->err, 2) < 0)
		failed[0] = errno;
	if (failed[0] == 0 && p->spec->prepare != NULL && (failed[0] = p->spec->prepare(p->spec->prepare_ctx)) != 0)
		failed[1] = 1;
	if (failed[0] == 0) {
		execve(p->argv[0], p->argv, p->env);
		failed[0] = errno;
	}
	if (write(p->report, failed, sizeof(failed)) != (ssize_t)sizeof(failed))
		_exit(126);
	_exit(127);
}

static int
make_pipe(int ends[2], struct err *e)
{
	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_sys(e, "make a pipe");
	/* Fewer wake-ups a gigabyte; a kernel that refuses loses speed only. */
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_ROOM);
	return 0;
}

static int
fork_and_exec(struct child *c, struct plan *plan, int report_read, struct err *e)
{
	int failed[2];
	ssize_t n;

	plan->parent = getpid();
	c->pid = fork();
	if (c->pid < 0)
		return err_sys(e, "start %s: fork", c->name);
	if (c->pid == 0)
		become(plan);
	file_close(&plan->report);
	/* The report's write end closes at exec: an end of file here is the good news. */
	do
		n = read(report_read, failed, sizeof(failed));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	waitpid(c->pid, &c->status, 0);
	c->ended = true;
	errno = failed[0];
	if (failed[1] != 0)
		return err_sys(e, "start %s: %s", c->name, plan->spec->prepare_what != NULL ? plan->spec->prepare_what : "prepare");
	return err_sys(e, "start %s: \"%s\"", c->name, plan->argv[0]);
}

struct child *
child_start(const struct child_spec *spec, struct err *e)
{
	static const char *const no_env[] = { NULL };
	struct child *c = mem_zero(1, sizeof(*c));
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, words[2] = { -1, -1 }, report[2] = { -1, -1 }, null = -1, rc = -1;
	struct plan plan;

	c->name = mem_strdup(spec->name);
	c->in = c->out = c->err_read = c->wake = -1;
	c->ended = true;
	pthread_mutex_init(&c->lock, NULL);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0) {
		err_sys(e, "open \"/dev/null\"");
		goto out;
	}
	if ((spec->pipe_in && make_pipe(in, e)) || (spec->pipe_out && make_pipe(out, e)) || make_pipe(words, e) || make_pipe(report, e))
		goto out;
	plan = (struct plan){
		.spec = spec,
		/* execve takes pointers to char that it does not write through. */
		.argv = (char *const *)(uintptr_t)spec->argv,
		.env = (char *const *)(uintptr_t)(spec->env != NULL ? spec->env : no_env),
		.in = spec->pipe_in ? in[0] : null,
		.out = spec->pipe_out ? out[1] : words[1],
		.err = words[1],
		.report = report[1],
	};
	c->ended = false;
	rc = fork_and_exec(c, &plan, report[0], e);
	report[1] = plan.report;
	if (rc != 0)
		goto out;
	c->in = in[1], in[1] = -1;
	c->out = out[0], out[0] = -1;
	c->err_read = words[0], words[0] = -1;
	file_close(&words[1]);
	c->wake = eventfd(0, EFD_CLOEXEC);
	c->draining = pthread_create(&c->drain, NULL, drain_stderr, c) == 0;
out:
	for (int i = 0; i < 2; i++) {
		file_close(&in[i]);
		file_close(&out[i]);
		file_close(&words[i]);
		file_close(&report[i]);
	}
	file_close(&null);
	if (rc != 0) {
		if (c->pid <= 0)
			c->ended = true;
		child_free(c);
		return NULL;
	}
	return c;
}

/* Joins the reader of stderr.  A grandchild may hold the pipe open; the child's own words are there by then.  The reader is
 * told to end, not cancelled: cancelling unwinds it behind the back of the sanitizers. */
static void
end_drain(struct child *c)
{
	struct timespec until;

	if (!c->draining)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 2;
	if (pthread_clockjoin_np(c->drain, NULL, CLOCK_MONOTONIC, &until) != 0) {
		eventfd_write(c->wake, 1);
		pthread_join(c->drain, NULL);
	}
	c->draining = false;
	file_close(&c->wake);
}

const char *
child_stderr(struct child *c)
{
	pthread_mutex_lock(&c->lock);
	memcpy(c->words_copy, c->words, c->words_bytes);
	c->words_copy[c->words_bytes] = '\0';
	pthread_mutex_unlock(&c->lock);
	return c->words_copy;
}

/* The last words without trailing white space, lines joined by "; ". */
static char *
last_words(struct child *c)
{
	const char *words = child_stderr(c);
	struct buf line = BUF_INIT;
	size_t n = strlen(words);

	while (n > 0 && (words[n - 1] == '\n' || words[n - 1] == ' '))
		n--;
	if (n > 600) {
		buf_addstr(&line, "... ");
		words += n - 600;
		n = 600;
	}
	for (size_t i = 0; i < n; i++) {
		if (words[i] == '\n')
			buf_addstr(&line, "; ");
		else if ((unsigned char)words[i] >= ' ')
			buf_addc(&line, words[i]);
	}
	return buf_take(&line);
}

static int
judge(struct child *c, struct err *e)
{
	char *words;

	if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0)
		return 0;
	end_drain(c);
	words = last_words(c);
	if (WIFSIGNALED(c->status))
		err_set(e, ERR_FAILED, "%s was killed by signal %d (%s)%s%s", c->name, WTERMSIG(c->status), strsignal(WTERMSIG(c->status)),
		    words[0] != '\0' ? ": " : "", words);
	else
		err_set(e, ERR_FAILED, "%s exited with status %d%s%s", c->name, WEXITSTATUS(c->status), words[0] != '\0' ? ": " : "", words);
	free(words);
	return -1;
}

bool
child_running(struct child *c)
{
	pid_t got;

	if (c->ended)
		return false;
	got = waitpid(c->pid, &c->status, WNOHANG);
	c->ended = got == c->pid;
	return !c->ended;
}

void
child_signal(struct child *c, int signo)
{
	if (child_running(c))
		kill(c->pid, signo);
}

static void
kill_and_reap(struct child *c)
{
	if (c->ended)
		return;
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
		;
	c->ended = true;
}

int
child_wait(struct child *c, int64_t limit_ms, struct err *e)
{
	int64_t until = clock_mono_ms() + limit_ms;
	int64_t nap = 1;

	file_close(&c->in);
	file_close(&c->out);
	/* waitpid has no deadline and a pidfd is newer than some kernels that we meet; naps grow from 1 to 50 ms. */
	while (child_running(c)) {
		if (limit_ms > 0 && clock_mono_ms() >= until) {
			kill_and_reap(c);
			return err_set(e, ERR_TIMEOUT, "%s did not end within %lld s and was killed", c->name, (long long)(limit_ms / 1000));
		}
		if (clock_sleep_ms(nap, e)) {
			kill_and_reap(c);
			return -1;
		}
		nap = nap < 50 ? nap * 2 : 50;
	}
	return judge(c, e);
}

int
child_pump(struct child *c, struct sink *s, int64_t idle_ms, struct err *e)
{
	char *room = mem_alloc(READ_ROOM);
	int room_in_pipe = fcntl(c->out, F_GETPIPE_SZ);
	int64_t heard = clock_mono_ms();
	int rc = -1;

	for (;;) {
		struct pollfd wait[2] = { { .fd = c->out, .events = POLLIN }, { .fd = stop_fd(), .events = POLLIN } };
		int n_ready = poll(wait, 2, 1000);
		ssize_t n;

		if (stop_check(e))
			break;
		if (n_ready <= 0 || wait[0].revents == 0) {
			if (idle_ms > 0 && clock_mono_ms() - heard > idle_ms) {
				err_set(e, ERR_TIMEOUT, "%s was silent for %lld s and was killed", c->name, (long long)(idle_ms / 1000));
				break;
			}
			continue;
		}
		n = read(c->out, room, READ_ROOM);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_sys(e, "read from %s", c->name);
			break;
		}
		if (n == 0) {
			rc = child_wait(c, 0, e);
			break;
		}
		heard = clock_mono_ms();
		if (sink_write(s, room, (size_t)n, e))
			break;
		/* A program that writes a row at a time would wake us for each; let some come together meanwhile. */
		if (n < room_in_pipe / 4)
			usleep(GATHER_US);
	}
	free(room);
	if (rc != 0)
		kill_and_reap(c);
	return rc;
}

struct child_sink {
	struct sink sink;
	struct child *child;
};

static int
child_sink_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct child *c = ((struct child_sink *)s)->child;
	const char *p = data;

	while (bytes > 0) {
		struct pollfd wait[2] = { { .fd = c->in, .events = POLLOUT }, { .fd = stop_fd(), .events = POLLIN } };
		ssize_t n;

		poll(wait, 2, 1000);
		if (stop_check(e))
			return -1;
		if (wait[0].revents == 0)
			continue;
		n = write(c->in, p, bytes);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0 && errno == EPIPE) {
			/* It ended before it had everything: its own words say why. */
			if (child_wait(c, 10000, e) == 0)
				err_set(e, ERR_FAILED, "%s ended before it had read everything", c->name);
			return -1;
		}
		if (n < 0)
			return err_sys(e, "write to %s", c->name);
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int
child_sink_finish(struct sink *s, struct err *e)
{
	return child_wait(((struct child_sink *)s)->child, 0, e);
}

static void
child_sink_free(struct sink *s)
{
	struct child *c = ((struct child_sink *)s)->child;

	/* Killed before its stdin closes: a restore that sees a clean end of input would commit what it has. */
	if (s->state != SINK_FINISHED)
		kill_and_reap(c);
	free(s);
}

struct sink *
child_sink_new(struct child *c)
{
	static const struct sink_ops ops = { child_sink_write, child_sink_finish, child_sink_free };
	struct child_sink *s = mem_zero(1, sizeof(*s));
	int flags = fcntl(c->in, F_GETFL);

	if (flags >= 0)
		(void)fcntl(c->in, F_SETFL, flags | O_NONBLOCK);
	s->sink.ops = &ops;
	s->child = c;
	return &s->sink;
}

void
child_free(struct child *c)
{
	if (c == NULL)
		return;
	kill_and_reap(c);
	end_drain(c);
	file_close(&c->in);
	file_close(&c->out);
	file_close(&c->err_read);
	file_close(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c->name);
	free(c);
}

int
child_run(const struct child_spec *spec, struct sink *out, int64_t limit_ms, struct err *e)
{
	struct child_spec own = *spec;
	struct sink *null = NULL;
	struct child *c;
	int rc;

	own.pipe_out = true;
	if (out == NULL)
		out = null = sink_null_new();
	c = child_start(&own, e);
	rc = c == NULL ? -1 : child_pump(c, out, limit_ms, e);
	child_free(c);
	sink_free(null);
	return rc;
}
