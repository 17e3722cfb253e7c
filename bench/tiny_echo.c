/* tiny_echo.c - prints its second argument; no C library, so that what is measured is not its start. */
#include <sys/syscall.h>

static long sys3(long nr, long a, long b, long c)
{
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((used)) static void begin(const long *stack)
{
    const char *text = stack[0] > 1 ? (const char *)stack[2] : "";
    long len = 0;

    while (text[len] != '\0')
        len++;
    (void)sys3(SYS_write, 1, (long)text, len);
    (void)sys3(SYS_exit_group, 0, 0, 0);
}

/* The arguments are on the stack, as the kernel left them. */
__asm__(".globl _start\n"
        "_start: mov %rsp, %rdi\n"
        "and $-16, %rsp\n"
        "call begin\n");
