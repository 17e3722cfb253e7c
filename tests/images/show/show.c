/* show.c - prints its arguments with a bar between them: what a function is given. */
#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%s%s", i > 1 ? "|" : "", argv[i]);
    return fflush(stdout) == 0 ? 0 : 1;
}
