/*
 * The locks that need no namespace: Landlock, the filter of system calls, capabilities.  All between fork and exec: nothing
 * allocates, and Landlock is called by number, since the C library has no names for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pg/cage_plan.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Landlock's own numbers (linux/landlock.h); headers older than the kernel lack the newer ones. */
#define LL_CREATE 444
#define LL_ADD 445
#define LL_RESTRICT 446
#define LL_READ (UINT64_C(1) << 0 | UINT64_C(1) << 2 | UINT64_C(1) << 3)        /* execute, read file, read folder */
#define LL_ALL_V1 ((UINT64_C(1) << 13) - 1)
#define LL_REFER (UINT64_C(1) << 13)
#define LL_TRUNCATE (UINT64_C(1) << 14)
#define LL_FILE_ONLY (UINT64_C(1) << 0 | UINT64_C(1) << 1 | UINT64_C(1) << 2)
#define LL_NET_TCP UINT64_C(3)
#define LL_SCOPED UINT64_C(3)           /* abstract unix sockets, signals */

/* What clone(2) makes new rooms by: in one of its own a process has all capabilities, and the kernel opens doors to it. */
#define NEW_SPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

struct ll_ruleset {
	uint64_t fs, net, scoped;
};

struct ll_beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

int
cage_landlock_abi(void)
{
	long abi = syscall(LL_CREATE, NULL, 0, 1);

	return abi > 0 ? (int)abi : 0;
}

static int
allow(int set, const char *path, bool writable, uint64_t handled)
{
	struct ll_beneath rule = { .allowed = writable ? handled : (LL_READ & handled) };
	struct stat st;
	int rc;

	rule.fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.fd < 0)
		return errno == ENOENT || errno == EACCES ? 0 : errno;  /* what is not there needs no permission */
	if (fstat(rule.fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= LL_FILE_ONLY | LL_TRUNCATE;
	rc = syscall(LL_ADD, set, 1, &rule, 0) == 0 ? 0 : errno;
	close(rule.fd);
	return rc;
}

int
cage_landlock(const struct cage *c)
{
	struct ll_ruleset rules = { .fs = LL_ALL_V1 };
	size_t bytes = c->landlock_abi >= 6 ? 24 : c->landlock_abi >= 4 ? 16 : 8;
	int set, rc = 0;

	if (c->landlock_abi >= 2)
		rules.fs |= LL_REFER;
	if (c->landlock_abi >= 3)
		rules.fs |= LL_TRUNCATE;
	if (c->landlock_abi >= 4 && !c->network)
		rules.net = LL_NET_TCP;
	if (c->landlock_abi >= 6)
		rules.scoped = LL_SCOPED;
	set = (int)syscall(LL_CREATE, &rules, bytes, 0);
	if (set < 0)
		return errno;
	for (size_t i = 0; rc == 0 && i < c->view_count; i++) {
		const struct cage_view *v = &c->views[i];

		/* Without namespaces /dev/shm and /proc are the host's.  Postgres needs the first. */
		if (v->kind == VIEW_LINK || (v->kind == VIEW_PROC && c->mode == CAGE_BARE))
			continue;
		rc = allow(set, v->inside, v->writable || v->device || v->kind == VIEW_SHM, rules.fs);
	}
	if (rc == 0 && syscall(LL_RESTRICT, set, 0) != 0)
		rc = errno;
	close(set);
	return rc;
}

/* Conditions are written with the positions to go on at; the kernel counts from the next instruction. */
static struct sock_filter
jump(uint16_t how, uint32_t value, size_t at, size_t yes, size_t no)
{
	return (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | BPF_K | how), value, (uint8_t)(yes - at - 1), (uint8_t)(no - at - 1));
}

/*
 * What no database and no restore has use for, and what most holes in a kernel were reached through.  A refused call gives
 * EPERM, as if the right were missing.  Of clone the flags decide, its first argument on both architectures; those of clone3 lie
 * in memory, where no filter looks, so it is said not to be there, and the C library takes clone instead.
 *
 * Of sockets the family decides.  A network namespace does not part all of them: AF_VSOCK leads from a virtual machine to its host
 * through most kernels' namespaces.  What is refused is said not to be known here, which programs are ready for.
 */
int
cage_filter(const struct cage *c)
{
	static const uint32_t refused[] = {
		SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare,
		SYS_setns, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_kexec_load,
		SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl,
		SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsmount, SYS_fsconfig,
		SYS_fspick, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_syslog, SYS_settimeofday, SYS_clock_settime,
		SYS_sethostname, SYS_setdomainname,
	};
	/* The resolver asks the kernel for addresses through the last. */
	static const uint32_t families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
#if defined(__x86_64__)
	const uint32_t arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
	const uint32_t arch = AUDIT_ARCH_AARCH64;
#else
	return ENOSYS;
#endif
	const size_t n_families = c->network ? COUNT(families) : 1;
	/* Positions: the calls of which an argument decides, what is asked of it, and the ends. */
	const size_t calls = 5 + COUNT(refused), flags = calls + 4, family = flags + 2, unknown = family + 1 + n_families,
	    good = unknown + 1, bad = unknown + 2, absent = unknown + 3;
	struct sock_filter code[COUNT(refused) + COUNT(families) + 16];
	struct sock_fprog program = { .len = (unsigned short)(absent + 1), .filter = code };

	/* Another architecture (32-bit calls, x32) numbers its calls differently: refused as a whole. */
	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[1] = jump(BPF_JEQ, arch, 1, 3, 2);
	code[2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	code[3] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	code[4] = jump(BPF_JGE, 0x40000000, 4, bad, 5);
	for (size_t i = 0; i < COUNT(refused); i++)
		code[5 + i] = jump(BPF_JEQ, refused[i], 5 + i, bad, 6 + i);
	code[calls] = jump(BPF_JEQ, SYS_clone3, calls, absent, calls + 1);
	code[calls + 1] = jump(BPF_JEQ, SYS_socket, calls + 1, family, calls + 2);
	code[calls + 2] = jump(BPF_JEQ, SYS_socketpair, calls + 2, family, calls + 3);
	code[calls + 3] = jump(BPF_JEQ, SYS_clone, calls + 3, flags, good);
	/* The lower half of the argument: the flags are below 2^32, the kernel takes no more of a family, and both architectures are
	 * little-endian. */
	code[flags] = code[family] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
	code[flags + 1] = jump(BPF_JSET, NEW_SPACES, flags + 1, bad, good);
	for (size_t i = 0; i < n_families; i++)
		code[family + 1 + i] = jump(BPF_JEQ, families[i], family + 1 + i, good, family + 2 + i);
	code[unknown] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
	code[good] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[bad] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	code[absent] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
}

int
cage_drop_caps(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &head, none) == 0 ? 0 : errno;
}
