/* doctor.h - `faas doctor`: why a call cannot run now, from what can be asked.
 * Finding   what was looked at (a word), how it is, what was seen and, of what is not fine, what to do
 *           next.  Texts of the platform are data and cleaned where they are printed.
 * Parts     doctor.c asks the server and the login, the others what their names say; each says what
 *           it found and goes on where it can.
 * Memory    what is lacking is told at the end: is_short.
 * Threads   the main thread.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/client.h"

enum doctor_level { DOCTOR_FINE, DOCTOR_WARNING, DOCTOR_WRONG };

struct doctor {
    cli_client *client;
    const char *server;
    json_t *findings;
    json_t *instances; /* of GET /v1/instances; NULL: not known */
    bool is_local;     /* the platform is this machine's `faas up` */
    bool is_wrong;     /* something is */
    bool is_short;     /* of memory */
};

/* next: NULL with DOCTOR_FINE. */
void doctor_say(struct doctor *doctor, enum doctor_level level, const char *check, const char *next,
                const char *fmt, ...) FAAS_PRINTF(5, 6);
/* GET of path; *out_doc NULL unless it is there.  What failed is said of check, but NOT_FOUND, which
 * is the caller's. */
faas_code doctor_get(struct doctor *doctor, const char *check, const char *path, json_t **out_doc);

void doctor_services(struct doctor *doctor); /* doctor_services.c; fills instances */
/* doctor_function.c; reference: NAME, NAME@N or NAME:ALIAS */
void doctor_function(struct doctor *doctor, const char *reference);
/* doctor_machine.c; state as status_read() gave it */
void doctor_machine(struct doctor *doctor, const json_t *state);

#endif
