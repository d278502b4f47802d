//! Restricts system calls (seccomp(2)).
//!
//! - A call that is not listed fails with ENOSYS, as on an older kernel. Libraries then use another
//!   call; this also works for calls that are newer than this list.
//! - A call that every kernel has and that attackers use fails with EPERM, which is clearer.

use std::collections::BTreeMap;

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::{NotRestricted, Restriction};

/// Restricts this thread and the threads that it starts.
pub(super) fn restrict() -> Restriction {
    let filters = TargetArch::try_from(std::env::consts::ARCH)
        .and_then(|arch| Ok([allowed(arch)?, forbidden(arch)?]))
        .map_err(|_| NotRestricted::Processor)?;
    for filter in &filters {
        apply_filter(filter)?;
    }
    Ok("on")
}

type Compiled<T> = Result<T, seccompiler::BackendError>;

/// The filter of allowed calls. It checks no arguments, so that the kernel can cache its results.
fn allowed(arch: TargetArch) -> Compiled<BpfProgram> {
    let rules = CALLS.iter().chain(OLDER_CALLS).map(|&call| (call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(errno(libc::ENOSYS));
    SeccompFilter::new(rules, unknown, SeccompAction::Allow, arch)?.try_into()
}

/// The filter of forbidden calls, some of them only with certain arguments.
fn forbidden(arch: TargetArch) -> Compiled<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|&call| (call, Vec::new())).collect();
    // Writable memory cannot become executable.
    let both = bits(libc::PROT_WRITE | libc::PROT_EXEC);
    let executable = bits(libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![when(2, &SeccompCmpOp::MaskedEq(both), &[both])?]);
    for call in [libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        let condition = when(2, &SeccompCmpOp::MaskedEq(executable), &[executable])?;
        rules.insert(call, vec![condition]);
    }
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(bits);
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![when(0, &SeccompCmpOp::Ne, &families)?]);
    }
    // A thread's name, and the names that glibc gives to memory.
    let harmless = [bits(libc::PR_SET_NAME), bits(PR_SET_VMA)];
    rules.insert(libc::SYS_prctl, vec![when(0, &SeccompCmpOp::Ne, &harmless)?]);
    let refused = SeccompAction::Errno(errno(libc::EPERM));
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()
}

/// A rule that compares an argument with each of these values.
fn when(argument: u8, operator: &SeccompCmpOp, values: &[u64]) -> Compiled<SeccompRule> {
    let condition = |value: &u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator.clone(), *value)
    };
    SeccompRule::new(values.iter().map(condition).collect::<Compiled<_>>()?)
}

/// A system constant as an argument.
const fn bits(constant: i32) -> u64 {
    constant.unsigned_abs() as u64
}

const fn errno(constant: i32) -> u32 {
    constant.unsigned_abs()
}

/// Not in every libc.
const PR_SET_VMA: i32 = 0x5356_4d41;

/// The calls of the server, its runtime and the C libraries.
const CALLS: &[c_long] = &[
    // Files.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sync_file_range,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    // Threads and signals.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_prctl,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    // Time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_times,
    // Sockets; not bind and listen.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socket,
    libc::SYS_socketpair,
    // Identity and resources of the process.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // For the second filter.
    libc::SYS_seccomp,
];

/// Older variants of these, on processors that have them.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(target_arch = "aarch64")]
const OLDER_CALLS: &[c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER_CALLS: &[c_long] = &[];

/// The calls that are most useful for an attacker.
const FORBIDDEN: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_kill,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_memfd_create,
    libc::SYS_mknodat,
    libc::SYS_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_seccomp,
    libc::SYS_setgid,
    libc::SYS_setns,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setuid,
    libc::SYS_symlinkat,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];
