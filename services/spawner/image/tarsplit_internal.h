/* tarsplit_internal.h - the record's form, for its two sides; nobody else includes it. */
#ifndef SPAWNER_IMAGE_TARSPLIT_INTERNAL_H
#define SPAWNER_IMAGE_TARSPLIT_INTERNAL_H

#include <stdint.h>

#define TARSPLIT_LITERAL 'L'
#define TARSPLIT_FILE    'F'
#define TARSPLIT_HEAD    13

struct tarsplit_op {
    char op;
    int64_t length;
    uint32_t path_len;
};

static inline void tarsplit_pack(unsigned char out_head[TARSPLIT_HEAD],
                                 const struct tarsplit_op *op)
{
    out_head[0] = (unsigned char)op->op;
    for (int i = 0; i < 8; i++)
        out_head[1 + i] = (unsigned char)((uint64_t)op->length >> 8 * i);
    for (int i = 0; i < 4; i++)
        out_head[9 + i] = (unsigned char)(op->path_len >> 8 * i);
}

static inline struct tarsplit_op tarsplit_unpack(const unsigned char head[TARSPLIT_HEAD])
{
    uint64_t length = 0;
    uint32_t path_len = 0;

    for (int i = 0; i < 8; i++)
        length |= (uint64_t)head[1 + i] << 8 * i;
    for (int i = 0; i < 4; i++)
        path_len |= (uint32_t)head[9 + i] << 8 * i;
    return (struct tarsplit_op){(char)head[0], (int64_t)length, path_len};
}

#endif
