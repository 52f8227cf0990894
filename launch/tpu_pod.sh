#!/usr/bin/env bash
# Trains on all hosts of a Cloud TPU slice, with gcloud from your own machine:
#
#   export PROJECT=PROJECT ZONE=us-west4-a NFS=HOST:/SHARE
#   launch/tpu_pod.sh create      # requests the slice and waits for it
#   launch/tpu_pod.sh setup       # the last commit, Python and packages, on every host
#   launch/tpu_pod.sh run --experiment=cifar_cnn --workdir=/mnt/runs/a --mesh=data:16
#   launch/tpu_pod.sh log         # follows the first host; Ctrl-C does not stop the run
#   launch/tpu_pod.sh stop        # saves; the same `run` resumes
#   launch/tpu_pod.sh delete      # until then the slice costs money
#
# After a preemption: delete, create, setup and the same `run`. jax finds the hosts. The
# workdir must be on NFS, such as Filestore: a mounted bucket has no locks between
# hosts. Process 0 stores a secret there, with which the hosts authenticate each other.
set -euo pipefail

PROJECT=${PROJECT:?of Google Cloud}
ZONE=${ZONE:?where there is quota}
NAME=${NAME:-bigmodels}
ACCELERATOR_TYPE=${ACCELERATOR_TYPE:-v5litepod-16}
RUNTIME_VERSION=${RUNTIME_VERSION:-v2-alpha-tpuv5-lite}
CREATE_FLAGS=${CREATE_FLAGS:-}  # such as --spot

tpus() { gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE"; }
everywhere() { tpus tpu-vm ssh "$NAME" --worker=all --command="$1"; }

case ${1:-} in
  create)  # shellcheck disable=SC2086
    tpus queued-resources create "$NAME" --node-id="$NAME" $CREATE_FLAGS \
      --accelerator-type="$ACCELERATOR_TYPE" --runtime-version="$RUNTIME_VERSION"
    until [[ ${STATE:=} == ACTIVE ]]; do
      sleep 30
      STATE=$(tpus queued-resources describe "$NAME" --format='value(state.state)')
      echo "$STATE"
      [[ $STATE != FAILED && $STATE != SUSPEND* ]]
    done ;;
  setup)  # uv installs its own Python: that of the image may be too old
    PACKED=$(mktemp -d)/bigmodels.tar.gz
    git archive --format=tar.gz --output="$PACKED" HEAD
    tpus tpu-vm scp "$PACKED" "$NAME:" --worker=all
    everywhere "set -e; mkdir -p bigmodels; tar -xzf bigmodels.tar.gz -C bigmodels
      curl -LsSf https://astral.sh/uv/install.sh | sh
      cd bigmodels; ~/.local/bin/uv venv --clear --python=3.12
      ~/.local/bin/uv pip install -r requirements.txt 'jax[tpu]'
      sudo apt-get -o DPkg::Lock::Timeout=300 install -y nfs-common
      sudo mkdir -p /mnt/runs; mountpoint -q /mnt/runs || sudo mount '$NFS' /mnt/runs
      sudo chmod 1777 /mnt/runs" ;;
  run)
    everywhere "cd bigmodels; nohup .venv/bin/python run.py --require_backend=tpu \
      $(printf '%q ' "${@:2}") > run.log 2>&1 < /dev/null & echo \$! > run.pid" ;;
  log) tpus tpu-vm ssh "$NAME" --command='tail -n 100 -F bigmodels/run.log' ;;
  stop) everywhere "kill -TERM \$(cat bigmodels/run.pid)" ;;
  delete) tpus queued-resources delete "$NAME" --force --quiet ;;
  *) grep '^#  ' "$0"; exit 2 ;;
esac
