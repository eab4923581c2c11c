#!/bin/bash
# All phases of a recipe, each after the one before: deploy/slurm/submit.sh RECIPE TASKS [sbatch options of the model phase, such as --gres=gpu:1]
#
# Every phase is submitted CURATION_TRIES times (default 2): the later ones work on the tasks that are not done, killed ones included, and the others
# end at once. What still fails then fails the last job, `verdict`, which says for each task what became of it. Nothing is published over shards
# that are missing unless the recipe allows it. Logs and states of all tasks lie in one folder, whose name is printed.
# CURATION_CORES and CURATION_MEMORY size a task. With CURATION_WAIT=1 the command waits for the end, and its exit code is the verdict's.
set -euo pipefail
recipe=${1:?usage: submit.sh RECIPE TASKS [sbatch options of the model phase]}
tasks=${2:?usage: submit.sh RECIPE TASKS [sbatch options of the model phase]}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
export CURATION_STATES=${CURATION_STATES:-$PWD/curation-$(basename "$recipe" .yaml)-$(date -u +%Y%m%dT%H%M%SZ)-$$}
mkdir -p "$CURATION_STATES"
for state in "$CURATION_STATES"/*.state; do # of an earlier chain that is gone on with: what is not done has all its tries again
  if [ -e "$state" ] && [ "$(head -n 1 "$state")" != done ]; then rm "$state"; fi
done
submit() {
  local name=$1 log=%x-%j.log
  shift
  case " $* " in *" --array="*) log=%x-%A_%a.log ;; esac
  sbatch --parsable --kill-on-invalid-dep=yes --job-name="$name" --output="$CURATION_STATES/$log" "$@"
}
# Submits a phase as often as it may be tried; the last job's id is in $last.
phase() {
  local name=$1 needs=$2 after=$2
  shift 2
  for try in $(seq 1 "${CURATION_TRIES:-2}"); do
    last=$(submit "$name" --cpus-per-task="${CURATION_CORES:-16}" --mem="${CURATION_MEMORY:-32G}" ${after:+--dependency="$after"} "$@" \
      "$here/curation.sbatch" "$recipe" "$name")
    after=${needs:+$needs,}afterany:$last
    echo "$name, try $try: job $last"
  done
}

# Which phases a recipe has: index, shards, clusters, scores and subsets, and between the last two those of what it gathers besides (concepts).
(cd "${CURATION_HOME:-$PWD}" && PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" python deploy/slurm/phase.py "$recipe") \
  > "$CURATION_STATES/phases"
whole="" options=()
while read -r name kind; do
  case $kind in
    array) # what failed of some shards holds up no others
      phase "$name" "afterok:$whole" --array="0-$((tasks - 1))" "${options[@]}"
      options=("$@")
      ;;
    *)
      needs=${whole:+afterok:$whole,afterany:$last}
      if [ "$name" = index ]; then phase index "" --time=1:00:00; else phase "$name" "$needs"; fi
      whole=$last
      ;;
  esac
done < "$CURATION_STATES/phases"
echo "logs and states: $CURATION_STATES"
submit verdict --dependency="afterany:$last" --time=10 ${CURATION_WAIT:+--wait} "$here/verdict.sh" "$CURATION_STATES" "$tasks"
