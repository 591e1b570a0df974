//! Disks of a test's own, which may be broken: a small tmpfs and an ext4 in a file. Only root may mount them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXT4_BYTES: u64 = 64 << 20;
const LOOP_DEVICE: &str = "/dev/loop";

/// Whether a command succeeded; what it says is of no interest.
fn done(program: &str, arguments: &[&str]) -> bool {
    // Debian keeps most of them where only root looks.
    let search = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    let status = command.args(arguments).env("PATH", search).stdout(Stdio::null()).stderr(Stdio::null());
    status.status().is_ok_and(|status| status.success())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// 1 MiB of memory as a disk.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where it cannot be mounted.
    pub fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("the folder");
        done("mount", &["-t", "tmpfs", "-o", "size=1m", "tradebus-test", text(&at)]).then_some(Self(at))
    }

    pub fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).expect("the ballast");
        while std::io::Write::write_all(&mut ballast, &[0; 512]).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }

    /// Makes it read-only, or writable again. Nobody may have a file open for writing.
    pub fn read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        assert!(done("mount", &["-o", option, text(&self.0)]), "{option}");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        done("umount", &["-l", text(&self.0)]);
    }
}

/// ext4 in a file, on a loop device.
pub struct Ext4 {
    image: PathBuf,
    at: PathBuf,
}

impl Ext4 {
    /// `None` where it cannot be mounted. An error of the file system makes it read-only, as on most small boxes.
    pub fn mount(image: PathBuf, at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("the folder");
        File::create(&image).and_then(|file| file.set_len(EXT4_BYTES)).expect("the image");
        let disk = Self { image, at };
        let made = done("mkfs.ext4", &["-q", "-e", "remount-ro", text(&disk.image)]);
        (made && disk.mounted()).then_some(disk)
    }

    fn mounted(&self) -> bool {
        done("mount", &["-o", "loop", text(&self.image), text(&self.at)])
    }

    /// From now on every write waits, until the guard is gone; `None` where it cannot be.
    pub fn freeze(&self) -> Option<Frozen> {
        done("fsfreeze", &["-f", text(&self.at)]).then(|| Frozen(self.at.clone()))
    }

    /// The file system meets an error and turns read-only, for whoever has files open too. False where the kernel has
    /// no switch for that.
    pub fn break_down(&self) -> bool {
        let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let ours = mounts.find(|mount| mount[1] == text(&self.at)).expect("it is mounted");
        // Never another disk than the one that this test made.
        assert!(ours[0].starts_with(LOOP_DEVICE), "{ours:?}");
        let name = ours[0].strip_prefix("/dev/").expect("a device");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "test").is_ok()
    }

    /// Mounts it anew, writable: what a restart of the machine does. Nobody may use it.
    pub fn mend(&self) {
        assert!(done("umount", &[text(&self.at)]) && self.mounted(), "it is not mounted again");
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        done("umount", &["-l", text(&self.at)]);
    }
}

/// Thaws when it is dropped. Who waits for the disk cannot even be killed before.
pub struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        done("fsfreeze", &["-u", text(&self.0)]);
    }
}
