#!/bin/sh
# A Slurm of this machine with one node that counts as four CPUs, for tests: slurm.sh start FOLDER, slurm.sh stop
# FOLDER. Debian's packages are installed where they are missing; needs root.
#
# No accounting, no cgroups (proctrack/linuxproc), so that it runs in a container.
set -eu
command=$1
folder=$2
case $command in
start)
    command -v slurmctld > /dev/null && command -v slurmd > /dev/null && command -v munged > /dev/null || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
    } > /dev/null
    mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
    chmod 755 "$folder" "$folder/munge"
    host=$(hostname -s)
    cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/munge.socket
CryptoType=crypto/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
KillWait=5
MinJobAge=600
OverTimeLimit=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 2> /dev/null
    chmod 600 "$folder/munge/key"
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/munge.socket" \
        --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld -f "$folder/slurm.conf"
    slurmd -f "$folder/slurm.conf"
    for _ in $(seq 60); do
        sinfo -h -o %T 2> /dev/null | grep -q idle && exit 0
        sleep 1
    done
    echo "no idle node within a minute" >&2
    tail -n 20 "$folder/slurmctld.log" "$folder/slurmd.log" >&2
    exit 1
    ;;
stop)
    export SLURM_CONF="$folder/slurm.conf"
    scancel --user root 2> /dev/null || true
    # a step that cannot tell the controller of its end keeps its slurmd
    for _ in $(seq 30); do
        [ -z "$(squeue -h 2> /dev/null)" ] && break
        sleep 1
    done
    for pid in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
        [ -s "$pid" ] && kill "$(cat "$pid")" 2> /dev/null || true
    done
    pkill -f "slurmd -f $folder/slurm.conf" || true
    ;;
esac
