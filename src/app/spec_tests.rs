//! What the spec reads, and what it says about everything else.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use crate::api::TypeName;

use super::diagnostic::{Diagnostics, Place};
use super::needs::ServiceSpec;
use super::probes::{Draft, Probes, Question};
use super::settings::{Port, Settings};
use super::spec::Spec;
use super::{
    Command, Confinement, Leftovers, Limit, Listen, Restart, Stderr, StopScope, Timing, app_json, limits,
};

fn known() -> Vec<TypeName> {
    ["web", "worker", "beat"].map(|name| name.parse().expect("a name")).into()
}

fn read(text: &str) -> Result<Spec, Diagnostics> {
    let (spec, errors) = Spec::parse(Path::new("supervise.yml"), text.as_bytes(), Some(&known()));
    if errors.is_empty() { Ok(spec) } else { Err(errors) }
}

fn settings(text: &str) -> Settings {
    let spec = read(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    spec.types.into_iter().next().expect("a type").settings
}

/// Asserts each error's line, column and a piece of its text, in order, and that there is no other.
fn assert_errors(text: &str, expected: &[(usize, usize, &str)]) {
    let errors = read(text).expect_err(text);
    let shown = errors.to_string();
    assert_eq!(errors.len(), expected.len(), "{shown}");
    for (error, (line, column, said)) in errors.iter().zip(expected) {
        assert_eq!(error.place, Place::Column("supervise.yml".into(), *line, *column), "{said}:\n{shown}");
        assert!(error.to_string().contains(said), "{said}:\n{shown}");
    }
}

#[test]
fn every_key_is_read() {
    let own = settings(
        "formation:\n  worker:\n    quantity: 8\n    max: 64\n    restart: on-failure\n    \
         backoff: { first: 500ms, max: 30s, reset_after: 60s, give_up_after: 5 }\n    essential: false\n    \
         drain: 30\n    stop_signal: QUIT\n    stop_scope: group\n    leftovers: leave\n    \
         env: { QUEUE: default, V: 1.10, MODE: 0755, ON: true }\n    port: 7000\n    \
         limits: { nofile: 4k, core: unlimited, memory: 512M, cpus: 1.5, pids: 100 }\n    stderr: split\n    \
         health: { readiness: { http: /ready, period: 5s } }\n    listen: tcp://0.0.0.0:8000\n    \
         rollout: { max_surge: 2, max_unavailable: 1, min_ready: 3s, progress_deadline: 60s }\n    \
         needs: [REDIS_URL]\n    after: [web]\n",
    );
    let limit = |name: &str, value| Limit { resource: limits::resource(name).expect("a limit"), value };
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = Settings {
        quantity: Some(8),
        max: Some(64),
        restart: Some(Restart::OnFailure),
        backoff_first: Some(Duration::from_millis(500)),
        backoff_max: Some(Duration::from_secs(30)),
        backoff_reset_after: Some(Duration::from_secs(60)),
        backoff_give_up_after: Some(5),
        essential: Some(false),
        drain: Some(Duration::from_secs(30)),
        stop_signal: Some("QUIT".parse().expect("a signal")),
        stop_scope: Some(StopScope::Group),
        leftovers: Some(Leftovers::Leave),
        env: vec![
            variable("QUEUE", "default"),
            variable("V", "1.10"),
            variable("MODE", "0755"),
            variable("ON", "true"),
        ],
        port: Some(Port::Base(7000)),
        limits: vec![limit("nofile", 4096), limit("core", u64::MAX)],
        confinement: Confinement { memory: Some(512 << 20), cpus: Some(150_000), pids: Some(100) },
        health: Probes {
            readiness: Some(Draft::On {
                question: Question::Http { path: "/ready".to_owned(), port: None },
                timing: Timing { period: Duration::from_secs(5), ..Timing::default() },
            }),
            ..Probes::default()
        },
        listen: Some(Listen::Tcp("0.0.0.0:8000".parse().expect("an address"))),
        rollout_max_surge: Some(2),
        rollout_max_unavailable: Some(1),
        rollout_min_ready: Some(Duration::from_secs(3)),
        rollout_progress_deadline: Some(Duration::from_secs(60)),
        needs: Some(vec!["REDIS_URL".to_owned()]),
        after: Some(vec!["web".parse().expect("a name")]),
        stderr: Some(Stderr::Split),
    };
    assert_eq!(own, expected);
}

#[test]
fn a_type_is_a_count_or_a_map_and_a_file_may_say_nothing() {
    assert_eq!(settings("formation: {web: 4}").quantity, Some(4));
    assert_eq!(settings("formation: {web: {}}"), Settings::default());
    assert_eq!(settings("formation: {web: {port: false}}").port, Some(Port::None));
    assert_eq!(
        settings("formation: {web: {stop_signal: 15, drain: 0.5}}").drain,
        Some(Duration::from_millis(500))
    );
    for text in ["", "# only a comment\n", "defaults: {}\n"] {
        assert_eq!(read(text).as_ref(), Ok(&Spec::default()), "{text}");
    }
    let anchored = settings("defaults: {backoff: &b {first: 2s}}\nformation: {web: {backoff: *b}}\n");
    assert_eq!(anchored.backoff_first, Some(Duration::from_secs(2)));
}

#[test]
fn every_error_of_a_file_is_found_in_one_run_with_its_place_and_its_key() {
    assert_errors(
        "formation:\n  web: four\n  wroker:\n    quantity: -1\n  worker:\n    drian: 8s\n    drain: soon\n    \
         drain: 1s\n    restart: on-failur\n    backoff: { frist: 1s, max: [] }\n    port: true\n    \
         limits: { nofiles: 1, nproc: -1 }\n    essential: yes\ndefault: {}\n",
        &[
            (2, 8, "`formation.web`: is a count, or a map of settings, not `four`"),
            (3, 3, "`formation.wroker`: there is no process type `wroker`"),
            (4, 15, "`formation.wroker.quantity`: is a whole number, 0 or more, not `-1`"),
            (6, 5, "did you mean `drain`?"),
            (7, 12, "`formation.worker.drain`: a duration is a number with a unit"),
            (8, 5, "`formation.worker.drain`: the key is there twice, first on line 7"),
            (9, 14, "did you mean `on-failure`?"),
            (10, 16, "`formation.worker.backoff.frist`: there is no key `frist`"),
            (10, 32, "`formation.worker.backoff.max`: a duration"),
            (11, 11, "`formation.worker.port`: is a number from 1 to 65535"),
            (12, 15, "did you mean `nofile`?"),
            (12, 34, "`formation.worker.limits.nproc`: is a whole number"),
            (13, 16, "`formation.worker.essential`: is `true` or `false`, not `yes`"),
            (14, 1, "did you mean `defaults`?"),
        ],
    );
}

#[test]
fn impossible_and_misplaced_values_are_refused() {
    for (value, column, said) in [
        ("quantity: 1.5", 11, "not `1.5`"),
        ("quantity: 99999999999", 11, "99999999999 is too large"),
        ("quantity: 100001", 11, "100001 is too large: a type has at most 100000 instances"),
        ("quantity: '4'", 11, "this is a text: take the quotes away"),
        ("{quantity: 5, max: 4}", 12, "is 5, more than `max`, which is 4"),
        ("max: 0", 6, "is 1 or more; `quantity: 0` is what starts none"),
        ("port: 0", 7, "is a number from 1 to 65535"),
        ("port: 65536", 7, "is a number from 1 to 65535"),
        ("drain: -1", 8, "a duration"),
        ("drain: 20y", 8, "a duration"),
        ("drain:", 7, "a duration"),
        ("backoff: {first: 2s, max: 1s}", 10, "`first` is longer than `max`"),
        ("backoff: 5s", 10, "is a map of keys and values"),
        ("stop_signal: TREM", 14, "is no signal"),
        ("stop_signal: STOP", 14, "SIGSTOP asks no process to end"),
        ("stop_signal: sigcont", 14, "SIGCONT asks no process to end"),
        ("stop_signal: WINCH", 14, "SIGWINCH asks no process to end"),
        ("stop_signal: [TERM]", 14, "is the name of a signal"),
        ("stop_scope: all", 13, "it is one of: `leader`, `group`"),
        ("stderr: 2", 9, "is one of merge, split, not `2`"),
        ("env: [A, B]", 6, "is a map of keys and values"),
        ("env: {A: }", 10, "an empty one is written"),
        ("env: {1A: x}", 7, "begins with no digit"),
        ("env: {A: \"a\\0b\"}", 10, "NUL"),
        ("limits: {nofile: 4x}", 18, "or `unlimited`"),
        ("limits: {nofile: 1.5}", 18, "is a whole number"),
        (
            "limits: {memory: 0}",
            18,
            "is an amount from `1m` up, as in `512m` or `2g`, or `unlimited`, not `0`",
        ),
        ("limits: {memory: 10 bytes}", 18, "not `10 bytes`"),
        ("limits: {memory: 50%}", 18, "not `50%`"),
        ("limits: {memory: }", 18, "nothing is here"),
        (
            "limits: {cpus: -1}",
            16,
            "is a number of processors from 0.01 up, as in `1.5`, or `unlimited`, not `-1`",
        ),
        ("limits: {cpus: .inf}", 16, "not `.inf`"),
        ("limits: {pids: 0}", 16, "is a number of processes, 1 or more"),
        ("limits: {mem_limit: 1g}", 10, "here that is `memory: 512m`"),
        ("restart: !now x", 10, "not something with a tag"),
        ("? [a]\n: b", 3, "a key is a plain word"),
        ("<<: {a: 1}", 1, "merge keys are not read"),
    ] {
        let (text, line, shift) = if value.starts_with('{') {
            (format!("defaults: {value}"), 1, 10)
        } else {
            (format!("defaults:\n  {}", value.replace('\n', "\n  ")), 2, 2)
        };
        assert_errors(&text, &[(line, column + shift, said)]);
    }
    assert_errors("[a]", &[(1, 1, "the spec is a map of keys and values")]);
    assert_errors("formation:\n", &[(1, 11, "`formation`: is a map")]);
    assert_errors("formation: {web: }\n", &[(1, 18, "and nothing is here")]);
}

#[test]
fn who_comes_first_is_a_list_of_known_types() {
    let own = settings("formation:\n  worker: { after: [web, beat] }\n");
    let names: Vec<String> = own.after.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(names, ["web", "beat"]);
    let text = "formation:\n  worker:\n    after: [web, web, nosuch, worker, [web], a b]\n";
    assert_errors(
        text,
        &[
            (3, 18, "`web` is named twice"),
            (3, 23, "there is no process type `nosuch`"),
            (3, 31, "it would wait for itself"),
            (3, 39, "is a list of process types"),
            (3, 46, "`a b` is no process type"),
        ],
    );
    assert_errors(
        "formation: { worker: { after: web } }\n",
        &[(1, 31, "is a list of process types, as in `[web]`")],
    );
}

#[test]
fn the_example_of_the_manual_is_read() {
    let example = "formation:\n  web: 4\n  worker:\n    quantity: 8\n    max: 64\n    restart: on-failure\n    \
        backoff: { first: 500ms, max: 30s, reset_after: 60s, give_up_after: 0 }\n    essential: true\n    \
        drain: 30s\n    stop_signal: TERM\n    stop_scope: leader\n    leftovers: stop\n    \
        env: { QUEUE: default }\n    port: false\n    limits: { nofile: 4096 }\n    stderr: merge\n    \
        health: { }\n    listen: tcp://0.0.0.0:8000\n    \
        rollout: { max_surge: 1, max_unavailable: 0, min_ready: 1s, progress_deadline: 600s }\n    \
        needs: [REDIS_URL]\n    after: [web]\n  beat: 1\ndefaults: { drain: 8s }\n\
        services: { REDIS_URL: { wait: 30s } }\n";
    let spec = read(example).expect("the example is right");
    assert_eq!(spec.types.len(), 3);
    assert_eq!(spec.defaults.drain, Some(Duration::from_secs(8)));
    assert_eq!(
        spec.services,
        [ServiceSpec { name: "REDIS_URL".to_owned(), wait: Some(Duration::from_secs(30)) }]
    );
    assert_eq!(read("services:\n  REDIS_URL:\n").expect("nothing more is needed").services[0].wait, None);
}

#[test]
fn a_probe_asks_one_thing_and_has_the_times_of_kubernetes() {
    let health = settings(
        "formation:\n  web:\n    health:\n      startup: { notify: true, failure_threshold: 30 }\n      \
         readiness:\n        exec: ./bin/ready $PORT\n        success_threshold: 2\n      \
         liveness: { tcp: true, port: 9000, initial_delay: 2, period: 500ms, timeout: 3s, failure_threshold: 1 }\n",
    )
    .health;
    let second = Duration::from_secs(1);
    let defaults = Timing {
        initial_delay: Duration::ZERO,
        period: 10 * second,
        timeout: second,
        success_threshold: 1,
        failure_threshold: 3,
    };
    let startup = Timing { failure_threshold: 30, ..defaults };
    assert_eq!(health.startup, Some(Draft::On { question: Question::Notify, timing: startup }));
    let command = Command::new(b"./bin/ready $PORT".to_vec());
    let readiness = Timing { success_threshold: 2, ..defaults };
    assert_eq!(health.readiness, Some(Draft::On { question: Question::Exec { command }, timing: readiness }));
    let liveness = Timing {
        initial_delay: 2 * second,
        period: second / 2,
        timeout: 3 * second,
        failure_threshold: 1,
        ..defaults
    };
    let question = Question::Tcp { port: Some(9000) };
    assert_eq!(health.liveness, Some(Draft::On { question, timing: liveness }));
    let off = settings("formation: { web: { health: { liveness: false } } }").health;
    assert_eq!((off.any(), off.liveness), (false, Some(Draft::Off)));
}

#[test]
fn impossible_probes_sockets_and_rollouts_are_refused() {
    for (value, column, said) in [
        ("health: /up", 9, "is a map of keys and values"),
        ("health: {readines: {tcp: true}}", 10, "did you mean `readiness`?"),
        ("health: {readiness: }", 21, "is a map, as in `{ http: /health }`"),
        ("health: {readiness: true}", 21, "or `false` for none"),
        ("health: {readiness: {}}", 21, "asks nothing: `http: /path`"),
        ("health: {readiness: {htp: /}}", 22, "did you mean `http`?"),
        ("health: {startup: {tcp: true, http: /}}", 31, "a probe asks one thing, and here is `tcp` too"),
        ("health: {startup: {tcp: false}}", 25, "`defaults.health.startup.tcp`: is `true`"),
        ("health: {startup: {http: up}}", 26, "begins with `/`"),
        ("health: {startup: {http: http://x/}}", 26, "begins with `/`"),
        ("health: {startup: {http: /a b}}", 26, "without blanks"),
        ("health: {startup: {http: \"/a\\r\\nX: y\"}}", 26, "control characters"),
        ("health: {startup: {http: 80}}", 26, "is a path, and the port stands beside it"),
        ("health: {startup: {exec: ' '}}", 26, "the command is empty"),
        ("health: {startup: {exec: [a]}}", 26, "is a command in one text, as in a Procfile"),
        ("health: {readiness: {notify: true}}", 22, "which is `startup: { notify: true }`"),
        ("health: {liveness: {exec: x, port: 80}}", 30, "only `http` and `tcp` have a port"),
        ("health: {liveness: {notify: true, timeout: 2s}}", 35, "nobody is asked who could be late"),
        ("health: {liveness: {tcp: true, port: 0}}", 38, "is a number from 1 to 65535"),
        ("health: {liveness: {tcp: true, port: 65536}}", 38, "is a number from 1 to 65535"),
        ("health: {liveness: {tcp: true, period: 0}}", 40, "is longer than 0"),
        ("health: {liveness: {tcp: true, timeout: 0s}}", 41, "is longer than 0"),
        ("health: {liveness: {tcp: true, failure_threshold: 0}}", 51, "is 1 or more"),
        ("health: {readiness: {tcp: true, success_threshold: 0}}", 52, "is 1 or more"),
        ("health: {liveness: {tcp: true, success_threshold: 2}}", 51, "is 1 for liveness"),
        ("health: {startup: {tcp: true, success_threshold: 2}}", 50, "is 1 for startup"),
        ("rollout: 1", 10, "is a map of keys and values"),
        ("rollout: {max_surge: -1}", 22, "is a whole number"),
        ("rollout: {max_surge: 25%}", 22, "is a whole number, and no percentage, not `25%`"),
        ("rollout: {progress_deadline: 0}", 30, "is longer than 0"),
        ("rollout: {maxsurge: 1}", 11, "did you mean `max_surge`?"),
        ("listen: tcp://:80", 1, "`defaults.listen`: two types cannot have the same socket"),
    ] {
        assert_errors(&format!("defaults:\n  {value}"), &[(2, column + 2, said)]);
    }
    for (value, said) in [
        ("8000", "is an address, as in `tcp://0.0.0.0:8000`"),
        ("localhost:80", "`localhost:80` is no address"),
        ("tcp://x:80", "`x` is no IP address"),
    ] {
        assert_errors(&format!("formation:\n  web:\n    listen: {value}"), &[(3, 13, said)]);
    }
}

#[test]
fn who_writes_the_words_of_kubernetes_or_compose_is_told_ours() {
    for (text, said) in [
        (
            "formation: {web: {livenessProbe: {httpGet: {path: /x}}}}",
            "here that is `health: { liveness: { http: /health } }`",
        ),
        ("formation: {web: {replicas: 3}}", "here that is `quantity: 4`"),
        ("formation: {web: {terminationGracePeriodSeconds: 3}}", "here that is `drain: 30s`"),
        ("formation: {web: {depends_on: [worker]}}", "here that is `after: [web]`"),
        ("formation: {web: {health: {readinessProbe: {}}}}", "here that is `readiness: { http: /health }`"),
        (
            "formation: {web: {health: {liveness: {httpGet: {path: /x, port: 80}}}}}",
            "here that is `http: /health` and `port: 8080`",
        ),
        ("formation: {web: {health: {liveness: {http: /, periodSeconds: 3}}}}", "here that is `period: 10s`"),
        (
            "formation: {web: {health: {liveness: {http: /, failureThreshold: 3}}}}",
            "did you mean `failure_threshold`?",
        ),
        (
            "formation: {web: {health: {liveness: {http: {path: /x}}}}}",
            "as in `{ http: /health, port: 8080 }`",
        ),
        ("formation: {web: {health: {liveness: {tcp: 80}}}}", "as in `{ tcp: true, port: 8080 }`"),
        ("formation: {web: {rollout: {maxSurge: 1}}}", "did you mean `max_surge`?"),
        ("formation: {web: {rollout: {max_surge: 25%}}}", "is a whole number, and no percentage, not `25%`"),
        ("services: {REDIS_URL: {timeout: 3s}}", "here that is `wait: 30s`"),
        ("services: {REDIS_URL: 30s}", "is a map, as in `{ wait: 30s }`"),
        ("web: {quantity: 3}", "a process type stands below `formation`"),
        ("health: {liveness: {http: /}}", "or for every type, below `defaults`"),
    ] {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}\n{error}");
        assert!(!error.contains("the keys here are"), "the way out is enough:\n{error}");
    }
}

