#!/bin/sh
# Process 1 of a guest inside the borrower's host: swap on its own disk, a heartbeat, and the microbenchmark.
# Sizes and paths come as ramshare.WORD=VALUE from the kernel command line (see uml.py); the root is the host's,
# read-only. The heartbeat `guest BOOT_ID UPTIME` shares the console with the microbenchmark's lines.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
# By its path: without /proc, busybox would run "itself" by /proc/self/exe, which on hostfs is the host's.
/bin/mount -t proc proc /proc
/bin/mount -t sysfs sysfs /sys

# A short queue: with the default one nearly all of so small a guest's memory can be on its way out at once, and the
# kernel, seeing nothing left to reclaim, ends the microbenchmark.
echo 8 > /sys/block/ubdb/queue/nr_requests
echo 32 > /sys/block/ubdb/queue/max_sectors_kb

word() {
    for item in $(cat /proc/cmdline); do
        case $item in "ramshare.$1="*) echo "${item#ramshare."$1"=}" ;; esac
    done
}

exec < /dev/console > /dev/console 2>&1
stty raw -echo
swapon /dev/ubdb || { echo "guest: no swap on its disk"; poweroff -f; }

while :; do
    read -r boot_id < /proc/sys/kernel/random/boot_id
    read -r uptime idle < /proc/uptime
    echo "guest $boot_id $uptime"
    sleep 1
done &

exec "$(word program)" --size "$(word size)"
