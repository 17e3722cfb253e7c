/* inside.h - between the two files of the program faas-inside. */
#ifndef TEST_INSIDE_H
#define TEST_INSIDE_H

int deed(int argc, char **argv); /* the exit status */

#endif
