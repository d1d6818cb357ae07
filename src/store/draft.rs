//! Making a release: from the files that are there now to one that stays.

use std::path::{Path, PathBuf};

use super::build::Excluded;
use super::git::{self, Checkout};
use super::kept::{self, BUILD_LIST, Build, CONFIG, Files, Kept, PROCFILE, Record, SPECS};
use super::place::SCHEMA;
use super::{Place, Store, Trouble, Writer, copying};
use crate::app::{self, Diagnostic, Diagnostics, Inputs, Material, Place as Where, did_you_mean};

/// What a release is to be made of.
#[derive(Clone, Default)]
pub struct Draft {
    /// What leads to the Procfile, the spec and the config.
    pub inputs: Inputs,
    /// `--build`: a directory, or the build of an earlier release; none: the directory the processes would run in.
    pub build: Option<PathBuf>,
    /// Whether the build is copied.
    pub copying: Copying,
    /// Whether a build that is not as committed will do.
    pub tidiness: Tidiness,
    /// `--capture`: variables of the environment that belong to the config.
    pub captured: Vec<String>,
    /// Why.
    pub message: Option<String>,
}

/// Whether a build is copied into the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copying {
    /// It is: nobody else touches the copy.
    #[default]
    Copied,
    /// It stays where it is, for who has a directory for each build; it has to be a commit.
    InPlace,
}

/// Whether a build has to be as committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tidiness {
    /// Any will do.
    #[default]
    Any,
    /// It has to be a commit, and nothing else: `--require-clean`.
    Clean,
}

/// A release that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The release.
    pub kept: Kept,
    /// Sockets, fifos and devices that are not in the copy of its build.
    pub skipped: Vec<PathBuf>,
}

impl Store {
    /// Makes a release. Everything is planned before anything is written.
    ///
    /// # Errors
    /// What is wrong with the files, as `check` would say it; the build is not what was asked for; it cannot be written.
    pub fn create(place: &Place, draft: &Draft) -> Result<Created, Trouble> {
        let (inputs, earlier) = match &draft.build {
            None => (draft.inputs.clone(), None),
            Some(build) => choose(place, draft, build)?,
        };
        let material = app::material(&inputs, &draft.captured)?;
        let mut files = read(&material)?;
        // What was planned is what is kept.
        if read(&app::material(&inputs, &draft.captured)?)? != files {
            let error = Diagnostic::new(
                Where::File(material.procfile),
                "the files were changed while they were read",
            );
            return Err(error.with_help("wait until whoever does that is done, and try again").into());
        }
        let root = real(&material.release.root)?;
        let passed_over = [material.env_files.as_slice(), std::slice::from_ref(&place.directory)].concat();
        let passed_over: Vec<PathBuf> =
            passed_over.iter().filter_map(|path| path.canonicalize().ok()).collect();
        if earlier.is_none() {
            check(draft, &root, &passed_over)?;
        }
        let store = Store::open_or_create(place)?;
        let writer = store.write()?;
        let (build, skipped) = match earlier {
            Some((build, list)) => {
                files.extend(list.map(|list| (BUILD_LIST.to_owned(), list)));
                (build, Vec::new())
            }
            None => match draft.copying {
                Copying::InPlace => (in_place(&root)?, Vec::new()),
                Copying::Copied => copied(&store, &writer, &root, passed_over, &mut files)?,
            },
        };
        let record = Record {
            schema: SCHEMA,
            number: store.next(&writer)?,
            id: String::new(),
            created: kept::now(),
            by: kept::by(),
            message: draft.message.clone().filter(|message| !message.is_empty()),
            build,
            procfile: kept::name_of(&material.procfile),
            spec: material.spec.as_deref().map(kept::name_of),
            config: material.config.iter().map(|(name, _)| name.clone()).collect(),
            copy_of: None,
        };
        let kept = kept::add(&store, &writer, record, files)?;
        Ok(Created { kept, skipped })
    }

