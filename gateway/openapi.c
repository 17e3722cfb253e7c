#include "gateway/openapi.h"

#include <string.h>

#include "gateway/problem.h"

#define TYPE "application/yaml" /* RFC 9512 */

/* The file's bytes, as read-only data; the path is relative to where make runs. */
__asm__(".section .rodata.openapi, \"a\"\n"
        ".global openapi_begin, openapi_end\n"
        "openapi_begin:\n"
        ".incbin \"docs/openapi.yaml\"\n"
        "openapi_end:\n"
        ".previous\n");
extern const char openapi_begin[], openapi_end[];

void openapi_answer(http_exchange *x)
{
    size_t len = (size_t)(openapi_end - openapi_begin);
    char *copy = malloc(len);

    if (copy == NULL) {
        const struct problem problem = {.code = FAAS_INTERNAL, .detail = "out of memory"};

        problem_answer(x, &problem);
        return;
    }
    memcpy(copy, openapi_begin, len);
    http_answer_bytes(x, x->match.route->status, TYPE, copy, len);
}
