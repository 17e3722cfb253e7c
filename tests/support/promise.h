/* promise.h - a test tells which promise of tests/promises.txt it proved, and with what figure.
 * Where     the last line of the test, so that all it claims holds by then.
 * Figure    one line whose numbers are counts: the same in every run and every variant, because
 *           docs/PROMISES.md shows it and scripts/gen-promises --check compares.
 * Record    a line in a file of the folder that FAAS_PROMISES names; without it nothing is written.
 * Errors    a record that cannot be written ends the test program with a message.
 */
#ifndef FAAS_TEST_PROMISE_H
#define FAAS_TEST_PROMISE_H

#define test_promise(number, ...) test_promise_at(__FILE__, __func__, number, __VA_ARGS__)

void test_promise_at(const char *file, const char *test, int number, const char *figure, ...)
    __attribute__((format(printf, 4, 5)));

#endif
