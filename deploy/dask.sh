#!/bin/sh
# Starts what `hourfeed batch --engine dask --scheduler tcp://HOST:8786` runs on, from the checkout's .venv (extra `dask`):
#
#   deploy/dask.sh scheduler HOST              on one machine; HOST is its address in the private network
#   deploy/dask.sh workers tcp://HOST:8786     on each machine that computes: a process for each core
#
# Whoever reaches these ports can run code here, so keep them in a private network, or set up Dask's TLS.
set -eu
DASK=${DASK:-.venv/bin/dask}
export OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 OMP_WAIT_POLICY=passive
# Dask has workers give freed memory back at once, so that each large array asks the kernel for it anew, and looks at all
# threads a hundred times a second.
export MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_THRESHOLD_=1073741824
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
case "${1:-} ${2:-}" in
"scheduler "?*) exec "$DASK" scheduler --host "$2" --port "${PORT:-8786}" --dashboard-address "$2:0" ;;
"workers "?*) exec "$DASK" worker "$2" --nworkers "${WORKERS:-$(nproc)}" --nthreads 1 --memory-limit 0 ;;
*) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
