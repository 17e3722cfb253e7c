#!/bin/sh
# The argument is $1; what goes to standard output is the answer.
printf 'Hello, %s!\n' "${1:-nobody}"
