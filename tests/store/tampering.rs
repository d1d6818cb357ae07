//! Nothing can change a release unnoticed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use supervise::store::{Store, Trouble};

use crate::rig::{Rig, SECRET};

const FILES: [&str; 5] = ["release.json", "Procfile", "supervise.yml", "config.env", "build.list"];

fn release(rig: &Rig, number: &str) -> PathBuf {
    rig.state().join("releases").join(number)
}

/// What is said of a release that is not as it was made: its number, and no value.
fn refusal(store: &Store, number: &str) -> String {
    match store.load(number) {
        Ok(kept) => panic!("{number} is taken for whole: {kept:?}"),
        Err(trouble) => {
            let said = format!("{trouble}\n{trouble:?}");
            assert!(!said.contains(SECRET), "{said}");
            assert!(said.contains(number), "{said}");
            assert_eq!(trouble.code(), 1, "{said}");
            said
        }
    }
}

/// Tries one change of a file, and undoes it.
fn tried(rig: &Rig, file: &Path, changed: &[u8]) -> String {
    let before = fs::read(file).expect("it is there");
    fs::write(file, changed).expect("it is ours");
    let said = refusal(&rig.store(), "v1");
    fs::write(file, before).expect("it is ours");
    rig.store().load("v1").expect("it is as it was");
    said
}

#[test]
fn every_field_of_the_record_is_sealed() {
    let rig = Rig::new();
    rig.create();
    let file = release(&rig, "v1").join("release.json");
    let text = fs::read_to_string(&file).expect("it is there");
    let lines: Vec<&str> = text.lines().collect();
    let mut fields = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(": ")) {
        let (name, value) = line.split_once(": ").expect("it has one");
        let other = match value.trim_end_matches(',') {
            "null" => "\"v9\"",
            "[" | "{" => continue,
            number if number.parse::<u32>().is_ok() => "7",
            _ => "\"other\"",
        };
        let comma = if value.ends_with(',') { "," } else { "" };
        let mut changed = lines.clone();
        let line = format!("{name}: {other}{comma}");
        changed[at] = &line;
        tried(&rig, &file, format!("{}\n", changed.join("\n")).as_bytes());
        fields += 1;
    }
    assert!(fields >= 11, "{text}");
    tried(&rig, &file, text.replace("\"OTHER\"", "\"ANOTHER\"").as_bytes());
    tried(&rig, &file, text.replacen('{', "{\n  \"more\": 1,", 1).as_bytes());
    tried(&rig, &file, format!("{text} ").as_bytes());
}

#[test]
fn a_file_that_is_cut_gone_added_or_of_another_kind_is_noticed() {
    let rig = Rig::new();
    rig.create();
    for name in FILES {
        let file = release(&rig, "v1").join(name);
        let whole = fs::read(&file).expect("it is there");
        for length in (0..whole.len()).step_by(7) {
            tried(&rig, &file, &whole[..length]);
        }
        let aside = rig.directory.join("aside");
        fs::rename(&file, &aside).expect("it is ours");
        refusal(&rig.store(), "v1");
        symlink(&aside, &file).expect("it is ours");
        // Where it would lead is nobody's business.
        assert!(rig.store().load("v1").is_err(), "{name}");
        fs::remove_file(&file).expect("it is ours");
        fs::rename(&aside, &file).expect("it is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o622)).expect("it is ours");
        assert!(rig.store().load("v1").unwrap_err().to_string().contains("others may write to it"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    rig.store().load("v1").expect("it is as it was");
    fs::write(release(&rig, "v1").join("app.json"), "{}").expect("it is ours");
    refusal(&rig.store(), "v1");
    fs::rename(release(&rig, "v1").join("app.json"), release(&rig, "v1").join("notes")).expect("it is ours");
    assert!(refusal(&rig.store(), "v1").contains("notes"));
}

#[test]
fn what_belongs_to_another_release_or_another_store_is_noticed() {
    let rig = Rig::new();
    rig.create();
    rig.file(".env", "SECRET=another\n");
    rig.create();
    for name in FILES {
        let other = fs::read(release(&rig, "v2").join(name)).expect("it is there");
        let file = release(&rig, "v1").join(name);
        if fs::read(&file).expect("it is there") != other {
            tried(&rig, &file, &other);
        }
    }
    let (one, two, aside) = (release(&rig, "v1"), release(&rig, "v2"), rig.state().join("aside"));
    fs::rename(&one, &aside).expect("it is ours");
    fs::rename(&two, &one).expect("it is ours");
    fs::rename(&aside, &two).expect("it is ours");
    assert!(refusal(&rig.store(), "v1").contains("it is v2 in another place"));
    // Another key, as another store has.
    let listing = rig.store().list().expect("it can be read");
    assert_eq!((listing.kept.len(), listing.damaged.len()), (0, 2));
    let file = rig.state().join("store.json");
    let text = fs::read_to_string(&file).expect("it is there");
    let key = text.split("\"key\": \"").nth(1).expect("there is one").split('"').next().expect("it ends");
    fs::write(&file, text.replace(key, &key.chars().rev().collect::<String>())).expect("it is ours");
    refusal(&rig.store(), "v1");
    fs::write(&file, "{").expect("it is ours");
    let place = Store::place(&rig.inputs(), Some(&rig.state())).expect("it is named");
    let trouble = Store::open(&place).unwrap_err();
    assert!(matches!(trouble, Trouble::Broken(..)), "{trouble}");
}

#[test]
fn files_of_a_build_that_were_changed_are_named_and_new_ones_are_the_apps_own() {
    let rig = Rig::new();
    rig.file("lib/gone", "");
    rig.file("lib/mode", "");
    let kept = rig.create().kept;
    let store = rig.store();
    let root = store.root(&kept.record.build);
    fs::write(root.join("new"), "x").expect("it is ours");
    assert!(store.examine(&kept).expect("it is there").is_empty());
    fs::write(root.join("lib/code"), "x").expect("it is ours");
    fs::remove_file(root.join("lib/gone")).expect("it is ours");
    fs::set_permissions(root.join("lib/mode"), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let altered = store.examine(&kept).expect("it is there");
    assert_eq!(altered, ["lib/code", "lib/gone", "lib/mode"].map(PathBuf::from));
    // Nor is it taken for what it was when that is to be kept once more.
    let again = rig.create().kept;
    assert_eq!(again.record.id, kept.record.id);
    assert!(store.examine(&again).expect("it is there").is_empty());
    fs::remove_dir_all(&root).expect("it is ours");
    assert!(store.examine(&kept).unwrap_err().to_string().contains("the build of v1 is gone"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_of_any_file_can_be_another(flips in prop::collection::vec((0..FILES.len(), any::<usize>(), 1..=255_u8), 40)) {
        let rig = Rig::new();
        rig.create();
        for (index, at, flip) in flips {
            let file = release(&rig, "v1").join(FILES[index]);
            let mut bytes = fs::read(&file).expect("it is there");
            let at = at % bytes.len();
            bytes[at] ^= flip;
            tried(&rig, &file, &bytes);
        }
    }
}
