#!/bin/sh
# Tests the policy as a native program, with whatever C compiler there is.
set -eu
cd "$(dirname "$0")"
mkdir -p dist
"${CC:-cc}" -std=c17 -g -Wall -Wextra -I. test/test_policy.c -o dist/test_policy
dist/test_policy
