#!/bin/bash
# All phases of a recipe, each after the one before: deploy/slurm/submit.sh RECIPE TASKS [sbatch options of the model phase, such as --gres=gpu:1]
# A shard that fails fails its task. The chain goes on over the others (afterany), as the graph does; the task's log and the UI say why.
# CURATION_CORES and CURATION_MEMORY size a task.
set -euo pipefail
recipe=${1:?usage: submit.sh RECIPE TASKS [sbatch options of the model phase]}
tasks=${2:?usage: submit.sh RECIPE TASKS [sbatch options of the model phase]}
shift 2
script=$(dirname "$0")/curation.sbatch
submit() {
  local phase=$1
  shift
  sbatch --parsable --kill-on-invalid-dep=yes --job-name="$phase" --cpus-per-task="${CURATION_CORES:-16}" --mem="${CURATION_MEMORY:-32G}" "$@" "$script" "$recipe" "$phase"
}

index=$(submit index --time=1:00:00)
shards=$(submit shards --array="0-$((tasks - 1))" --dependency="afterok:$index")
clusters=$(submit clusters --dependency="afterany:$shards")
scores=$(submit scores --array="0-$((tasks - 1))" --dependency="afterok:$clusters" "$@")
subsets=$(submit subsets --dependency="afterany:$scores")
echo "$index $shards $clusters $scores $subsets"
