/* The argument is the last of argv; what goes to standard output is the answer. */
#include <stdio.h>

int main(int argc, char **argv)
{
    printf("Hello, %s!\n", argc > 1 ? argv[argc - 1] : "nobody");
    return 0;
}
