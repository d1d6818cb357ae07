//! Where we are: /proc/self/cgroup says in which cgroup of each hierarchy, /proc/self/mountinfo where a hierarchy can be seen
//! (proc(5), cgroups(7)). In a container both may begin somewhere below the machine's own root.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::super::proc;

/// Our cgroups, as far as they can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// In the hierarchy of version 2.
    pub(super) unified: Option<Seat>,
    /// In that of version 1 that counts memory.
    pub(super) memory: Option<Seat>,
}

/// One cgroup, and what can be seen above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// The highest directory that can be seen.
    top: PathBuf,
    /// What /proc calls it.
    pub(super) name: PathBuf,
}

/// A line of mountinfo that shows a hierarchy.
struct Mount {
    /// What of the hierarchy is shown.
    root: PathBuf,
    /// Where.
    at: PathBuf,
}

impl Place {
    /// Ours, now.
    pub(super) fn ours() -> Place {
        let read = |path| proc::file(path).unwrap_or_default();
        let cgroup = read("/proc/self/cgroup");
        // Without it nothing is to be looked for.
        if cgroup.is_empty() {
            Place::default()
        } else {
            Place::parse(&cgroup, &read("/proc/self/mountinfo"))
        }
    }

    pub(super) fn parse(cgroup: &[u8], mountinfo: &[u8]) -> Place {
        let unified = unified_name(cgroup)
            .and_then(|name| Seat::new(&name, mounts(mountinfo, |kind, _| kind == b"cgroup2")));
        let memory = memory_name(cgroup).and_then(|name| {
            let counts_memory = |kind: &[u8], options: &[u8]| {
                kind == b"cgroup" && options.split(|byte| *byte == b',').any(|option| option == b"memory")
            };
            Seat::new(&name, mounts(mountinfo, counts_memory))
        });
        Place { unified, memory }
    }
}

impl Seat {
    /// A cgroup of this name, where one of these mounts shows it.
    fn new(name: &Path, mut mounts: impl Iterator<Item = Mount>) -> Option<Seat> {
        mounts.find_map(|mount| {
            // One that was left from a namespace (`/../x`), or is no more (` (deleted)`), is below none.
            let below = name.strip_prefix(&mount.root).ok()?;
            let is_root = below == Path::new("");
            let directory = if is_root { mount.at.clone() } else { mount.at.join(below) };
            directory.is_dir().then(|| Seat { directory, top: mount.at, name: name.to_owned() })
        })
    }

    /// One above which nothing can be seen.
    #[cfg(test)]
    pub(super) fn top(directory: &Path) -> Seat {
        Seat { directory: directory.to_owned(), top: directory.to_owned(), name: PathBuf::from("/") }
    }

    /// Its directory, the one above, and so on to the highest that can be seen.
    pub(super) fn way_up(&self) -> impl Iterator<Item = &Path> {
        self.directory.ancestors().take_while(|directory| directory.starts_with(&self.top))
    }

    /// One below it.
    pub(super) fn below(&self, name: &str) -> Seat {
        Seat { directory: self.directory.join(name), top: self.top.clone(), name: self.name.join(name) }
    }

    /// The one above, where it can be seen.
    pub(super) fn above(&self) -> Option<Seat> {
        let directory = self.directory.parent().filter(|above| above.starts_with(&self.top))?.to_owned();
        Some(Seat { directory, top: self.top.clone(), name: self.name.parent()?.to_owned() })
    }
}

/// The cgroup of version 2 among those of a process.
pub(super) fn unified_name(cgroup: &[u8]) -> Option<PathBuf> {
    name(cgroup, <[u8]>::is_empty)
}

fn memory_name(cgroup: &[u8]) -> Option<PathBuf> {
    name(cgroup, |controllers| controllers.split(|byte| *byte == b',').any(|name| name == b"memory"))
}

