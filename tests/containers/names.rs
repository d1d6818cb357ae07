//! Names, where there is neither a library nor a file that says how to look them up.

use crate::harness::{Recipe, engine};

/// A type that waits for a backing service, and says that it runs.
const SPEC: &str = "formation:\n  job: { needs: [BACKEND_URL] }\nservices: { BACKEND_URL: { wait: 60s } }\n";

#[test]
fn names_from_hosts_and_from_a_name_server_are_found_from_scratch() {
    let Some(engine) = engine() else { return };
    let backend = Recipe::procfile(engine, "web: busybox httpd -f -p 8000 -h /app\n").start(&[]);
    backend.serves(8000, "/Procfile");
    let server = backend.inspect("{{.NetworkSettings.Gateway}}");
    engine.name_server(server.parse().expect("an address"), "backend.example", backend.address());
    let hosts = format!("--add-host=backend-in-hosts:{}", backend.address());
    let ask = |host: &str| {
        Recipe::procfile(engine, "job: echo it runs\n")
            .with("supervise.yml", SPEC)
            // A library of another glibc would be loaded for these, were they asked.
            .with("nsswitch.conf", "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n")
            .mount("nsswitch.conf", "/etc/nsswitch.conf")
            .options(&["--dns", &server, &hosts, "-e", &format!("BACKEND_URL=http://{host}:8000/Procfile")])
            .start(&[])
    };
    for host in ["backend.example", "backend-in-hosts"] {
        let container = ask(host);
        assert_eq!(container.ended(), 0, "{host}: {}", container.logs());
        container.says("| it runs", 1);
    }
    // And the story can tell: a name that nobody knows.
    let container = ask("nobody.example");
    container.says("no such host", 1);
    assert!(!container.logs().contains("| it runs"), "{}", container.logs());
}
