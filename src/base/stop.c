#include "base/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t came;
static int event = -1;
static _Atomic int64_t deadline;            /* of clock_mono_ms; 0: none */
static atomic_bool held_off;
static const char *limited;
static int64_t limit_ms;

static void
on_signal(int signo)
{
	uint64_t one = 1;
	int saved = errno;

	if (came == signo)
		_exit(128 + signo);
	came = signo;
	/* A full counter means that the descriptor is readable already, which is all that is wanted. */
	if (write(event, &one, sizeof(one)) != (ssize_t)sizeof(one))
		came = signo;
	errno = saved;
}

void
stop_install(void)
{
	struct sigaction action;

	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memset(&action, 0, sizeof(action));
	sigemptyset(&action.sa_mask);
	action.sa_handler = on_signal;
	action.sa_flags = SA_RESTART;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

int
stop_fd(void)
{
	return atomic_load(&held_off) ? -1 : event;
}

void
stop_hold_off(bool on)
{
	atomic_store(&held_off, on);
}

void
stop_set_deadline(int64_t ms, const char *what)
{
	limited = what;
	limit_ms = ms;
	atomic_store(&deadline, ms == 0 ? 0 : clock_mono_ms() + ms);
}

int
stop_check(struct err *e)
{
	int64_t until = atomic_load(&deadline);
	int signo = came;

	if (atomic_load(&held_off))
		return 0;
	if (signo == 0 && (until == 0 || clock_mono_ms() < until))
		return 0;
	if (signo == 0) {
		char limit[32];

		err_set(e, ERR_TIMEOUT, "%s took longer than its deadline of %s", limited, clock_human(limit, limit_ms));
		return err_hint(e, "See what it was waiting for, or raise `deadline` in the configuration.");
	}
	err_set(e, ERR_STOPPED, "stopped by %s", signo == SIGINT ? "SIGINT" : signo == SIGTERM ? "SIGTERM" : "SIGHUP");
	e->sys = signo;
	return -1;
}

void
stop_reset_in_child(void)
{
	struct sigaction action;
	sigset_t none;

	memset(&action, 0, sizeof(action));
	action.sa_handler = SIG_DFL;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	sigaction(SIGPIPE, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void
stop_clear(void)
{
	uint64_t count;

	came = 0;
	atomic_store(&deadline, 0);
	if (event >= 0 && read(event, &count, sizeof(count)) < 0)
		return;
}
