#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t was_interrupted;

faas_code prompt_line(const struct prompt *prompt, int fd, char *out, faas_err *err)
{
    size_t len = 0;
    char c = 0;

    for (;;) {
        ssize_t n = read(fd, &c, 1);

        if (n < 0 && errno == EINTR && !was_interrupted)
            continue;
        if (n < 0)
            return was_interrupted
                       ? faas_fail(err, FAAS_INVALID, "interrupted")
                       : faas_fail(err, FAAS_INVALID, "the %s cannot be read", prompt->what);
        if (n == 0 || c == '\n')
            break;
        if (c == '\0' || len == prompt->max)
            return faas_fail(err, FAAS_INVALID, "a %s has at most %zu bytes, none of them NUL",
                             prompt->what, prompt->max);
        out[len++] = c;
    }
    if (len > 0 && out[len - 1] == '\r')
        len--;
    out[len] = '\0';
    return len > 0 ? FAAS_OK : faas_fail(err, FAAS_INVALID, "the %s is empty", prompt->what);
}

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    was_interrupted = 1;
}

/* Asks on the terminal without echo.  An interrupt must not leave the terminal silent. */
faas_code prompt_terminal(const struct prompt *prompt, char *out, faas_err *err)
{
    struct sigaction action = {.sa_handler = on_interrupt}, default_action;
    struct termios before, silent;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    faas_code code;

    if (tty < 0 || tcgetattr(tty, &before) != 0) {
        if (tty >= 0)
            close(tty);
        return faas_fail(err, FAAS_INVALID, "no terminal to ask for the %s; %s", prompt->what,
                         prompt->instead);
    }
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    sigaction(SIGINT, &action, &default_action);
    tcsetattr(tty, TCSAFLUSH, &silent); /* drops what was typed before the question */
    dprintf(tty, "%s: ", prompt->question);
    code = prompt_line(prompt, tty, out, err);
    tcsetattr(tty, TCSAFLUSH, &before);
    sigaction(SIGINT, &default_action, NULL);
    dprintf(tty, "\n");
    close(tty);
    return code;
}

faas_code prompt_confirm(const char *question, faas_err *err)
{
    const struct prompt prompt = {.what = "answer", .max = 16};
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    char answer[17];
    faas_code code;

    if (tty < 0)
        return faas_fail(err, FAAS_INVALID, "no terminal to ask on; --yes does it unasked");
    dprintf(tty, "%s Type yes: ", question);
    code = prompt_line(&prompt, tty, answer, err);
    close(tty);
    if (code != FAAS_OK || strcmp(answer, "yes") != 0)
        return faas_fail(err, FAAS_INVALID, "nothing was done");
    return FAAS_OK;
}
