"""The kernel's target: what configfs holds of a lease, and that nothing else in there changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from kit.fake_lio import FakeLio
from kit.fakes import FakeRunner
from ramshare.linux.configfs import ConfigfsError
from ramshare.linux.disk_identity import disk_id
from ramshare.linux.lio import MODULES, Lio
from ramshare.linux.portal import Portal, PortalError
from ramshare.linux.target import Export, LunInfo, TargetBusyError, TargetInfo, TargetSession
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit

PORTAL = Portal.parse("10.0.0.1:3260")
IQN = target_of("hosta", "l1")
US = "iqn.2026-01.net.ramshare:borrower.hostb"
GROUP = f"iscsi/{IQN}/tpgt_1"
OWN = "iqn.2003-01.org.linux-iscsi.hosta:backup"


class Host:
    """A host whose kernel has LIO."""

    def __init__(self, directory: Path) -> None:
        self.kernel = FakeLio(directory / "target")
        self.runner = FakeRunner().on("modprobe", "*").on("mount", ...)
        self.modules = directory / "module"
        self.hindrance = ""
        self.image = directory / "l1.img"
        self.image.write_bytes(bytes(8192))
        self.lio = self.lender()
        self.lio.start()

    def lender(self, portal: Portal = PORTAL) -> Lio:
        return Lio(
            self.runner,
            portal,
            configfs=self.kernel,
            hindrance=lambda _portal: self.hindrance,
            modules=self.modules,
            mount_point=self.modules.parent,
        )

    def export(self, lease: str = "l1", tid: int = 5) -> Export:
        secret = "correct-horse-14"
        return Export(tid, target_of("hosta", lease), self.image, US, lease, secret, thin=True, serial=lease)

    def own_target(self) -> None:
        """What the host's owner serves by LIO, at the same address."""
        for group in ("core/fileio_0", "core/fileio_0/backup", f"iscsi/{OWN}", f"iscsi/{OWN}/tpgt_1"):
            self.kernel.make(group)
        self.kernel.make(f"iscsi/{OWN}/tpgt_1/np/{PORTAL}")
        self.kernel.make(f"iscsi/{OWN}/tpgt_1/acls/{US}")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_lease_has_one_initiator_with_its_secret_one_portal_and_a_name_of_its_own(host: Host) -> None:
    host.lio.export(host.export())
    read = host.kernel.read
    assert host.kernel.groups(f"{GROUP}/np") == ["10.0.0.1:3260"]
    assert host.kernel.groups(f"{GROUP}/acls") == [US]
    entry = f"{GROUP}/acls/{US}"
    assert (read(f"{entry}/auth/userid"), read(f"{entry}/auth/password")) == ("l1", "correct-horse-14")
    assert [read(f"{GROUP}/attrib/{name}") for name in ("authentication", "generate_node_acls")] == ["1", "0"]
    assert read(f"{GROUP}/enable") == "1"
    assert read("core/fileio_5/ramshare.hosta.l1/control") == f"fd_dev_name={host.image},fd_dev_size=8192"
    assert read("core/fileio_5/ramshare.hosta.l1/attrib/emulate_tpu") == "1"
    digits = disk_id(IQN)
    assert host.lio.show() == [
        TargetInfo(
            tid=5,
            iqn=IQN,
            luns=(LunInfo(0, str(host.image), digits[7:], scsi_id=digits),),
            initiators=(US,),
            accounts=("l1",),
        )
    ]


def test_nobody_is_let_in_before_all_is_made(host: Host) -> None:
    for at in ("vpd_unit_serial", "authentication", "auth/password", f"acls/{US}/lun_0", "np/10.0.0.1:3260"):
        host.kernel.fails_at = at
        with pytest.raises(ConfigfsError):
            host.lio.export(host.export())
        assert all(target.initiators == () for target in host.lio.show()), at
    host.kernel.fails_at = ""
    host.lio.export(host.export())
    assert host.lio.show()[0].initiators == (US,)


