#!/bin/sh
# run_or_skip.sh PROGRAM ARGUMENTS…: a test that may skip. Ends with 77, by which ctest knows it, where the program is not
# installed, and where it ended well and said "skipped: "; else as the program does.
command -v "$1" > /dev/null || { echo "skipped: there is no $1"; exit 77; }
output=$("$@" 2>&1)
code=$?
printf '%s\n' "$output"
case $output in *"skipped: "*) [ $code -eq 0 ] && exit 77 ;; esac
exit $code
