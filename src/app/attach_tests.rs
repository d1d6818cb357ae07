//! Probes, sockets, rollouts and backing services, from the spec to a release, as a user meets them.

use std::time::Duration;

use super::plan_tests::Project;
use super::{Check, Health, Listen, Restart, plan_one_off};

const TWO: &str = "web: a\nworker: b\n";

fn project(spec: &str) -> Project {
    Project::new(TWO).file("supervise.yml", spec)
}

fn health(project: &Project, name: &str) -> Health {
    project.release().process_type(name).expect("it is there").health.clone()
}

/// The ports that the three probes of a type begin with.
fn ports(project: &Project, name: &str) -> [Option<u16>; 3] {
    let Health { startup, readiness, liveness } = health(project, name);
    [startup, readiness, liveness].map(|probe| match probe?.check {
        Check::Http { first_port, .. } | Check::Tcp { first_port } => Some(first_port),
        Check::Exec { .. } | Check::Notify => None,
    })
}

/// Asserts one error, its place in supervise.yml and pieces of its text.
#[track_caller]
fn assert_error(project: &Project, place: &str, said: &[&str]) {
    let errors = project.errors();
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    for said in [&format!("supervise.yml:{place}: ") as &str].iter().chain(said) {
        assert!(errors.contains(said), "{said}: {errors}");
    }
}

#[test]
fn a_probe_is_asked_on_its_own_port_or_on_the_types() {
    let spec = "formation:\n  web: { health: { startup: { http: / }, readiness: { tcp: true, port: 9000 }, \
                liveness: { exec: x } } }\n";
    let of_web = project(spec);
    assert_eq!(ports(&of_web, "web"), [Some(5000), Some(9000), None]);
    assert_eq!(health(&of_web, "worker"), Health::default());
    let none = project("formation:\n  web:\n    port: false\n    health: { liveness: { tcp: true } }\n");
    let said = [
        "`formation.web.health.liveness`: `tcp` needs a port, and `web` has no PORT",
        "help: give the probe a `port`",
    ];
    assert_error(&none, "4:25", &said);
    let high =
        project("formation:\n  web: { quantity: 3, health: { liveness: { tcp: true, port: 65534 } } }\n");
    assert_error(&high, "2:43", &["slot 3 would be asked on port 65536, above 65535"]);
}

#[test]
fn defaults_have_a_probe_for_every_type_until_it_has_one_of_its_own() {
    let spec = "defaults:\n  health: { readiness: { http: / }, liveness: { tcp: true } }\n\
                formation: { worker: { health: { readiness: { tcp: true, port: 7000 }, liveness: false } } }\n";
    let both = project(spec);
    assert_eq!(ports(&both, "web"), [None, Some(5000), Some(5000)]);
    assert_eq!(ports(&both, "worker"), [None, Some(7000), None]);
    let portless = project(
        "defaults: { health: { liveness: { tcp: true } } }\nformation: { worker: { port: false } }\n",
    );
    assert_error(&portless, "1:33", &["`defaults.health.liveness`: `tcp` needs a port, and `worker` has no"]);
    let unset = Project::new(TWO).file("supervise.yml", spec).with(|inputs| inputs.ports = super::Ports::Off);
    assert_eq!(unset.errors().matches("needs a port").count(), 2, "{}", unset.errors());
    assert!(plan_one_off(&unset.inputs).is_ok(), "what is not started is not asked either");
}

