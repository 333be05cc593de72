#!/usr/bin/env bash
# A folder of videos on several machines without a scheduler: GNU parallel starts one share of the batch on each.
#
#   examples/gnu-parallel.sh VIDEOS RESULTS HOST,HOST,... [options of vsal batch]
#
# The machines have VIDEOS and RESULTS under the same absolute paths, are reached by ssh without a password, and have
# vsal on their PATH. A host called ":" is this machine. The same command again does what is left.
set -uo pipefail

if [[ $# -lt 3 || ! -d $1 ]]; then
    echo "usage: $0 VIDEOS RESULTS HOST,HOST,... [options of vsal batch], where VIDEOS is a folder" >&2
    exit 2
fi
videos=$(realpath -- "$1") results=$(realpath -m -- "$2") hosts=$3
shift 3
IFS=, read -ra names <<<"$hosts"
count=${#names[@]}

# One job a host at a time. What follows is a line for the shell over there, hence the quoting (Q).
seq "$count" | parallel --sshlogin "$hosts" --jobs 1 --line-buffer \
    vsal batch "${videos@Q}" -o "${results@Q}" --shard "{}/$count" "${@@Q}"
failed=$? # the number of jobs that failed
if [[ $failed -gt 0 ]]; then
    echo "$failed of $count shares had failures" >&2
    exit 6
fi
