#include "cli/templates.h"

/* X(symbol, language, file, is it run) */
#define TEMPLATE_FILES(X)                                                                          \
    X(common_readme, "common", "README.md", false)                                                 \
    X(common_stack, "common", "stack.yml", false)                                                  \
    X(c_dockerfile, "c", "Dockerfile", false)                                                      \
    X(c_rootfs, "c", "rootfs", true)                                                               \
    X(c_function, "c", "function.c", false)                                                        \
    X(shell_dockerfile, "shell", "Dockerfile", false)                                              \
    X(shell_rootfs, "shell", "rootfs", true)                                                       \
    X(shell_function, "shell", "function.sh", true)                                                \
    X(python_dockerfile, "python", "Dockerfile", false)                                            \
    X(python_function, "python", "function.py", false)                                             \
    X(node_dockerfile, "node", "Dockerfile", false)                                                \
    X(node_function, "node", "function.js", false)                                                 \
    X(go_dockerfile, "go", "Dockerfile", false)                                                    \
    X(go_module, "go", "go.mod", false)                                                            \
    X(go_function, "go", "function.go", false)

/* The assembler reads the file; the Makefile knows that this object depends on all of them. */
#define X(symbol, lang, name, is_program)                                                          \
    __asm__(".pushsection .rodata\n"                                                               \
            "template_" #symbol ": .incbin \"cli/templates/" lang "/" name "\"\n"                  \
            "template_" #symbol "_end: .byte 0\n"                                                  \
            ".popsection\n");                                                                      \
    extern const char template_##symbol[], template_##symbol##_end[];
TEMPLATE_FILES(X)
#undef X

#define X(symbol, lang, name, is_program)                                                          \
    {(lang), (name), template_##symbol, template_##symbol##_end, (is_program)},
const struct template_file template_files[] = {TEMPLATE_FILES(X){0}};
#undef X