def test_exporting_twice_changes_nothing_and_another_secret_makes_it_anew(host: Host) -> None:
    host.lio.export(host.export())
    before = host.kernel.snapshot()
    host.kernel.fails_at = "enable"  # nothing may be switched off or on again
    host.lio.export(host.export())
    assert host.kernel.snapshot() == before
    host.kernel.fails_at = ""
    host.lio.export(replace(host.export(), secret="another-secret-1"))
    assert host.kernel.read(f"{GROUP}/acls/{US}/auth/password") == "another-secret-1"


def test_a_target_in_use_is_removed_by_force_only_and_leaves_nothing(host: Host) -> None:
    bare = host.kernel.snapshot()
    host.lio.export(host.export())
    host.kernel.login(IQN, US)
    assert host.lio.show()[0].sessions == (TargetSession(7, US, "10.0.0.2"),)
    with pytest.raises(TargetBusyError, match=r"borrower\.hostb"):
        host.lio.delete_target(IQN)
    host.lio.delete_target(IQN, force=True)
    assert host.kernel.snapshot() == bare
    host.lio.delete_target(IQN)


@pytest.mark.parametrize("at", ["control", "wwn/company_id", "tpgt_1", "lun_0", f"acls/{US}", "np/10.0.0.1:3260"])
def test_what_was_made_by_half_is_removed(host: Host, at: str) -> None:
    bare = host.kernel.snapshot()
    host.kernel.fails_at = at
    with pytest.raises(ConfigfsError):
        host.lio.export(host.export())
    host.kernel.fails_at = ""
    host.lio.delete_target(IQN)
    assert host.kernel.snapshot() == bare


def test_what_the_hosts_owner_serves_is_never_touched(host: Host) -> None:
    host.own_target()
    host.lio.export(host.export())
    before = host.kernel.snapshot(f"iscsi/{OWN}") | host.kernel.snapshot("core/fileio_0")
    assert [target.iqn for target in host.lio.show()] == [IQN]
    assert host.lio.numbers() == {0, 5}
    host.lio.delete_target(IQN)
    assert host.kernel.snapshot(f"iscsi/{OWN}") | host.kernel.snapshot("core/fileio_0") == before


def test_the_secret_is_not_in_what_a_failure_says(host: Host) -> None:
    host.lio.export(host.export())
    (host.kernel.root / GROUP / "acls" / US / "auth/password").unlink()
    with pytest.raises(ConfigfsError) as failed:
        host.lio.export(replace(host.export(), path=host.image, user="l2"))
        host.kernel.write(f"{GROUP}/acls/{US}/auth/secret", "correct-horse-14")
    assert "correct-horse" not in str(failed.value)


# Where it serves


def test_an_address_that_another_program_has_stops_it_and_one_of_lios_own_does_not(host: Host) -> None:
    host.hindrance = "another program listens at 10.0.0.1:3260"
    with pytest.raises(PortalError, match="another program"):
        host.lio.start()
    host.own_target()
    host.lio.start()
    assert host.lio.misplaced() == ""


def test_leases_at_an_address_from_before_are_told(host: Host) -> None:
    host.lio.export(host.export())
    moved = host.lender(Portal.parse("10.0.0.9:3260"))
    assert moved.misplaced() == "the target serves 10.0.0.1:3260, and it was told to serve 10.0.0.9:3260 only"


def test_modules_are_loaded_only_where_they_are_not(host: Host) -> None:
    assert [call for call in host.runner.calls if call[0] == "modprobe"][-3:] == [("modprobe", m) for m in MODULES]
    (host.modules / MODULES[0]).mkdir(parents=True)
    host.runner.calls.clear()
    host.lio.start()
    assert ("modprobe", MODULES[0]) not in host.runner.calls


def test_a_path_that_lio_cannot_be_told_is_refused_before_anything_is_made(host: Host) -> None:
    bare = host.kernel.snapshot()
    with pytest.raises(Exception, match="comma"):
        host.lio.export(replace(host.export(), path=Path("/run/a,b/l1.img")))
    assert host.kernel.snapshot() == bare
