#!/usr/bin/env bash
# A pretend cluster on this machine: SLURM with one node and eight GPUs that do not exist.
# NODES=2 makes it two nodes, each with a slurmd of its own; GPU_MODEL=NAME calls the GPUs so.
#
#   eval "$(tests/slurm/cluster.sh start DIR)"    sets SLURM_CONF and PATH; may be repeated
#   tests/slurm/cluster.sh stop DIR
#
# Debian or Ubuntu, as root. Config, keys, state, spool and logs are all in DIR. Outside DIR only
# the four packages are installed, where they are missing; their own services are not started.
# There is no accounting, so Snakemake needs --slurm-status-command squeue.

set -euo pipefail

readonly PACKAGES=(slurmctld slurmd munge slurm-client)
readonly NODES=${NODES:-1} GPU_MODEL=${GPU_MODEL:-a100}
readonly INSTALL_SECONDS=300 START_SECONDS=60 STOP_SECONDS=30

say() { printf '%s\n' "$*" >&2; }
die() { say "cluster.sh: $*"; exit 1; }

install_packages() {
  local program missing=0
  for program in slurmctld slurmd munged sbatch srun; do
    command -v "$program" >/dev/null || missing=1
  done
  ((missing)) || return 0
  command -v apt-get >/dev/null || die "SLURM is missing and there is no apt-get to install it"
  say "installing ${PACKAGES[*]}"
  # Without this policy the packages would start daemons of their own.
  local policy=/usr/sbin/policy-rc.d log=$dir/log/apt.log ok=0
  if [[ ! -e $policy ]]; then
    # shellcheck disable=SC2064  # the name is wanted as it is now
    trap "rm -f '$policy'" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  local apt=(timeout "$INSTALL_SECONDS" apt-get -q -y -o DPkg::Lock::Timeout=120)
  export DEBIAN_FRONTEND=noninteractive
  # A failed update may still leave usable lists, so only the install decides.
  "${apt[@]}" update </dev/null >"$log" 2>&1 || true
  "${apt[@]}" install --no-install-recommends "${PACKAGES[@]}" </dev/null >>"$log" 2>&1 || ok=$?
  if ((ok)); then
    tail -n 20 "$log" >&2
    die "apt-get could not install ${PACKAGES[*]}"
  fi
}

# The pid in a pid file, if that process lives and is the daemon that the file is named after (up
# to a dash): a number left over from before a reboot must not get somebody else's process killed.
pid_of() {
  local pid
  [[ -r $dir/run/$1.pid ]] || return 1
  pid=$(<"$dir/run/$1.pid")
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  grep -qsF -- "$dir/" "/proc/$pid/cmdline" && grep -qsx "${1%%-*}" "/proc/$pid/comm" || return 1
  printf '%s\n' "$pid"
}

# Job steps outlive slurmd. They are known by the config they were started with, not by a name.
pids_of_jobs() {
  local proc
  for proc in /proc/[0-9]*; do
    [[ ${proc#/proc/} != "$$" ]] || continue
    grep -zqsxF "SLURM_CONF=$dir/slurm.conf" "$proc/environ" || continue
    if grep -qsx slurmstepd "$proc/comm" || grep -zqs '^SLURM_JOB_ID=' "$proc/environ"; then
      printf '%s\n' "${proc#/proc/}"
    fi
  done
}

free_port() {
  local port hex
  for ((port = $1; port < $1 + 200; port++)); do
    printf -v hex ':%04X ' "$port"
    grep -qF "$hex" /proc/net/tcp /proc/net/tcp6 2>/dev/null || { printf '%s\n' "$port"; return; }
  done
  die "no free port from $1 on"
}

nodes() { seq -f 'node%g' "$NODES"; }

write_config() {
  local host gpu node port=27017
  host=$(hostname -s)
  for gpu in {0..7}; do
    # SLURM only wants the device files to be there; these are further names for /dev/null.
    [[ -e $dir/dev/gpu$gpu ]] || mknod "$dir/dev/gpu$gpu" c 1 3
  done
  cat >"$dir/gres.conf" <<CONF
NodeName=node[1-$NODES] Name=gpu Type=$GPU_MODEL File=$dir/dev/gpu[0-7]
CONF
  # config_overrides: the node claims the size of a real one, so that the profile runs unchanged.
  # The long MinJobAge lets squeue tell how a job ended.
  cat >"$dir/slurm.conf" <<CONF
ClusterName=pretend
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port 26817)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=2
GresTypes=gpu
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
CONF
  for node in $(nodes); do
    port=$(free_port $((port + 1)))
    printf 'NodeName=%s NodeHostname=%s NodeAddr=127.0.0.1 Port=%s CPUs=128 %s\n' \
      "$node" "$host" "$port" "RealMemory=1900000 Gres=gpu:$GPU_MODEL:8 State=UNKNOWN"
  done >>"$dir/slurm.conf"
  # The plugin drops SLURM_CONF from the environment of the srun that it starts inside a job.
  cat >"$dir/bin/srun" <<WRAPPER
#!/bin/sh
SLURM_CONF='$dir/slurm.conf' exec '$(PATH=${PATH//$dir\/bin:/} command -v srun)' "\$@"
WRAPPER
  chmod +x "$dir/bin/srun"
}

show_logs() {
  local log
  for log in "$dir"/log/*.log; do
    [[ $log == */apt.log || ! -e $log ]] || { say "--- $log"; tail -n 15 "$log" >&2; }
  done
}

