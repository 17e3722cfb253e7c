/* enter.h - what the spawner and faas-enter, the first program of a container with secrets, agree on.
 * Input     on its standard input: for each secret "NAME LENGTH\n" and LENGTH bytes; then "\n"; what
 *           follows is the function's own input.
 * Arguments how the function's standard input is given (ENTER_STDIN, ENTER_NOTHING), then the
 *           function's own.
 * Places    two tmpfs of the function's user, one file for each secret in both.
 * Exit      126 and 127 as a shell's, where the function's program cannot be started; 125: no
 *           secrets.
 */
#ifndef SPAWNER_ENTER_H
#define SPAWNER_ENTER_H

#define ENTER_PLACE   "/.faas" /* a volume that goes with its container */
#define ENTER_NAME    "faas-enter"
#define ENTER_STDIN   "stdin"
#define ENTER_NOTHING "nothing"
#define ENTER_PATH    "/run/secrets"
#define ENTER_ALIAS   "/var/openfaas/secrets"

#endif
