//! From files, arguments and environment to a release, as a user meets it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::ports::Ports;
use super::{Expansion, Identity, Inputs, Release, Restart, Selection, Stronger, plan, plan_one_off};

/// A directory with files, and what the user says about them.
pub(super) struct Project {
    pub(super) directory: PathBuf,
    pub(super) inputs: Inputs,
}

impl Project {
    pub(super) fn new(procfile: &str) -> Project {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("supervise-plan-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a temporary directory can be made");
        let directory = directory.canonicalize().expect("it is there");
        let inputs = Inputs { directory: directory.clone(), ..Inputs::default() };
        Project { directory, inputs }.file("Procfile", procfile)
    }

    pub(super) fn file(self, name: &str, text: &str) -> Project {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("which can be made");
        fs::write(path, text).expect("our own directory can be written to");
        self
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Project {
        self.inputs.environment.push((name.into(), value.into()));
        self
    }

    pub(super) fn arguments(mut self, arguments: &[&str]) -> Project {
        self.inputs.formation = arguments.iter().copied().map(str::to_owned).collect();
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Inputs)) -> Project {
        change(&mut self.inputs);
        self
    }

    pub(super) fn release(&self) -> Release {
        plan(&self.inputs).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The text of all errors, with the project's own directory taken out.
    pub(super) fn errors(&self) -> String {
        let errors = plan(&self.inputs).expect_err("something is wrong").to_string();
        errors.replace(&format!("{}/", self.directory.display()), "")
    }

    fn remarks(&self) -> Vec<String> {
        let prefix = format!("{}/", self.directory.display());
        self.release().remarks.iter().map(|notice| notice.to_string().replace(&prefix, "")).collect()
    }

    /// One variable of slot 1 of a type.
    fn value(&self, process_type: &str, name: &str) -> Option<String> {
        let release = self.release();
        let found = release.process_type(process_type).expect("the type is there");
        let environment = release.environment_of(found, 1, "i1");
        environment.get(name).map(|variable| variable.value.to_string_lossy().into_owned())
    }

    /// `web=5000 worker=5100`: the first PORT of each type that runs.
    fn ports(&self) -> String {
        let release = self.release();
        let ports = release
            .types
            .iter()
            .filter_map(|found| Some(format!("{}={}", found.name, found.port_of(found.quantity.min(1))?)));
        ports.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A directory in /tmp that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

const TWO: &str = "web: a\nworker: b\n";
const THREE: &str = "web: a\nworker: b\nbeat: c\n";

#[test]
fn t1_t2_everything_runs_once_or_only_what_is_named() {
    let project = Project::new("echo: echo echoing\nenv: sh -c 'echo $FOO'\ntest: echo testing\n")
        .file(".env", "FOO=bar");
    assert_eq!(project.remarks()[0], "formation: echo=1 env=1 test=1");
    assert_eq!(project.value("env", "FOO").as_deref(), Some("bar"));
    assert_eq!(project.arguments(&["env"]).remarks()[0], "formation: env=1");
}

#[test]
fn t3_an_instance_gets_what_names_it() {
    let project = Project::new(TWO).variable("PWD", "/elsewhere").variable("SUPERVISE_SLOT", "9");
    let release = project.release();
    let worker = release.process_type("worker").expect("it is there");
    let environment = release.environment_of(worker, 3, "i-7");
    let all: Vec<String> = environment
        .iter()
        .map(|(name, found)| format!("{}={}", name.display(), found.value.display()))
        .collect();
    assert_eq!(
        all,
        [
            "PORT=5102",
            "PS=worker.3",
            &format!("PWD={}", project.directory.display()),
            "SUPERVISE_INSTANCE=i-7",
            "SUPERVISE_RELEASE_ID=dev",
            "SUPERVISE_SLOT=3",
            "SUPERVISE_TYPE=worker",
        ]
    );
    assert!(!format!("{release:?}").contains("elsewhere"), "debugging shows no value");
}

#[test]
fn t7_an_env_file_may_name_the_procfile_unless_a_flag_does() {
    let project = Project::new("web: a").file("Procfile.dev", "dev: b").file(".env", "PROCFILE=Procfile.dev");
    assert_eq!(project.remarks()[0], "formation: dev=1");
    let project = project.variable("PROCFILE", "Procfile.prod");
    let errors = project.errors();
    assert!(
        errors.contains("Procfile.prod: there is no such") && errors.contains("(environment)"),
        "{errors}"
    );
    let project = project.with(|inputs| inputs.stronger = Stronger::Files);
    assert_eq!(project.remarks()[0], "formation: dev=1");
    let project = project.with(|inputs| inputs.procfile = Some("Procfile".into()));
    assert_eq!(project.remarks()[0], "formation: web=1");
    let project = Project::new("web: a").file(".env", "A=1\nPROCFILE=nosuch");
    assert!(project.errors().contains(".env:2); `-f FILE` is stronger"), "{}", project.errors());
    let project = Project::new("web: a").variable("PROCFILE", "nosuch");
    assert_eq!(project.remarks()[0], "formation: web=1", "no env file speaks of it");
}

#[test]
fn t10_to_t15_ports_follow_the_flag_the_environment_and_the_files_in_this_order() {
    let three = || Project::new("a: x\nweb: y\nc: z\n");
    assert_eq!(three().ports(), "a=5000 web=5100 c=5200", "T13: nothing says a port");
    assert_eq!(
        three().variable("PORT", "4000").ports(),
        "a=4100 web=4000 c=4200",
        "T10: the platform's port is web's"
    );
    assert_eq!(three().file(".env", "PORT=6000").ports(), "a=6000 web=6100 c=6200", "T11");
    assert_eq!(
        three().file(".env", "PORT=6000").variable("PORT", "7000").ports(),
        "a=7100 web=7000 c=7200",
        "row 71"
    );
    let flag = |inputs: &mut Inputs| inputs.ports = Ports::On { base: Some(8000), step: 100 };
    assert_eq!(three().file(".env", "PORT=6000").with(flag).ports(), "a=8000 web=8100 c=8200", "row 70");
    assert_eq!(three().variable("PORT", "7000").with(flag).ports(), "a=8000 web=8100 c=8200");
    let files = |inputs: &mut Inputs| inputs.stronger = Stronger::Files;
    assert_eq!(
        three().file(".env", "PORT=6000").variable("PORT", "7000").with(files).ports(),
        "a=6000 web=6100 c=6200",
        "an overriding file's port is not the platform's"
    );
    let spec = three().file("supervise.yml", "defaults: {port: 3000}");
    assert_eq!(spec.ports(), "a=3000 web=3100 c=3200", "a number in defaults is where the ports begin");

    let two = Project::new("foo: x\nbar: y").arguments(&["foo=3", "bar=2"]);
    let two = two.with(|inputs| inputs.ports = Ports::On { base: Some(4000), step: 100 });
    assert_eq!(two.remarks()[1], "ports: foo 4000-4002, bar 4100-4101", "T12");
    let three = Project::new(THREE).arguments(&["all=1,worker=0"]);
    assert_eq!(three.remarks(), ["formation: web=1 worker=0 beat=1", "ports: web 5000, beat 5200"], "T15");
}

#[test]
fn t14_a_port_that_is_no_number_is_an_error() {
    assert!(Project::new(TWO).variable("PORT", "forego").errors().contains("environment: PORT is `forego`"));
    for value in ["", "0", "65536", "-1", "+5", "80a"] {
        assert!(Project::new(TWO).variable("PORT", value).errors().contains("no port number"), "{value}");
    }
    let error = Project::new(TWO).file(".env", "A=1\nPORT=forego").errors();
    assert!(error.contains(".env:2: PORT is no port number") && !error.contains("forego"), "{error}");
    let error = Project::new(TWO).file("supervise.yml", "defaults:\n  env: {PORT: CANARY}\n").errors();
    assert!(error.contains("supervise.yml:2:9: `defaults.env.PORT`"), "{error}");
    assert!(!error.contains("CANARY"), "{error}");
    let project = Project::new(TWO).variable("PORT", "forego").with(|inputs| inputs.ports = Ports::Off);
    assert_eq!(project.ports(), "", "nobody asks for it");
}

#[test]
fn without_ports_the_environment_keeps_its_own_and_port_false_takes_it_away() {
    let project = Project::new(TWO).variable("PORT", "4000").with(|inputs| inputs.ports = Ports::Off);
    assert_eq!(project.value("worker", "PORT").as_deref(), Some("4000"));
    assert_eq!(project.remarks(), ["formation: web=1 worker=1"]);
    let spec = "formation: {worker: {port: false}, web: {port: 3000}}";
    let project = Project::new(TWO).variable("PORT", "4000").file("supervise.yml", spec);
    assert_eq!(project.value("worker", "PORT"), None);
    assert_eq!(project.value("web", "PORT").as_deref(), Some("3000"));
    let project =
        Project::new(TWO).file("supervise.yml", "formation: {worker: {port: false, env: {PORT: 1}}}");
    assert_eq!(project.value("worker", "PORT").as_deref(), Some("1"));
    let project = Project::new(TWO).file("supervise.yml", "formation:\n  worker:\n    env: {PORT: 1}");
    let error = project.errors();
    assert!(
        error.contains("supervise.yml:3:11: `formation.worker.env.PORT` would be overwritten"),
        "{error}"
    );
}

#[test]
fn t16_t17_env_files_are_read_in_order_and_one_that_is_named_must_be_there() {
    let project = || Project::new(TWO).file("e1", "A=1\nB=1").file("sub/e2", "B=2").file(".env", "C=3");
    let both = project().with(|inputs| inputs.env_files = vec!["e1".into(), "sub/e2".into()]);
    assert_eq!(both.value("web", "A").as_deref(), Some("1"));
    assert_eq!(both.value("web", "B").as_deref(), Some("2"), "the last one is strongest");
    assert_eq!(both.value("web", "C"), None, ".env is not read where -e is given");
    let missing = project().with(|inputs| inputs.env_files = vec!["e1".into(), "missing".into()]);
    assert_eq!(missing.errors(), "error: missing: there is no such env file\n");
}

#[test]
fn t18_children_run_beside_the_procfile_or_at_the_root() {
    let project = Project::new("").file("app/Procfile", "web: a").file("app/.env", "A=1");
    let project = project.with(|inputs| inputs.procfile = Some("app/Procfile".into()));
    assert_eq!(project.release().root, project.directory.join("app"));
    assert_eq!(project.release().procfile, project.directory.join("app/Procfile"));
    assert_eq!(project.value("web", "A").as_deref(), Some("1"), ".env stands beside the Procfile");
    let project = project.with(|inputs| inputs.root = Some(".".into()));
    assert_eq!(fs::canonicalize(project.release().root).ok().as_ref(), Some(&project.directory));
    let project = project.with(|inputs| inputs.root = Some("nowhere".into()));
    assert!(project.errors().contains("nowhere: this is no directory"));
    let project =
        Project::new("").file("app/Procfile", "web: a").with(|inputs| inputs.root = Some("app".into()));
    assert_eq!(project.remarks()[0], "formation: web=1", "--root alone says where the Procfile is");
}

#[test]
fn t19_arguments_are_stronger_than_the_spec_and_the_spec_than_one() {
    let project =
        Project::new("alpha: a\nbravo: b\nc: c").file("supervise.yml", "formation: {alpha: 2, bravo: 2}");
    assert_eq!(project.arguments(&["alpha=3"]).remarks()[0], "formation: alpha=3 bravo=2 c=1");
}

#[test]
fn precedence_of_the_environment_is_as_promised() {
    let sources = || {
        Project::new(TWO)
            .file(".env", "A=file\nB=file\nC=file\nSUPERVISE_FORMAT=json\nSAME=x")
            .variable("A", "real")
            .variable("B", "real")
            .variable("E", "real")
            .variable("SAME", "x")
            .variable("SUPERVISE_LOG", "debug")
            .file(
                "supervise.yml",
                "formation: {web: {env: {A: own}}}\ndefaults: {env: {A: d, B: d, C: d, D: d, E: d}}",
            )
    };
    let values = |project: &Project, name: &str| {
        ["A", "B", "C", "D", "E"].map(|variable| project.value(name, variable).unwrap_or_default()).join(" ")
    };
    let real = sources();
    assert_eq!(values(&real, "web"), "own real file d real");
    assert_eq!(values(&real, "worker"), "real real file d real");
    assert_eq!(real.value("web", "PS").as_deref(), Some("web.1"));
    assert_eq!(real.value("web", "SUPERVISE_LOG"), None);
    assert_eq!(real.value("web", "SUPERVISE_FORMAT"), None);
    assert_eq!(
        real.remarks()[0],
        "the environment overrides the env file: A, B (--env-override turns this round)",
        "names, never values, and none that is the same in both"
    );
    let files = sources().with(|inputs| inputs.stronger = Stronger::Files);
    assert_eq!(values(&files, "worker"), "file file file d real");
    assert_eq!(files.remarks()[0], "formation: web=1 worker=1");
}

#[test]
fn dollars_are_replaced_only_where_asked_for() {
    let project = || Project::new(TWO).file(".env", "A=$B-${C}\nC=c\nD=$C$A").variable("B", "b");
    assert_eq!(project().value("web", "A").as_deref(), Some("$B-${C}"));
    let expanded = project().with(|inputs| inputs.expansion = Expansion::Expand);
    assert_eq!(expanded.value("web", "A").as_deref(), Some("b-"));
    assert_eq!(expanded.value("web", "D").as_deref(), Some("cb-"));
}

#[test]
fn values_of_the_real_environment_pass_as_they_are() {
    let odd = OsString::from_vec(b"%d=\n\xff".to_vec());
    let project = Project::new(TWO).with(|inputs| inputs.environment.push(("ODD".into(), odd.clone())));
    let release = project.release();
    let environment = release.environment_of(&release.types[0], 1, "i");
    assert_eq!(environment.get("ODD").map(|found| &found.value), Some(&odd));
}

#[test]
fn row_28_release_is_not_started_unless_it_is_named() {
    let said = "the type `release` is not started unless it is named: `supervise start release`";
    let project = Project::new("release: r\nweb: a\n");
    assert_eq!(
        project.remarks(),
        [said, "formation: web=1", "ports: web 5100"],
        "it is counted all the same"
    );
    let project = project.arguments(&["all=2"]);
    assert_eq!(project.remarks()[..2], [said, "formation: web=2"]);
    let project = project.arguments(&["release"]);
    assert_eq!(project.remarks(), ["formation: release=1", "ports: release 5000"]);
}

#[test]
fn row_42_a_missing_procfile_and_a_directory_are_errors() {
    let project = Project::new(TWO);
    fs::remove_file(project.directory.join("Procfile")).expect("it is ours");
    assert_eq!(
        project.errors(),
        "error: Procfile: there is no such Procfile\n  help: go to the directory of the app, or name it with `-f FILE`\n"
    );
    assert!(plan_one_off(&project.inputs).is_ok(), "a one-off command needs none");
    let project = project.file("supervise.yml", "formation: {web: 2}\ndefaults: {env: {A: b}}");
    assert!(plan_one_off(&project.inputs).is_ok(), "and then no spec can name a wrong type");
    let project = project.with(|inputs| inputs.procfile = Some("nosuch".into()));
    assert_eq!(project.errors(), "error: nosuch: there is no such Procfile\n");
    assert!(plan_one_off(&project.inputs).is_err(), "one that is named must be there");
    let project = project.with(|inputs| inputs.procfile = Some("/tmp".into()));
    assert_eq!(project.errors(), "error: /tmp: this is a directory, not a Procfile\n");
}

#[test]
fn row_78_more_instances_than_fit_are_refused_with_the_step_that_fits() {
    let project = Project::new(TWO).arguments(&["web=200"]);
    assert!(project.errors().contains("`--port-step 200` fits"), "{}", project.errors());
    let project = project.with(|inputs| inputs.ports = Ports::On { base: None, step: 200 });
    assert_eq!(project.remarks()[1], "ports: web 5000-5199, worker 5200");
    let last = Project::new(TWO).arguments(&["worker=200"]);
    assert_eq!(last.remarks()[1], "ports: web 5000, worker 5100-5299", "the last type may exceed the step");
}

#[test]
fn what_would_do_every_job_twice_runs_once_unless_the_spec_says_otherwise() {
    for name in ["beat", "clock", "scheduler"] {
        let argument = format!("{name}=2");
        let project = Project::new(&format!("{name}: x")).arguments(&[&argument]);
        assert!(project.errors().contains(&format!("{argument} is more than its max of 1")));
        let project = project.file("supervise.yml", &format!("formation: {{{name}: {{max: 3}}}}"));
        assert_eq!(project.remarks()[0], format!("formation: {argument}"));
    }
    let error = Project::new("web: x")
        .file("supervise.yml", "formation: {web: {max: 3}}")
        .arguments(&["web=4"])
        .errors();
    assert!(error.contains("web=4 is more than its max of 3"), "{error}");
}

#[test]
fn settings_are_the_types_own_then_the_flags_then_the_defaults() {
    let spec = "formation:\n  worker: {drain: 3s, backoff: {first: 1s}, limits: {nofile: 9}}\n\
                defaults: {drain: 4s, essential: false, backoff: {first: 2s, max: 5s}, limits: {nofile: 8, core: 0}}\n";
    let project = Project::new(THREE).file("supervise.yml", spec);
    let policy = |project: &Project, name: &str| {
        project.release().process_type(name).expect("it is there").policy.clone()
    };
    assert_eq!(policy(&project, "worker").drain, Duration::from_secs(3));
    assert_eq!(policy(&project, "web").drain, Duration::from_secs(4));
    assert_eq!(policy(&project, "worker").backoff.first, Duration::from_secs(1));
    assert_eq!(policy(&project, "worker").backoff.max, Duration::from_secs(5));
    assert!(!policy(&project, "worker").essential);
    assert_eq!(policy(&project, "web").restart, Restart::Always, "web has not completed when it exits");
    assert_eq!(policy(&project, "worker").restart, Restart::OnFailure);
    assert_eq!(project.release().types[1].limits.iter().map(|limit| limit.value).collect::<Vec<_>>(), [9, 0]);
    let project = project.with(|inputs| {
        inputs.flags.drain = Some(Duration::from_secs(1));
        inputs.flags.restart = Some(Restart::Never);
    });
    assert_eq!(policy(&project, "worker").drain, Duration::from_secs(3));
    assert_eq!(policy(&project, "web").drain, Duration::from_secs(1));
    assert_eq!(policy(&project, "web").restart, Restart::Never);
}

#[test]
fn the_formation_of_heroku_is_read_where_there_is_no_spec_of_ours() {
    let project =
        Project::new(TWO).file("app.json", r#"{"formation": {"worker": {"quantity": 3, "size": "m"}}}"#);
    assert_eq!(project.remarks()[..2], ["the formation is read from app.json", "formation: web=1 worker=3"]);
    let project = project.file("supervise.yml", "formation: {worker: 2}");
    assert_eq!(project.remarks()[0], "formation: web=1 worker=2");
    let project = project.with(|inputs| inputs.spec = Some("app.json".into()));
    assert_eq!(project.remarks()[1], "formation: web=1 worker=3");
    assert_eq!(
        Project::new(TWO).file("app.json", r#"{"expo": {}}"#).remarks()[0],
        "formation: web=1 worker=1"
    );
    let project = Project::new(TWO).with(|inputs| inputs.spec = Some("nosuch.yml".into()));
    assert_eq!(project.errors(), "error: nosuch.yml: there is no such spec\n");
}

#[test]
fn what_stands_beside_the_procfile_and_is_no_file_of_ours_is_told_apart() {
    let project = Project::new(TWO).file(".env/bin/python", "");
    assert_eq!(project.remarks()[0], "formation: web=1 worker=1", "a virtualenv is no env file");
    let project = Project::new(TWO).file("supervise.yaml", "formation: {web: 2}");
    assert!(project.errors().contains("rename it to `supervise.yml`"), "{}", project.errors());
    let project = Project::new(TWO);
    std::os::unix::fs::symlink("nowhere", project.directory.join(".env")).expect("our own directory");
    assert_eq!(
        project.errors(),
        "error: .env: there is no such env file\n",
        "a link to nowhere is no accident"
    );
}

#[test]
fn only_runs_one_type_per_container() {
    let project = Project::new(THREE).arguments(&["web=4"]).with(|inputs| inputs.selection = Selection::Only);
    assert_eq!(project.remarks(), ["formation: web=4", "ports: web 5000-5003"]);
    assert_eq!(project.release().types.iter().map(|found| found.quantity).collect::<Vec<_>>(), [4, 0, 0]);
}

#[test]
fn a_count_of_the_spec_above_max_is_an_error_at_its_place() {
    let at = |spec: &str| Project::new(THREE).file("supervise.yml", spec).errors();
    let error = at("formation: {beat: 2}");
    assert!(
        error.contains("supervise.yml:1:19: `formation.beat`: is 2, and the `max` of `beat` is 1"),
        "{error}"
    );
    let error = at("defaults: {quantity: 2}");
    assert!(error.contains("supervise.yml:1:22: `defaults.quantity`: is 2"), "{error}");
    assert_eq!(error.matches("error: ").count(), 1, "{error}");
    let error = Project::new(THREE).file("app.json", r#"{"formation": {"beat": {"quantity": 2}}}"#).errors();
    assert!(error.contains("app.json: `formation.beat.quantity`: is 2"), "{error}");
    let error = at("formation: {web: {backoff: {first: 60s}}}");
    assert!(error.contains("supervise.yml:1:28: `formation.web.backoff`: `first` is 60s"), "{error}");
    let error = at("formation: {web: {backoff: {first: 9s}}}\ndefaults: {backoff: {max: 5s}}");
    assert!(error.contains("supervise.yml:1:28: ") && error.matches("error: ").count() == 1, "{error}");
}

#[test]
fn what_is_wrong_at_a_later_stage_is_said_with_what_is_wrong_at_an_earlier_one() {
    let errors = Project::new(THREE).arguments(&["beat=2", "web=200"]).errors();
    assert!(
        errors.contains("beat=2 is more than its max") && errors.contains("`--port-step 200`"),
        "{errors}"
    );
    let project = Project::new(THREE).file("supervise.yml", "formation: {beat: 2, web: {drain: x}}");
    let errors = project.errors();
    assert!(
        errors.contains("`formation.beat`: is 2") && errors.contains("`formation.web.drain`"),
        "{errors}"
    );
    for (spec, argument) in [
        ("formation: {beat: {quantity: 2, max: x}}", "beat=3"),
        ("formation: {baet: {max: 3}}", "beat=3"),
        ("formation: {web: {port: x}}", "web=200"),
        ("default: {max: 3}", "beat=3"),
        ("formation: [", "beat=3"),
    ] {
        let errors = Project::new(THREE).file("supervise.yml", spec).arguments(&[argument]).errors();
        assert_eq!(errors.matches("error: ").count(), 1, "no more than what is known: {errors}");
    }
}

#[test]
fn what_was_named_at_the_start_may_be_taken_out_of_the_procfile_later() {
    let counts = |arguments: &[&str]| {
        let project = Project::new(TWO).arguments(arguments);
        let again = project.inputs.to_be_read_again().expect("it has a directory");
        plan(&again).map(|release| release.remarks[0].to_string()).map_err(|errors| errors.to_string())
    };
    assert_eq!(counts(&["web=3", "old=2"]).as_deref(), Ok("formation: web=3 worker=1"));
    assert_eq!(counts(&["web", "old"]).as_deref(), Ok("formation: web=1"));
    for arguments in [&["old"][..], &["old", "older=2"]] {
        let error = counts(arguments).expect_err("nothing would run");
        assert!(error.contains("there is no process type `old`"), "{error}");
    }
    assert!(Project::new(TWO).arguments(&["web=3", "old=2"]).errors().contains("`old`"));
}

#[test]
fn a_one_off_command_fails_for_no_port_of_what_it_does_not_start() {
    let project = Project::new(TWO).file("supervise.yml", "formation: {web: 200}");
    assert!(project.errors().contains("would both get PORT"));
    assert!(plan_one_off(&project.inputs).is_ok());
    let project = Project::new(TWO).variable("PORT", "forego");
    assert!(plan_one_off(&project.inputs).is_ok());
}

#[test]
fn a_spec_in_json_that_is_not_app_json_is_ours() {
    let project = Project::new(TWO)
        .file("x.json", r#"{"formation": {"web": {"quantity": 3}}, "defaults": {"drain": "4s"}}"#)
        .with(|inputs| inputs.spec = Some("x.json".into()));
    assert_eq!(project.remarks()[0], "formation: web=3 worker=1");
}

#[test]
fn everything_that_is_wrong_is_said_in_one_run() {
    let project = Project::new("web: a\nb c: d\n")
        .file(".env", "A\n")
        .file("supervise.yml", "defaults: {drian: 1}")
        .arguments(&["web=x"])
        .with(|inputs| inputs.root = Some("nowhere".into()))
        .with(|inputs| inputs.procfile = Some("Procfile".into()));
    let errors = project.errors();
    for said in [".env:1: ", "Procfile:2:2: ", "supervise.yml:1:12: ", "nowhere: ", "`web=x`"] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
    assert_eq!(errors.matches("error: ").count(), 5, "{errors}");
    assert!(Path::new(&project.directory).exists());
}

#[test]
fn who_comes_first_is_known_and_a_circle_is_told_once() {
    let procfile = "web: a\nworker: b\nbeat: c\n";
    let after = |spec: &str| {
        let release = Project::new(procfile).file("supervise.yml", spec).release();
        let of = |kind: &super::ProcessType| {
            let first: Vec<&str> = kind.after.iter().map(crate::api::TypeName::as_str).collect();
            format!("{}<{}", kind.name, first.join("+"))
        };
        release.types.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(after("formation: { worker: { after: [web, beat] } }\n"), "web< worker<web+beat beat<");
    // For every type but itself.
    assert_eq!(after("defaults: { after: [beat] }\n"), "web<beat worker<beat beat<");
    assert_eq!(
        after("defaults: { after: [beat] }\nformation: { web: { after: [] } }\n"),
        "web< worker<beat beat<"
    );

    let spec =
        "formation:\n  web: { after: [worker] }\n  worker: { after: [beat] }\n  beat: { after: [web] }\n";
    let errors = Project::new(procfile).file("supervise.yml", spec).errors();
    let said = "`formation.web.after`: web -> worker -> beat -> web would wait for each other";
    assert!(errors.contains(said) && errors.contains("supervise.yml:2:"), "{errors}");
    assert_eq!(errors.matches("would wait").count(), 1, "{errors}");
    let errors = Project::new(procfile)
        .file("supervise.yml", "defaults: { after: [beat] }\nformation: { beat: { after: [web] } }\n")
        .errors();
    assert!(errors.contains("web -> beat -> web would wait for each other"), "{errors}");
}

#[test]
fn a_release_of_a_store_keeps_its_name_its_project_and_its_config_and_takes_the_port_of_today() {
    let project = Project::new("web: x\n").file("config.env", "A=\"kept\\r\"\nPORT=\"3000\"\n");
    let project = project.variable("A", "real").variable("PORT", "80").with(|inputs| {
        inputs.env_files = vec!["config.env".into()];
        (inputs.expansion, inputs.stronger) = (Expansion::Kept, Stronger::Files);
        inputs.identity =
            Some(Identity { id: "v4".into(), fingerprint: "0f".into(), project: "/p/Procfile".into() });
    });
    let release = project.release();
    assert_eq!((release.id.as_str(), release.procfile.as_path()), ("v4", Path::new("/p/Procfile")));
    assert_eq!(project.value("web", "SUPERVISE_RELEASE_ID").as_deref(), Some("0f"));
    assert_eq!(project.value("web", "A").as_deref(), Some("kept\r"));
    assert_eq!(project.ports(), "web=80");
    let without = project.with(|inputs| inputs.environment.clear());
    assert_eq!(without.ports(), "web=3000");
}