#[test]
fn a_url_where_the_name_of_its_variable_belongs_is_not_shown() {
    for (text, line, column, said) in [
        ("defaults:\n  needs: redis://u:CANARY@h", 2, 10, "is a list of variables that hold URLs"),
        ("defaults:\n  needs: [redis://u:CANARY@h]", 2, 11, "is a list of names of variables"),
        ("defaults:\n  needs: [A, {CANARY: 1}]", 2, 14, "is a list of names of variables"),
        ("services: redis://u:CANARY@h", 1, 11, "`services`: is a map"),
        ("services:\n  redis://u:CANARY@h: {}", 2, 3, "is named by the variable that holds its URL"),
        ("services:\n  REDIS_URL: redis://u:CANARY@h", 2, 14, "`services.REDIS_URL`: is a map"),
        ("services:\n  REDIS_URL: {wait: CANARY}", 2, 21, "`services.REDIS_URL.wait`: a duration"),
    ] {
        assert_errors(text, &[(line, column, said)]);
        let shown = read(text).expect_err(text).to_string();
        assert!(!shown.contains("CANARY"), "{shown}");
    }
    assert_errors("defaults: {needs: [A, A]}", &[(1, 23, "`A` is named twice")]);
    assert_errors("services: {A: {wiat: 1s}}", &[(1, 16, "did you mean `wait`?")]);
}

