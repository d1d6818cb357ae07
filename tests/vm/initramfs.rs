//! The file system that a machine begins with: an archive of cpio's `newc` kind (Linux, buffer-format.rst).

use std::fs;
use std::path::Path;

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Initramfs(Vec<u8>);

impl Initramfs {
    pub(crate) fn directory(&mut self, name: &str) {
        self.entry(name, 0o40_755, b"");
    }

    pub(crate) fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, 0o100_644, contents);
    }

    pub(crate) fn program(&mut self, name: &str, from: &Path) {
        self.entry(name, 0o100_755, &fs::read(from).expect("it is there"));
    }

    pub(crate) fn write(mut self, to: &Path) {
        self.entry("TRAILER!!!", 0, b"");
        fs::write(to, self.0).expect("there is room");
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.0.extend(b"070701");
        let (size, length) = (contents.len(), name.len() + 1);
        // Inode, mode, owner, group, links, time, size, device, device of its own, name, checksum.
        let mode = usize::try_from(mode).expect("it fits");
        for field in [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0] {
            self.0.extend(format!("{field:08x}").bytes());
        }
        self.0.extend(name.bytes().chain([0]));
        self.pad();
        self.0.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}
