#!/bin/sh
# keep_log.sh NVCC… -o OBJECT …: compiles, and leaves what ptxas says of the kernels in OBJECT.ptxas, for check.py.
for word; do
  [ "$before" = -o ] && object=$word
  before=$word
done
[ -n "$object" ] || exec "$@"
"$@" -Xptxas=-v 2> "$object.log"
code=$?
grep -E '^ptxas info|bytes stack frame' "$object.log" > "$object.ptxas"
grep -vE '^ptxas info|bytes stack frame' "$object.log" >&2
rm "$object.log"
exit $code