    /// The build of an earlier release: its id, the beginning of it, or the release's number.
    fn find_build(&self, name: &str) -> Result<Kept, Trouble> {
        if let Ok(kept) = self.load(name) {
            return Ok(kept);
        }
        let kept = self.list()?.kept;
        let begins = |kept: &&Kept| kept.record.build.id.starts_with(name) && !name.is_empty();
        let mut found: Vec<&Kept> = kept.iter().filter(begins).collect();
        let exactly = |kept: &&Kept| kept.record.build.id == name;
        if found.iter().any(exactly) {
            found.retain(exactly);
        }
        let first = found.first().map(|kept| &kept.record.build.digest);
        let error = match first {
            Some(digest) if found.iter().all(|kept| kept.record.build.digest == *digest) => {
                // The newest: equal builds may have been kept twice, where the first was changed.
                return Ok(found[found.len() - 1].clone());
            }
            Some(_) => {
                let numbers: Vec<String> = found.iter().map(|kept| format!("`{}`", kept.number())).collect();
                Diagnostic::new(Where::Arguments, format!("`--build {name}` may be several builds"))
                    .with_help(format!("name one by its release: {}", numbers.join(", ")))
            }
            None => {
                let mut ids: Vec<&str> = kept.iter().map(|kept| kept.record.build.id.as_str()).collect();
                ids.dedup();
                Diagnostic::new(
                    Where::Arguments,
                    format!("`--build {name}`: there is no such directory and no such build"),
                )
                .with_help(did_you_mean(name, "the builds are", ids))
            }
        };
        Err(error.into())
    }
}

type Earlier = Option<(Build, Option<Vec<u8>>)>;

