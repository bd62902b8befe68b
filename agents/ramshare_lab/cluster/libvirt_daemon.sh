#!/bin/sh
# A libvirtd of its own for one lab, with nothing of this machine's libvirt: process 1 of a PID namespace with mounts of
# its own (see libvirt_host.py), so that the daemon, and every guest that it starts, ends with this script.
# Usage: libvirt_daemon.sh DIRECTORY
# DIRECTORY/etc/libvirtd.conf says where its socket is. A libvirtd that ends is started again, as systemd would do;
# guests go on meanwhile.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
directory=$1

# Its directories are compiled in, except for the socket's.
for place in /run/libvirt /var/lib/libvirt /var/cache/libvirt /etc/libvirt; do
    mkdir -p "$place" "$directory/${place#/}"
    mount --bind "$directory/${place#/}" "$place"
done
# libvirtd does not start without this user, whom only the package of its system service makes.
for file in passwd:libvirt-qemu:x:64055:64055::/nonexistent:/bin/false group:libvirt-qemu:x:64055:; do
    name=${file%%:*}
    grep -q ^libvirt-qemu: "/etc/$name" && continue
    { cat "/etc/$name"; echo "${file#*:}"; } > "$directory/$name"
    mount --bind "$directory/$name" "/etc/$name"
done

while :; do
    libvirtd -f /etc/libvirt/libvirtd.conf -p "$directory/libvirtd.pid" || true
    echo "libvirtd has ended"
    sleep 1
done
