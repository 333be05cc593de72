#!/usr/bin/env bash
# An overlay and a file of statistics for every video of a folder; one that cannot be read is named and left out.
#
#   examples/folder.sh VIDEOS RESULTS
set -uo pipefail

if [[ $# -ne 2 || ! -d $1 ]]; then
    echo "usage: $0 VIDEOS RESULTS, where VIDEOS is a folder" >&2
    exit 2
fi
videos=$1 results=$2
mkdir -p -- "$results" || exit 3

failed=0 seen=/
shopt -s nullglob nocaseglob
for video in "$videos"/*.{mp4,mkv,mov,avi,webm,m4v}; do
    name=${video##*/}
    goal=${name%.*}
    if [[ $seen == *"/$goal/"* ]]; then
        echo "$video: another video's products are called $goal, too; vsal batch tells them apart" >&2
        failed=$((failed + 1))
        continue
    fi
    seen+=$goal/
    # Two products a video, so the goal is a folder.
    vsal predict --write overlay --write stats -o "$results/$goal" --overwrite --quiet -- "$video" || {
        code=$?
        [[ $code -eq 130 ]] && exit 130 # Ctrl-C ends the whole run
        failed=$((failed + 1))
    }
done

if [[ $failed -gt 0 ]]; then
    echo "$failed of the videos failed" >&2
    exit 6
fi