/// A directory that is there, else a build of an earlier release.
fn choose(place: &Place, draft: &Draft, build: &Path) -> Result<(Inputs, Earlier), Trouble> {
    let inputs = |root: PathBuf| {
        // Without `-f` the Procfile stays where it was looked for: the directory of a build is not the app's.
        let procfile = draft.inputs.locate();
        Inputs { root: Some(root), procfile: Some(absolute(procfile)), ..draft.inputs.clone() }
    };
    let named = build.to_str().filter(|name| !name.contains('/') && *name != "." && *name != "..");
    let number = named.is_some_and(|name| name.parse::<super::Number>().is_ok());
    let directory =
        std::path::absolute(draft.inputs.directory.join(build)).map_err(Trouble::system("find", build))?;
    match named {
        Some(name) if number || !directory.is_dir() => {
            if draft.copying == Copying::InPlace {
                let error = Diagnostic::new(Where::Arguments, format!("`--in-place` and `--build {name}`"));
                return Err(error
                    .with_help("where an earlier build is, is known: leave `--in-place` out")
                    .into());
            }
            let store = Store::open(place)?;
            let kept = store.find_build(name)?;
            if draft.tidiness == Tidiness::Clean
                && (kept.record.build.id.contains("-dirty") || kept.record.build.id.starts_with(FILES))
            {
                return Err(untidy(&format!("build {} is no commit", kept.record.build.id)));
            }
            store.examine(&kept)?;
            let list = kept.build_list().map(<[u8]>::to_vec);
            Ok((inputs(store.root(&kept.record.build)), Some((kept.record.build, list))))
        }
        Some(_) | None => Ok((inputs(directory), None)),
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The bytes of the Procfile, the spec and the config.
fn read(material: &Material) -> Result<Files, Trouble> {
    let bytes = |path: &Path| std::fs::read(path).map_err(Trouble::system("read", path));
    let mut files = Files::from([
        (PROCFILE.to_owned(), bytes(&material.procfile)?),
        (CONFIG.to_owned(), app::write_env_file(&material.config)),
    ]);
    if let Some(spec) = &material.spec {
        // It is read by its name.
        let [ours, herokus] = SPECS;
        let name = if kept::name_of(spec) == herokus { herokus } else { ours };
        files.insert(name.to_owned(), bytes(spec)?);
    }
    Ok(files)
}

fn real(root: &Path) -> Result<PathBuf, Trouble> {
    let real = root.canonicalize().map_err(Trouble::system("find", root))?;
    if real == Path::new("/") {
        let error = Diagnostic::new(Where::File(real), "the whole file system is no build");
        return Err(error.with_help("name the directory of the code with `--build DIR`").into());
    }
    Ok(real)
}

/// Before anything is written: is it the build that was asked for?
fn check(draft: &Draft, root: &Path, passed_over: &[PathBuf]) -> Result<(), Trouble> {
    let why = match (draft.copying, draft.tidiness) {
        (Copying::Copied, Tidiness::Any) => return Ok(()),
        (Copying::InPlace, _) => "`--in-place`",
        (Copying::Copied, Tidiness::Clean) => "`--require-clean`",
    };
    // A build that stays where it is has nothing passed over when it is started.
    let passed_over = if draft.copying == Copying::InPlace { &[] } else { passed_over };
    match git::checkout(root, passed_over) {
        Ok(Checkout { dirty: false, .. }) => Ok(()),
        Ok(Checkout { dirty: true, .. }) => {
            Err(untidy(&format!("{why}: something in {} is not as committed", root.display())))
        }
        Err(reason) => Err(untidy(&format!("{why}: {}: {reason}", root.display()))),
    }
}

fn untidy(reason: &str) -> Trouble {
    let error = Diagnostic::new(Where::Arguments, reason);
    Diagnostics::from(error.with_help("commit it (`git status` shows what is not), or leave the flag out"))
        .into()
}

fn in_place(root: &Path) -> Result<Build, Trouble> {
    if root.to_str().is_none() {
        let error = Diagnostic::new(Where::File(root.to_owned()), "the path is not UTF-8");
        return Err(error.with_help("leave `--in-place` out, or rename it").into());
    }
    match git::checkout(root, &[]) {
        Ok(Checkout { commit, dirty: false }) => {
            let id = format!("{}-in-place", short(&commit));
            Ok(Build { id, digest: commit, directory: root.to_owned() })
        }
        Ok(_) | Err(_) => Err(Trouble::Gone(format!("{} was changed meanwhile", root.display()))),
    }
}

fn copied(
    store: &Store,
    writer: &Writer,
    root: &Path,
    mut passed_over: Vec<PathBuf>,
    files: &mut Files,
) -> Result<(Build, Vec<PathBuf>), Trouble> {
    // It may have been made just now.
    passed_over.extend(store.directory.canonicalize().ok());
    let before = git::checkout(root, &passed_over);
    let copied = copying::copy(store, writer, root, &Excluded::new(&passed_over))?;
    let digest = copied.list.digest();
    let id = match &before {
        Err(_) => format!("{FILES}{}", short(&digest)),
        Ok(checkout) if git::checkout(root, &passed_over).as_ref() != Ok(checkout) => {
            let error = Diagnostic::new(Where::File(root.to_owned()), "it was changed while it was copied");
            return Err(error.with_help("wait until whoever does that is done, and try again").into());
        }
        Ok(Checkout { commit, dirty: false }) => short(commit).to_owned(),
        Ok(Checkout { commit, dirty: true }) => {
            /// Enough to tell one dirty tree from another.
            const PIECE: usize = 8;
            format!("{}-dirty-{}", short(commit), &digest[..PIECE])
        }
    };
    files.insert(BUILD_LIST.to_owned(), copied.list.text);
    Ok((Build { id, digest, directory: copied.directory }, copied.list.skipped))
}

/// How ids begin that are a hash of files.
const FILES: &str = "files-";

/// Of a commit, or of a hash: short enough to read, long enough for a large repository.
fn short(name: &str) -> &str {
    name.get(..12).unwrap_or(name)
}
