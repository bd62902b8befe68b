#!/bin/sh
# On the borrower's host: hand a swap volume to a guest and become that guest (User-Mode Linux, see uml.py).
# Usage: guest_boot.sh VOLUME MEMORY_BYTES LIMIT_BYTES COMMAND...
# The guest's memory is a file on a RAM file system. Its disk goes through this host's page cache, which would hide the
# volume's speed and place; the control group's limit leaves that cache little room, as direct I/O would none.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
volume=$1 memory=$2 limit=$3
shift 3

# Two kernels on one swap volume would overwrite each other's pages.
if swapon --noheadings --show=NAME | xargs -r readlink -f | grep -qx "$(readlink -f "$volume")"; then
    swapoff "$volume"
fi
export TMPDIR=/run/guest
mkdir -p $TMPDIR
mountpoint -q $TMPDIR || mount -t tmpfs -o "mode=700,size=$((memory + 16777216))" guest $TMPDIR
group=/sys/fs/cgroup/guest
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p $group
echo "$limit" > $group/memory.max
echo $$ > $group/cgroup.procs
exec "$@"