#[test]
fn nobody_is_asked_on_a_socket_that_all_share() {
    let listen = |rest: &str| {
        project(&format!("formation:\n  web:\n    quantity: 4\n    listen: tcp://:8000\n    {rest}\n"))
    };
    let shared = listen("health: { readiness: { http: /ready } }");
    let said = [
        "`http` would be asked of tcp://0.0.0.0:8000, which all of `web` share",
        "help: give the probe a `port`",
    ];
    assert_error(&shared, "5:26", &said);
    // Slot 4, and slot 5 during a rollout.
    for (port, ports) in [(8000, "8000 to 8004"), (7997, "7997 to 8001"), (7996, "7996 to 8000")] {
        let inside = listen(&format!("health: {{ readiness: {{ tcp: true, port: {port} }} }}"));
        let said = format!("the ports are {ports}, and 8000 is the socket that all of `web` share");
        assert_error(&inside, "5:26", &[&said]);
    }
    for rest in [
        "health: { readiness: { tcp: true, port: 8001 } }",
        "health: { readiness: { tcp: true, port: 7995 } }",
        "health: { readiness: { exec: x }, startup: { notify: true } }",
        "health: { readiness: { tcp: true, port: 7996 } }\n    rollout: { max_surge: 0, max_unavailable: 1 }",
    ] {
        assert!(health(&listen(rest), "web").readiness.is_some());
    }
    let path = project("formation: { web: { listen: app.sock, health: { readiness: { tcp: true } } } }");
    assert_error(&path, "1:60", &["which all of `web` share"]);
}

#[test]
fn a_socket_belongs_to_one_type_and_a_relative_path_begins_at_the_root() {
    let spec =
        "formation:\n  web: { listen: \"unix:tmp/app.sock\" }\n  worker: { listen: \"tcp://[::1]:80\" }\n";
    let release = project(spec).release();
    let root = release.root.clone();
    let listens: Vec<_> = release.types.into_iter().map(|found| found.listen).collect();
    let tcp = Listen::Tcp("[::1]:80".parse().expect("an address"));
    assert_eq!(listens, [Some(Listen::Unix(root.join("tmp/app.sock"))), Some(tcp)]);

    let same =
        project("formation:\n  web: { listen: tcp://:80 }\n  worker: { listen: tcp://127.0.0.1:80 }\n");
    assert_error(&same, "3:21", &["`formation.worker.listen`: `web` listens on tcp://0.0.0.0:80 already"]);
    let long = project(&format!("formation:\n  web: {{ listen: /{} }}\n", "x".repeat(107)));
    assert_error(&long, "2:18", &["has 108 bytes, and a socket's path 107 at most", "a shorter path"]);
}

#[test]
fn whoever_is_expected_to_be_there_is_started_again_whatever_its_code() {
    let restart = |spec: &str| {
        let release = project(spec).release();
        release.process_type("worker").expect("it is there").policy.restart
    };
    assert_eq!(restart(""), Restart::OnFailure);
    assert_eq!(restart("formation: { worker: { listen: tcp://:8000 } }"), Restart::Always);
    assert_eq!(restart("formation: { worker: { health: { liveness: { exec: x } } } }"), Restart::Always);
    assert_eq!(restart("formation: { worker: { health: { liveness: false } } }"), Restart::OnFailure);
    assert_eq!(restart("formation: { worker: { listen: tcp://:8000, restart: never } }"), Restart::Never);
    assert_eq!(
        restart("formation: { worker: { listen: tcp://:8000 } }\ndefaults: { restart: on-failure }"),
        Restart::OnFailure
    );
}

#[test]
fn a_rollout_that_can_neither_add_nor_take_away_is_refused() {
    let spec = "formation:\n  web: { rollout: { max_surge: 2, min_ready: 3s } }\ndefaults: { rollout: { max_unavailable: 1 } }\n";
    let release = project(spec).release();
    let rollout = release.types[0].policy.rollout;
    assert_eq!((rollout.max_surge, rollout.max_unavailable), (2, 1));
    assert_eq!(rollout.min_ready, Duration::from_secs(3));
    assert_eq!(rollout.progress_deadline, Duration::from_secs(600));
    assert_eq!(release.types[1].policy.rollout.max_surge, 1);
    let none = project("formation:\n  web: { rollout: { max_surge: 0 } }\n");
    assert_error(&none, "2:19", &["`formation.web.rollout`: `max_surge` and `max_unavailable` are both 0"]);
}