# Each node once, whatever the number of its partitions.
nodes_up() {
  timeout 5 sinfo --noheader --Node --partition=main --format=%T 2>/dev/null |
    grep -cE '^(idle|mixed|allocated)$'
}

# Daemons must hold neither the lock nor our output: a caller that reads a pipe would wait for them.
spawn() { (cd "$dir" && timeout 30 "$@" </dev/null >>"$dir/log/start.log" 2>&1 9>&-); }

start() {
  ((EUID == 0)) || die "start needs root (mknod, and SLURM's daemons)"
  mkdir -p "$dir"/{bin,dev,log,run,spool,state}
  chmod 711 "$dir" "$dir/run"
  exec 9>"$dir/lock"
  flock -w "$INSTALL_SECONDS" 9 || die "another start or stop holds $dir/lock"
  # The daemons are in sbin, which not every PATH has.
  PATH=$PATH:/usr/sbin:/sbin
  install_packages

  # Ports are chosen once; a config under a running daemon stays as it is.
  pid_of slurmctld >/dev/null || pid_of slurmd-node1 >/dev/null || write_config
  if ! pid_of munged >/dev/null; then
    (umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
    # --force: DIR may be below a folder that others can write to, such as /tmp.
    spawn munged --force --key-file="$dir/munge.key" --socket="$dir/run/munge.socket" \
      --pid-file="$dir/run/munged.pid" --seed-file="$dir/run/munged.seed" \
      --log-file="$dir/log/munged.log" || { show_logs; die "munged did not start"; }
  fi
  export SLURM_CONF=$dir/slurm.conf
  pid_of slurmctld >/dev/null || spawn slurmctld -f "$SLURM_CONF" ||
    { show_logs; die "slurmctld did not start"; }
  local node
  for node in $(nodes); do
    pid_of "slurmd-$node" >/dev/null || spawn slurmd -N "$node" -f "$SLURM_CONF" ||
      { show_logs; die "slurmd of $node did not start"; }
  done

  local deadline=$((SECONDS + START_SECONDS)) up=0
  until ((up == NODES)); do
    if ((SECONDS >= deadline)); then
      show_logs
      die "$up of $NODES nodes are up after $START_SECONDS s"
    fi
    sleep 0.3
    up=$(nodes_up) || true
  done
  # shellcheck disable=SC2016  # $PATH is for the shell that reads this
  printf 'export SLURM_CONF=%q\nexport PATH=%q:"$PATH"\n' "$SLURM_CONF" "$dir/bin"
}

end() { # end PID...: TERM, then KILL for what is still there at the time limit
  local pid deadline=$((SECONDS + STOP_SECONDS / 3))
  (($#)) || return 0
  kill -TERM "$@" 2>/dev/null || true
  for pid in "$@"; do
    while [[ -e /proc/$pid ]] && ((SECONDS < deadline)); do sleep 0.1; done
  done
  kill -KILL "$@" 2>/dev/null || true
}

stop() {
  [[ -d $dir ]] || return 0
  exec 9>"$dir/lock"
  flock -w "$INSTALL_SECONDS" 9 || die "another start or stop holds $dir/lock"
  local daemon pid pids
  if [[ -e $dir/slurm.conf ]] && pid_of slurmctld >/dev/null; then
    export SLURM_CONF=$dir/slurm.conf
    # Ask first: only SLURM can end a job together with everything that the job started.
    timeout 10 squeue --noheader --format=%A 2>/dev/null |
      timeout 10 xargs --no-run-if-empty scancel >&2 || true
    local deadline=$((SECONDS + STOP_SECONDS / 3))
    while [[ -n $(timeout 5 squeue --noheader 2>/dev/null) ]] && ((SECONDS < deadline)); do
      sleep 0.2
    done
  fi
  for daemon in $(nodes | sed 's/^/slurmd-/') slurmctld; do
    if pid=$(pid_of "$daemon"); then end "$pid"; fi
  done
  mapfile -t pids < <(pids_of_jobs)
  end "${pids[@]}"
  if pid=$(pid_of munged); then end "$pid"; fi
  # Jobs that could not be cancelled must not come back with the next start.
  rm -rf "${dir:?}"/{run,spool,state}/*
}

usage="usage: cluster.sh start|stop DIR"
[[ $# == 2 ]] || die "$usage"
dir=$(realpath -m -- "$2")
# The path goes unquoted into slurm.conf, and a socket's path has at most 107 bytes.
[[ $dir =~ ^/[A-Za-z0-9._/-]+$ && ${#dir} -le 80 ]] || die "DIR: short, plain letters: $dir"
case $1 in
  start) start ;;
  stop) stop ;;
  *) die "$usage" ;;
esac
