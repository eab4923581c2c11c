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
  printf '%-20s %4s  %-26s %s\n' "$1" "$2" "$said" "$where"
}
phases="index one|shards array|clusters one|scores array|subsets one"
if [ -e "$folder/phases" ]; then phases=$(tr '\n' '|' < "$folder/phases"); fi
all=0
while read -r phase kind; do
  [ -n "$phase" ] || continue
  last=0
  if [ "$kind" = array ]; then last=$((tasks - 1)); fi
  for task in $(seq 0 "$last"); do look "$phase" "$task"; done
  all=$((all + last + 1))
done < <(tr '|' '\n' <<< "$phases")
if [ "$bad" -gt 0 ]; then
  echo "$bad of $all tasks are not done; their logs lie in $folder. The same submit.sh with CURATION_STATES=$folder goes on with those"
  exit 1
fi
echo "all $all tasks are done"