#[test]
fn a_rollout_that_would_always_be_turned_back_is_refused() {
    let hasty = project("formation:\n  web: { rollout: { min_ready: 5s, progress_deadline: 5s } }\n");
    assert_error(&hasty, "2:19", &["`progress_deadline` is 5s for `web`, not longer than `min_ready`, 5s"]);
    project("formation:\n  web: { rollout: { min_ready: 5s, progress_deadline: 6s } }\n").release();
}

#[test]
fn a_type_gets_the_url_of_its_own_environment_and_the_app_the_apps() {
    let spec = "formation:\n  web: { needs: [REDIS_URL, DB] }\n  worker: { needs: [REDIS_URL], \
                env: { REDIS_URL: 'redis://own' } }\nservices: { REDIS_URL: { wait: 5s }, SPARE: , SMTP_URL: }\n";
    let project = project(spec)
        .variable("REDIS_URL", "redis://u:CANARY@app")
        .variable("DB", "sqlite:db.sqlite3")
        .variable("SMTP_URL", "smtp://mail");
    let release = project.release();
    let shown = |services: &[super::Service]| {
        let shown =
            services.iter().map(|service| format!("{} {} {:?}", service.name, service.url, service.wait));
        shown.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown(&release.types[0].needs), "REDIS_URL redis://u:CANARY@app 5s, DB sqlite:db.sqlite3 30s");
    assert_eq!(shown(&release.types[1].needs), "REDIS_URL redis://own 5s");
    assert_eq!(
        shown(&release.services),
        "REDIS_URL redis://u:CANARY@app 5s, SMTP_URL smtp://mail 30s, DB sqlite:db.sqlite3 30s",
        "one that is not set and that nobody needs is not there"
    );
    assert!(!format!("{release:?}").contains("CANARY"), "debugging shows no URL");
}

#[test]
fn a_needed_variable_without_a_url_is_an_error_that_never_shows_the_value() {
    let spec = "formation:\n  web: { needs: [A_URL] }\ndefaults: { needs: [B_URL, A_URL] }\n";
    let project = || project(spec);
    let errors = project().variable("A_URL", "").variable("B_URL", "CANARY/x").errors();
    for said in [
        "supervise.yml:2:18: `formation.web.needs`: `web` needs A_URL, and it is empty",
        "supervise.yml:3:21: `defaults.needs`: `worker` needs B_URL, and it holds no URL",
        "supervise.yml:3:28: `defaults.needs`: `worker` needs A_URL, and it is empty",
        "help: a URL begins with a scheme, as in `redis://localhost:6379`",
    ] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
    assert!(errors.matches("error: ").count() == 3 && !errors.contains("CANARY"), "{errors}");
    let errors = Project::new(TWO).file("supervise.yml", "defaults: { needs: [A_URL] }").errors();
    assert!(errors.contains("`web`, `worker` need A_URL, and it is not set"), "{errors}");
    assert!(errors.contains("help: set A_URL in the environment or an env file"), "{errors}");

    // One type per container: what the others need is in theirs.
    let only = Project::new(TWO).file("supervise.yml", "formation: { worker: { needs: [A_URL] } }");
    let only = only.arguments(&["web"]);
    let needs = only.release().types[1].needs.clone();
    assert_eq!((needs[0].name.as_str(), needs[0].url.as_str()), ("A_URL", ""));
    assert!(only.release().services.is_empty());
    assert!(plan_one_off(&project().inputs).is_ok());
    let unread = project().file(".env", "A_URL\n").errors();
    assert_eq!(unread.matches("error: ").count(), 1, "it may be on the line that is wrong: {unread}");
}

#[test]
fn what_was_handed_to_us_is_not_handed_on() {
    let names = [
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "FDSTORE",
        "JOURNAL_STREAM",
    ];
    let project = names.into_iter().fold(Project::new(TWO), |project, name| project.variable(name, "1"));
    let release = project.file(".env", "LISTEN_FDS=2\n").release();
    for name in names {
        assert!(release.types[0].environment.get(name).is_none(), "{name}");
        assert!(release.environment.get(name).is_none(), "{name}");
    }
    assert_eq!(release.remarks[0].to_string(), "formation: web=1 worker=1");
}
