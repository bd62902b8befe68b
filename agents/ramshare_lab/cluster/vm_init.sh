#!/bin/sh
# Process 1 of a lab VM after the initramfs: make the machine's own root, seen through an overlay, into a host.
# Its role and sizes come as ramshare.WORD=VALUE from the kernel command line (see vm_spec.py); it ends by running the
# command server for ever, and reaps what others leave behind.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=1

read -r cmdline < /proc/cmdline
word() { for item in $cmdline; do case $item in "ramshare.$1="*) echo "${item#*=}" ;; esac; done; }

# What survives a reset, as a disk with a root file system would: agents' state, logs, LVM's backups.
mkdir -p /var/lib/ramshare
if ! mountpoint -q /var/lib/ramshare; then
    mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=65536 state /var/lib/ramshare
fi
name=$(word name)
echo "$name" > /proc/sys/kernel/hostname
echo "127.0.0.1 localhost $name" > /etc/hosts
mkdir -p /lib/modules
mountpoint -q /lib/modules || mount --bind "$(word tree)/lib/modules" /lib/modules

# A host that systemd runs, see systemd_host.py: what makes it one lies in that directory.
if [ -d /var/lib/ramshare/systemd ]; then
    # Nothing that is enabled on the machine around.
    mount -t tmpfs -o size=1m units /etc/systemd/system
    cp -R /var/lib/ramshare/systemd/. /
    # Or systemd takes the VM for the container that the machine around may be, and leaves things undone.
    rm -f /.dockerenv
    exec /lib/systemd/systemd
fi

# A borrower's own processes, this one first, are never swapped out: they would die with a lender in move mode. Memory
# belongs to the group in which it was first touched, so this one starts over in there.
if [ "$(word role)" = borrower ] && [ ! -d /sys/fs/cgroup/system ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    echo +memory > /sys/fs/cgroup/cgroup.subtree_control
    mkdir /sys/fs/cgroup/system && echo 0 > /sys/fs/cgroup/system/memory.swap.max && echo $$ > /sys/fs/cgroup/system/cgroup.procs
    exec sh "$0"
fi

mount -t tmpfs -o mode=755,size=16m run /run
mkdir -p /run/lock /run/lvm
mkdir -p /dev/pts /dev/shm && mount -t devpts devpts /dev/pts && mount -t tmpfs -o size=16m shm /dev/shm
mkdir -p /var/lib/ramshare/log /var/lib/ramshare/lvm/backup /var/lib/ramshare/lvm/archive

borrower() {
    # What LVM and iscsiadm read must never be swapped out: the overlay is a tmpfs, a ramfs stays in memory.
    mount -t ramfs lvm /etc/lvm
    mkdir -p /etc/lvm/backup /etc/lvm/archive /etc/iscsi
    mount --bind /var/lib/ramshare/lvm/backup /etc/lvm/backup
    mount --bind /var/lib/ramshare/lvm/archive /etc/lvm/archive
    for old in /etc/iscsi/nodes /etc/iscsi/send_targets /var/lib/iscsi; do
        mkdir -p "$old" && mount -t ramfs nodes "$old"
    done
    cat > /etc/lvm/lvm.conf <<CONF
devices {
    filter = [ "a|^/dev/vd[a-z]\$|", "a|^/dev/sd[a-z]+\$|", "a|^/dev/mapper/ramshare-|", "a|^/dev/(ram|nbd)[0-9]+\$|", "a|^/dev/nvme[0-9]+n[0-9]+\$|", "r|.*|" ]
    global_filter = [ "a|^/dev/vd[a-z]\$|", "a|^/dev/sd[a-z]+\$|", "a|^/dev/mapper/ramshare-|", "a|^/dev/(ram|nbd)[0-9]+\$|", "a|^/dev/nvme[0-9]+n[0-9]+\$|", "r|.*|" ]
    use_devicesfile = 0
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
    issue_discards = 1
}
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 event_activation = 0 }
CONF
    echo "InitiatorName=iqn.2024-01.org.ramshare:$(word lab).$name" > /etc/iscsi/initiatorname.iscsi
    iscsid

    vg=vg0
    # A disk that appears only after the groups were activated; whoever put the file there binds it again.
    if [ -e /var/lib/ramshare/late_disk ]; then
        basename "$(readlink -f /sys/block/vdb/device)" > /sys/bus/virtio/drivers/virtio_blk/unbind
    fi
    # A physical volume's label stands in its second sector. One lvm process for all: each start costs a second here.
    if [ "$(dd if=/dev/vda bs=512 skip=1 count=1 2> /dev/null | head -c 8)" = LABELONE ]; then
        # A mirror without its remote leg comes up, a volume whose pages lay elsewhere does not: that is the agent's work.
        vgchange -q -ay "$vg"
    else
        lvm <<LVM
vgcreate -q $vg /dev/vda
lvcreate -q -y -W n -Z n -L $(word swap_kib)k -n swap $vg
LVM
        mkswap "/dev/$vg/swap"
    fi
    rotational=$(word rotational)
    for disk in /sys/block/vda /sys/block/dm-*; do echo "${rotational:-1}" > "$disk/queue/rotational"; done
    swap="/dev/$vg/swap"
    if [ -b "$swap" ]; then
        if [ "$(word swap_queue)" = 1 ]; then
            swap=$(losetup --find --show --direct-io=on "$swap")
            echo "${rotational:-1}" > "/sys/block/${swap#/dev/}/queue/rotational"
        fi
        swapon "$swap"
    fi

    # The RAM disk of the ceiling measurement is full from the start, so the memory left is the same in every phase.
    if [ -b /dev/ram0 ]; then blkdiscard --zeroout --step 16M /dev/ram0; fi
}

guest() {
    # A swap disk of its own, so that one can see whether it had to use it.
    if [ "$(word swap_kib)" -gt 0 ]; then
        echo "$(word rotational)" > /sys/block/vda/queue/rotational
        mkswap /dev/vda && swapon /dev/vda
    fi
}

case $(word role) in borrower) borrower ;; guest) guest ;; esac

echo "ramshare: $name is up after $(cut -d ' ' -f 1 /proc/uptime) s"
while :; do
    # What the command server starts may be swapped out.
    sh -c '[ ! -d /sys/fs/cgroup/system ] || echo $$ > /sys/fs/cgroup/cgroup.procs; exec "$@"' sh \
        "$(word python)" -I -S "$(word agent)"
    sleep 1
done
