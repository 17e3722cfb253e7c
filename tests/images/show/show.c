/* show.c - prints each of its arguments in brackets, one per line: what a function is given. */
#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("<%s>\n", argv[i]);
    return fflush(stdout) == 0 ? 0 : 1;
}
