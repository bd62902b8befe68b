"""A lab's VM as libvirt's domain XML: the same machine that `vm.qemu_argv` describes to QEMU itself. Pure.

The balloon is as libvirt sets it up by default: without `autodeflate`, and without statistics, which the lender must
ask for by itself.
"""

import sys
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from ramshare_lab.cluster.accel import KVM, TB_SIZE_MIB, TCG_CPU
from ramshare_lab.cluster.initramfs import NIC, P9_TAG
from ramshare_lab.cluster.kernel import Kernel
from ramshare_lab.cluster.vm_spec import STATE_TAG, DiskSpec, VmSpec, kernel_command_line

EMULATOR = "/usr/bin/qemu-system-x86_64"


def domain_xml(spec: VmSpec, kernel: Kernel, initramfs: Path, accel: str, python: str = sys.executable) -> str:
    """Return the domain of `spec`. Its name is the guest's, as its monitor reports it."""
    domain = Element("domain", type="kvm" if accel == KVM else "qemu")
    _add(domain, "name", spec.name)
    _add(domain, "memory", str(spec.memory_bytes), unit="b")
    _add(domain, "vcpu", str(spec.vcpus))
    system = _add(domain, "os")
    _add(system, "type", "hvm", arch="x86_64", machine="q35")
    _add(system, "kernel", str(kernel.image))
    _add(system, "initrd", str(initramfs))
    _add(system, "cmdline", kernel_command_line(spec, kernel, python))
    features = _add(domain, "features")
    _add(features, "acpi")
    if accel != KVM:
        _add(_add(features, "tcg"), "tb-cache", str(TB_SIZE_MIB), unit="MiB")
    _cpu(domain, accel)
    _add(domain, "on_reboot", "restart")
    devices = _add(domain, "devices")
    _add(devices, "emulator", EMULATOR)
    _add(devices, "controller", type="usb", model="none")
    _share(devices, Path("/"), P9_TAG, readonly=True)
    _share(devices, spec.persist_dir, STATE_TAG, readonly=False)
    network = _add(devices, "interface", type="ethernet")
    _add(network, "mac", address=spec.mac)
    _add(network, "target", dev=spec.tap, managed="no")
    _add(network, "model", type=NIC)
    _add(network, "rom", enabled="no")
    console = _add(devices, "serial", type="file")
    _add(console, "source", path=str(spec.console_log))
    if spec.disk is not None:
        _disk(devices, spec.disk)
    _add(devices, "memballoon", model="virtio")
    return tostring(domain, encoding="unicode")


def _cpu(domain: Element, accel: str) -> None:
    if accel == KVM:
        _add(domain, "cpu", mode="host-passthrough")
        return
    cpu = _add(domain, "cpu", mode="maximum")
    for word in TCG_CPU.split(",")[1:]:
        _add(cpu, "feature", policy="disable", name=word.lstrip("-"))


def _share(devices: Element, directory: Path, tag: str, *, readonly: bool) -> None:
    share = _add(devices, "filesystem", type="mount", accessmode="squash", multidevs="remap")
    _add(share, "source", dir=str(directory))
    _add(share, "target", dir=tag)
    if readonly:
        _add(share, "readonly")


def _disk(devices: Element, spec: DiskSpec) -> None:
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="raw", cache="unsafe", discard="unmap")
    _add(disk, "source", file=str(spec.path))
    _add(disk, "target", dev="vda", bus="virtio")
    limits = {"total_bytes_sec": spec.bytes_per_s, "total_iops_sec": spec.iops}
    if any(limits.values()):
        tune = _add(disk, "iotune")
        for name, limit in limits.items():
            if limit:
                _add(tune, name, str(limit))


def _add(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    child = SubElement(parent, tag, attributes)
    child.text = text or None
    return child
