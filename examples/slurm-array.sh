#!/usr/bin/env bash
# A folder of videos on a SLURM cluster: each task of the array does its share, on a GPU of its own.
#
#   sbatch examples/slurm-array.sh VIDEOS RESULTS [options of vsal batch]
#
# VIDEOS and RESULTS lie on a file system that all nodes share. The same command again does what is left by tasks that
# ran out of time, were killed or had failures. Number arrays without gaps, as 1-8: vsal reads SLURM's variables.
# Without GPUs, leave out the line that asks for one.
#
#SBATCH --job-name=vsal
#SBATCH --array=1-8
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=vsal-%A-%a.log
# SIGTERM two minutes before the time is up: vsal ends in order, and nothing half is left.
#SBATCH --signal=B:TERM@120
set -uo pipefail

if [[ $# -lt 2 || ! -d $1 ]]; then
    echo "usage: sbatch $0 VIDEOS RESULTS [options of vsal batch], where VIDEOS is a folder" >&2
    exit 2
fi
videos=$1 results=$2
shift 2

# As many threads as SLURM gave, not as many as the node has.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# exec: SLURM's signal reaches vsal itself.
exec vsal batch -o "$results" --workers 1 "$@" -- "$videos"