#[test]
fn of_app_json_only_the_quantities_are_read() {
    let parse = |text: &str| app_json::parse(Path::new("app.json"), text.as_bytes(), Some(&known()));
    let text = r#"{"name": "x", "env": {"A": {"value": "b"}},
        "formation": {"web": {"quantity": 2, "size": "standard-1x"}, "worker": {"size": "x"}}}"#;
    let spec = parse(text).expect("valid").expect("it has a formation");
    let quantities: Vec<_> =
        spec.types.iter().map(|own| (own.name.as_str(), own.settings.quantity)).collect();
    assert_eq!(quantities, [("web", Some(2)), ("worker", None)]);
    assert_eq!(parse(r#"{"expo": {}}"#), Ok(None));
    for (text, said) in [
        (
            "{\"formation\":\n {\"web\": {\"quantity\": -1}}}",
            "app.json:2:24: `formation.TYPE.quantity` is a whole number",
        ),
        ("{", "app.json:1:1: the file ends before it is complete"),
        (r#"{"formation": {"web": {"quantity": 1}, "web": {"quantity": 2}}}"#, "a type is there twice"),
        (r#"{"formation": {"web": {"quantity": 1, "quantity": 2}}}"#, "a key is there twice"),
        (r#"{"formation": {}, "formation": {}}"#, "a key is there twice"),
        (r#"{"formation": {"web": {"quantity": 100001}}}"#, "100001 is too large"),
        ("{a}", "this is no JSON that can be read"),
        (r#"{"formation": {"wbe": {"quantity": 1}}}"#, "did you mean `web`?"),
    ] {
        let errors = parse(text).expect_err(text).to_string();
        assert!(errors.contains(said), "{text}: {errors}");
    }
}

#[test]
fn below_env_a_key_that_may_be_a_value_is_not_shown() {
    for (text, line, column) in [
        ("formation:\n  web:\n    env: {DATABASE_URL=CANARY}", 3, 11),
        ("formation:\n  web:\n    env:\n      postgres://u:CANARY@h/: 1", 4, 7),
        ("formation:\n  web:\n    env: {A: x, CANARY}", 3, 23),
        ("formation:\n  web:\n    env: {CANARY 1: x}", 3, 11),
        ("formation:\n  web:\n    env:\n      !CANARY x: 1", 4, 7),
        ("formation:\n  web:\n    env:\n      A=CANARY: 1", 4, 7),
    ] {
        assert_errors(text, &[(line, column, "`formation.web.env`: ")]);
        let shown = read(text).expect_err(text).to_string();
        assert!(!shown.contains("CANARY") && !shown.contains(" | "), "{shown}");
    }
    let twice = "formation:\n  web:\n    env:\n      A=CANARY: 1\n      A=CANARY: 2";
    assert!(!read(twice).expect_err(twice).to_string().contains("CANARY"));
    assert_errors(
        "defaults:\n  env:\n    A: 1\n    A: 2",
        &[(4, 5, "`defaults.env.A`: the key is there twice")],
    );
}

#[test]
fn what_supervise_sets_itself_is_no_variable_of_the_spec() {
    for name in ["PS", "SUPERVISE_SLOT", "SUPERVISE_X", "LISTEN_FDS", "NOTIFY_SOCKET"] {
        let said = format!("`formation.web.env.{name}`: supervise sets this itself");
        assert_errors(&format!("formation:\n  web:\n    env: {{{name}: x}}"), &[(3, 11, &said)]);
    }
    assert_errors("defaults: {env: {PS: x}}", &[(1, 18, "`defaults.env.PS`")]);
}

proptest! {
    #[test]
    fn no_error_shows_the_value_of_a_variable(
        value in r#"(zq7|"zq7|'zq7'|\[zq7\]|\{a: zq7\}|\*zq7|!zq7|!!int zq7|zq7: zq8|"\\zq7"|&zq7|@zq7|- zq7)"#,
        before in "(  web: 1\n|  wbe: \\{env: \\{A: zq9\\}\\}\n|  worker: \\{drian: 1, env: \\{A: zq9\\}\\}\n)?",
        indent in "(    env:\n      A: |    env: \\{A: |    env: |    env:\n      - )",
        after in "(\\}|\n    drian: 1|\n  x: \\{env: \\{B: zq3\\}, drain: zz\\}|)\n",
    ) {
        let text = format!("formation:\n{before}  beat:\n{indent}{value}{after}");
        if let Err(errors) = read(&text) {
            prop_assert!(!errors.to_string().contains("zq"), "{text}\n{errors}");
        }
    }

    #[test]
    fn no_error_shows_a_key_of_env_that_may_be_a_value(
        keys in prop::collection::vec(
            "(A|B=|[a-z]{2}://u:|1|!|'|\"|&a |- |\\? )zq[0-9]@h/['\"]?(: 1|: x|:|: \\{\\}|)",
            1..4,
        ),
        flow: bool,
        owner in "(formation: \\{web: |defaults: |formation: \\{env: )",
    ) {
        let text = if flow {
            let close = if owner.contains('{') { "}" } else { "" };
            format!("{owner}{{env: {{{}}}}}{close}\n", keys.join(", "))
        } else {
            format!("defaults:\n  env:\n    {}\n", keys.join("\n    "))
        };
        if let Err(errors) = read(&text) {
            prop_assert!(!errors.to_string().contains("zq"), "{text}\n{errors}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([a-z]{1,3}|[:{}\\[\\], \n&*!?|>'\"#%@~<-]){0,30}", bytes: Vec<u8>) {
        let _either = read(&text);
        let _either = Spec::parse(Path::new("f"), &bytes, None);
        let _either = app_json::parse(Path::new("f"), &bytes, None);
    }
}
