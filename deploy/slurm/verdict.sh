#!/bin/bash
# What became of the tasks of a chain: verdict.sh FOLDER TASKS. Exits with 1 unless all are done. The last job of deploy/slurm/submit.sh; may be
# asked by hand at any time.
#SBATCH --job-name=verdict
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
set -euo pipefail
folder=${1:?usage: verdict.sh FOLDER TASKS}
tasks=${2:?usage: verdict.sh FOLDER TASKS}
bad=0
look() {
  local file=$folder/$1-$2.state said where
  if [ ! -e "$file" ]; then
    said="never started" where="what it depends on did not end well"
  else
    { read -r said && read -r where; } < "$file"
    [ "$said" != running ] || said="killed, or still running"
  fi
  [ "$said" = done ] || bad=$((bad + 1))
  printf '%-8s %4s  %-26s %s\n' "$1" "$2" "$said" "$where"
}
for phase in index shards clusters scores subsets; do
  case $phase in
    shards | scores) for task in $(seq 0 $((tasks - 1))); do look "$phase" "$task"; done ;;
    *) look "$phase" 0 ;;
  esac
done
if [ "$bad" -gt 0 ]; then
  echo "$bad of $((2 * tasks + 3)) tasks are not done; their logs lie in $folder. The same submit.sh with CURATION_STATES=$folder goes on with those"
  exit 1
fi
echo "all $((2 * tasks + 3)) tasks are done"
