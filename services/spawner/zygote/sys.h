/* sys.h - system calls without a C library, for code that shares its memory with another process:
 * errno, thread-local storage and libc's own locks belong to the zygote.  All return -errno. */
#ifndef ZYGOTE_SYS_H
#define ZYGOTE_SYS_H

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef __x86_64__
#error "the native runtime's system calls are written for x86-64"
#endif

static inline long zy_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define ZY_ARG(x)               ((long)(uintptr_t)(x))
#define zy_sys1(nr, a)          zy_sys6(nr, ZY_ARG(a), 0, 0, 0, 0, 0)
#define zy_sys2(nr, a, b)       zy_sys6(nr, ZY_ARG(a), ZY_ARG(b), 0, 0, 0, 0)
#define zy_sys3(nr, a, b, c)    zy_sys6(nr, ZY_ARG(a), ZY_ARG(b), ZY_ARG(c), 0, 0, 0)
#define zy_sys4(nr, a, b, c, d) zy_sys6(nr, ZY_ARG(a), ZY_ARG(b), ZY_ARG(c), ZY_ARG(d), 0, 0)

/* clone or clone3 of a process that shares this one's memory until its exec or its end, for which
 * this one waits; entry runs on the stack that the call names, and never returns. */
static inline long zy_sys_child(long nr, long a, long b, long f, void (*entry)(void))
{
    long result;
    register void (*go)(void) __asm__("r12") = entry;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(0L), "r"(r10), "r"(r8), "r"(r9), "r"(go)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long zy_vfork(void *stack_end, void (*entry)(void))
{
    return zy_sys_child(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, ZY_ARG(stack_end), 0, entry);
}

#endif
