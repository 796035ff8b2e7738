//! The disk of the server is full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::load::{Fleet, Load, check};
use crate::support::{cluster, wait_for};

/// A small disk, which is gone with this.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// A disk of 32 MiB that the server may write; none if this user may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m,mode=1777", "none"])
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            let why = "skipped: a small disk can be mounted by root alone";
            writeln!(std::io::stderr(), "{why}").expect("somebody reads");
            return None;
        }
        // The server's user passes through it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(folder.path(), mode).unwrap();
        Some(Self { folder })
    }

    /// A folder on it that is the server's alone.
    fn folder(&self) -> PathBuf {
        let folder = self.folder.path().join("tables");
        hookbox_tools::cluster::make_folder(&folder);
        folder
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.folder.path().join("ballast");
        let (mut file, piece) = (File::create(&path).unwrap(), [0; 4096]);
        let full = (0..).find_map(|_| file.write_all(&piece).err()).unwrap();
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg(self.folder.path()).status();
        if !std::thread::panicking() {
            assert!(ended.is_ok_and(|status| status.success()), "the disk is gone");
        }
    }
}

/// Gives the database its tables on another disk. Its log stays where it was: a server that cannot
/// write that ends.
fn keep_tables_in(cluster: &hookbox_tools::cluster::Cluster, folder: &Path) {
    cluster.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()));
    cluster.sql("ALTER DATABASE postgres SET default_tablespace = 'small'");
}

#[test]
fn a_server_whose_disk_is_full_costs_503s_and_no_event_and_heals_when_there_is_room() {
    if hookbox_tools::cluster::programs().is_none() {
        assert!(cluster(&[]).is_none());
        return;
    }
    let Some(disk) = SmallDisk::mount() else { return };
    let Some(cluster) = cluster(&[]) else { return };
    keep_tables_in(&cluster, &disk.folder());
    let mut fleet = Fleet::start(&cluster, 2);
    let load = Load::start(&fleet, 2);
    for _ in 0..3 {
        load.after(30);
        let ballast = disk.fill();
        let before = load.journal().refused;
        wait_for("refusals", || (load.journal().refused >= before + 10).then_some(()));
        fs::remove_file(ballast).unwrap();
        load.after(30);
        load.check(&cluster);
    }
    let journal = load.stop();
    fleet.all_live();
    let dead = fleet.finish();
    check(&cluster, &journal.acknowledged);
    assert_eq!(dead, 0, "nothing is condemned because a disk was full");
    println!("{} acknowledged, {} refused", journal.acknowledged.len(), journal.refused);
    fleet.stop();
}