/// The name behind `NUMBER:CONTROLLERS:`, for the line whose controllers these are.
fn name(cgroup: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<PathBuf> {
    cgroup.split(|byte| *byte == b'\n').find_map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (number, controllers, name) = (parts.next()?, parts.next()?, parts.next()?);
        // A named hierarchy without controllers is written `name=...`; only that of version 2 has number 0.
        let is_unified = number == b"0" && controllers.is_empty();
        (is_wanted(controllers) && (is_unified || !controllers.is_empty())).then(|| path(name.to_vec()))
    })
}

/// The mounts whose type and options of the super block are wanted.
fn mounts(mountinfo: &[u8], is_wanted: impl Fn(&[u8], &[u8]) -> bool) -> impl Iterator<Item = Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(move |line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let root = fields.nth(3)?;
        let at = fields.next()?;
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, _source, options) = (rest.next()?, rest.next()?, rest.next()?);
        is_wanted(kind, options).then(|| Mount { root: path(unescaped(root)), at: path(unescaped(at)) })
    })
}

/// Blanks, newlines and backslashes are written as three octal digits (proc(5)).
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'\\')
            .then(|| {
                after.get(..3).and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok())
            })
            .flatten();
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(mountinfo: &str, kind: &[u8]) -> Vec<(String, String)> {
        let mounts = mounts(mountinfo.as_bytes(), |found, _| found == kind);
        mounts.map(|mount| (mount.root.display().to_string(), mount.at.display().to_string())).collect()
    }

    #[test]
    fn the_hierarchies_of_each_version_are_told_apart() {
        let hybrid = b"9:name=systemd:/a\n4:cpuset,memory:/b:c\n0::/d\n";
        assert_eq!(unified_name(hybrid), Some(PathBuf::from("/d")));
        assert_eq!(memory_name(hybrid), Some(PathBuf::from("/b:c")));
        assert_eq!(unified_name(b"4:memory:/b\n1:name=systemd:/\n"), None);
        assert_eq!(memory_name(b"0::/d\n"), None);
    }

    #[test]
    fn a_mount_is_found_behind_optional_fields_and_escapes() {
        let mountinfo = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
                         42 31 0:39 /docker/\\040x /mnt/a\\134b rw shared:1 master:2 - cgroup2 none rw,nsdelegate\n\
                         43 31 0:40 / /proc rw - proc proc rw\n";
        let expected = [("/", "/sys/fs/cgroup/unified"), ("/docker/ x", "/mnt/a\\b")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(root, at)| ((*root).to_owned(), (*at).to_owned())).collect();
        assert_eq!(mounted(mountinfo, b"cgroup2"), expected);
    }

    #[test]
    fn in_a_container_the_name_begins_where_the_mount_does_or_is_not_to_be_found() {
        let seat = |name: &str, root: &str| {
            let mount = Mount { root: PathBuf::from(root), at: PathBuf::from("/proc/self") };
            Seat::new(Path::new(name), std::iter::once(mount)).map(|seat| seat.directory)
        };
        let at = |path: &str| Some(PathBuf::from(path));
        // Without a namespace of its own, with one, and further below.
        assert_eq!(seat("/docker/abc", "/docker/abc"), at("/proc/self"));
        assert_eq!(seat("/", "/"), at("/proc/self"));
        assert_eq!(seat("/docker/abc/task", "/docker/abc"), at("/proc/self/task"));
        // Another's, one outside our namespace, one that is gone.
        assert_eq!(seat("/docker/abc", "/docker/ab"), None);
        assert_eq!(seat("/../abc", "/"), None);
        assert_eq!(seat("/abc (deleted)", "/"), None);
    }

    #[test]
    fn the_way_up_ends_where_nothing_is_to_be_seen() {
        let seat = Seat {
            directory: PathBuf::from("/sys/fs/cgroup/a/b"),
            top: PathBuf::from("/sys/fs/cgroup"),
            name: PathBuf::from("/x/a/b"),
        };
        let way: Vec<&Path> = seat.way_up().collect();
        assert_eq!(way, ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(Path::new));
        let top = seat.above().and_then(|seat| seat.above()).expect("it can be seen");
        assert_eq!((top.name.as_path(), top.above()), (Path::new("/x"), None));
    }
}
