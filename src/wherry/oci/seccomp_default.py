"""The default profile: which system calls a container may make, by what it may do anyway.

The calls are those that Docker's users are used to: what Docker allows is allowed, what it refuses is refused. Not allowed are
calls that reach outside the container (modules, keys, other namespaces, clocks, swap, tracing of the kernel), those whose history
is one of escapes (io_uring, userfaultfd), and AF_VSOCK sockets. A capability that is given brings the calls that need it. A call
that no rule names gets EPERM, or ENOSYS when it is newer than all of them (`linux.seccomp.compiler`).

The shape is that of Docker's profile files, so that `--security-opt seccomp=FILE` takes what this module makes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ALLOWED = (
    # Signals, clocks and timers
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
    "clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday kill nanosleep pause pidfd_send_signal rt_sigaction "
    "rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
    "rt_tgsigqueueinfo setitimer sigaltstack signalfd signalfd4 sigprocmask sigreturn time timer_create timer_delete "
    "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime "
    "timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill "
    # Who a process is: users, groups, capabilities
    "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getresgid "
    "getresgid32 getresuid getresuid32 getsid getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
    "setgroups setgroups32 setpgid setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 "
    "setsid setuid setuid32 "
    # Memory
    "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 "
    "mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages "
    # Sockets
    "accept accept4 bind connect getpeername getsockname getsockopt listen mq_timedsend recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair "
    # System V and POSIX messages, semaphores, shared memory
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend_time64 mq_unlink msgctl "
    "msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget "
    # Waiting for events
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old "
    "eventfd eventfd2 fanotify_mark futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake "
    "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents "
    "io_pgetevents_time64 io_setup io_submit poll ppoll ppoll_time64 pselect6 pselect6_time64 select "
    # Processes and scheduling
    "execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getpid getppid getpriority getrlimit "
    "getrusage gettid ioprio_get ioprio_set landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open "
    "prctl prlimit64 process_mrelease restart_syscall rseq sched_get_priority_max sched_get_priority_min "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp "
    "set_robust_list set_thread_area set_tid_address setpriority setrlimit ugetrlimit uretprobe vfork wait4 waitid "
    "waitpid "
    # The machine
    "getrandom sysinfo umask uname "
    # Files
    "_llseek access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat "
    "faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl "
    "fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 "
    "fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat ioctl lchown lchown32 "
    "lgetxattr link linkat listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat "
    "mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev "
    "pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir "
    "sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statx symlink symlinkat sync "
    "sync_file_range syncfs tee tgkill truncate truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes "
    "vmsplice write writev "
)
# personality(2): 0 and the two flags that programs for other machines set (UNAME26, and ADDR_NO_RANDOMIZE's neighbour
# PER_LINUX32), both, and the question for the present value.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_AF_VSOCK = 40
# CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
_NEW_NAMESPACES = 0x7E020000
_ENOSYS = 38
_BY_ARCHITECTURE = (
    (("ppc64le",), "sync_file_range2 swapcontext"),
    (("arm", "arm64"), "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    (("amd64", "x32"), "arch_prctl"),
    (("amd64", "x32", "x86"), "modify_ldt"),
    (("s390", "s390x"), "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (("riscv64",), "riscv_flush_icache riscv_hwprobe"),
)
_BY_CAPABILITY = (
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_SYS_ADMIN", "clone clone3 setns unshare sethostname setdomainname"),
    ("CAP_SYS_ADMIN", "mount umount umount2 mount_setattr move_mount open_tree fsconfig fsmount fsopen fspick"),
    ("CAP_SYS_ADMIN", "quotactl quotactl_fd"),
    ("CAP_SYS_ADMIN", "bpf fanotify_init lookup_dcookie perf_event_open syslog"),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
)
_ARCHITECTURES = (
    ("SCMP_ARCH_X86_64", ("SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    ("SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",)),
    ("SCMP_ARCH_RISCV64", ()),
    ("SCMP_ARCH_PPC64LE", ()),
    ("SCMP_ARCH_S390X", ()),
)


def default_profile() -> dict[str, Any]:
    """The profile in the form of Docker's files, a new one at each call."""
    allow = "SCMP_ACT_ALLOW"
    rules: list[dict[str, Any]] = [{"names": _ALLOWED.split(), "action": allow}]
    # Since Linux 4.8 a tracer cannot slip past the filter of the traced.
    tracing = ["process_vm_readv", "process_vm_writev", "ptrace"]
    rules.append({"names": tracing, "action": allow, "includes": {"minKernel": "4.8"}})
    rules.append({"names": ["socket"], "action": allow, "args": [{"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_NE"}]})
    rules += [{"names": ["personality"], "action": allow, "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}
              for value in _PERSONALITIES]
    rules += [{"names": names.split(), "action": allow, "includes": {"arches": list(arches)}}
              for arches, names in _BY_ARCHITECTURE]
    rules += [{"names": names.split(), "action": allow, "includes": {"caps": [cap]}} for cap, names in _BY_CAPABILITY]
    # Without CAP_SYS_ADMIN no new namespaces. s390's clone(2) has the flags second. clone3(2) has them in memory, where a filter
    # cannot look, so it is said not to exist, and C libraries go back to clone(2).
    for index, arches in ((0, {"excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]}}),
                          (1, {"includes": {"arches": ["s390", "s390x"]}, "excludes": {"caps": ["CAP_SYS_ADMIN"]}})):
        masked = [{"index": index, "value": _NEW_NAMESPACES, "op": "SCMP_CMP_MASKED_EQ"}]
        rules.append({"names": ["clone"], "action": allow, "args": masked, **arches})
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS, "excludes": {"caps": ["CAP_SYS_ADMIN"]}})
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": rules,
            "archMap": [{"architecture": name, "subArchitectures": list(others)} for name, others in _ARCHITECTURES]}
