//! `config`: each variable with its origin, and its value only if asked for.

use super::test::Test;

fn project(arguments: &str) -> Test {
    Test::new(arguments)
        .procfile("web: a\nworker: b\n")
        .file(".env", "# c\nA=hunter2\nB=\"x\\ny\"\nPATH=/nowhere\nSUPERVISE_SPEC=x\n")
        .file(
            "supervise.yml",
            "formation: {worker: {port: false, env: {C: 1.10}}}\ndefaults: {env: {D: d}}\n",
        )
        .variable("REAL", "r")
}

#[test]
fn values_are_hidden_unless_asked_for() {
    project("config worker")
        .stdout(
            "A                     (hidden)  .env:2\n\
             B                     (hidden)  .env:3\n\
             C                     (hidden)  spec (env)\n\
             D                     (hidden)  spec (defaults.env)\n\
             PATH                  (hidden)  environment\n\
             PS                    (hidden)  supervise\n\
             REAL                  (hidden)  environment\n\
             SUPERVISE_INSTANCE    (hidden)  supervise\n\
             SUPERVISE_RELEASE_ID  (hidden)  supervise\n\
             SUPERVISE_SLOT        (hidden)  supervise\n\
             SUPERVISE_TYPE        (hidden)  supervise\n",
        )
        .run();
}

#[test]
fn shown_values_stand_on_one_line_each_under_their_type() {
    project("config --show-values --env-override")
        .stdout(
            "web:\n\
             A                     hunter2                     .env:2\n\
             B                     \"x\\ny\"                      .env:3\n\
             D                     d                           spec (defaults.env)\n\
             PATH                  /nowhere                    .env:4\n\
             PORT                  5000                        supervise\n\
             PS                    web.1                       supervise\n\
             REAL                  r                           environment\n\
             SUPERVISE_INSTANCE    (its own for each process)  supervise\n\
             SUPERVISE_RELEASE_ID  dev                         supervise\n\
             SUPERVISE_SLOT        1                           supervise\n\
             SUPERVISE_TYPE        web                         supervise\n\
             \n\
             worker:\n\
             A                     hunter2                     .env:2\n\
             B                     \"x\\ny\"                      .env:3\n\
             C                     1.10                        spec (env)\n\
             D                     d                           spec (defaults.env)\n\
             PATH                  /nowhere                    .env:4\n\
             PS                    worker.1                    supervise\n\
             REAL                  r                           environment\n\
             SUPERVISE_INSTANCE    (its own for each process)  supervise\n\
             SUPERVISE_RELEASE_ID  dev                         supervise\n\
             SUPERVISE_SLOT        1                           supervise\n\
             SUPERVISE_TYPE        worker                      supervise\n",
        )
        .run();
}

#[test]
fn an_unknown_type_is_an_error_that_lists_what_is_known() {
    project("config wroker")
        .code(2)
        .stderr(
            "error: there is no process type `wroker`\n  \
             help: did you mean `worker`? the Procfile has: `web`, `worker`\n",
        )
        .run();
}

#[test]
fn the_port_is_the_one_that_start_would_give() {
    let port = |arguments: &str| Test::new(arguments).procfile("a: x\nb: y\n");
    let shown = |port: &str| {
        format!(
            "PATH                  /usr/bin:/bin               environment\n\
             PORT                  {port}                        supervise\n\
             PS                    b.1                         supervise\n\
             SUPERVISE_INSTANCE    (its own for each process)  supervise\n\
             SUPERVISE_RELEASE_ID  dev                         supervise\n\
             SUPERVISE_SLOT        1                           supervise\n\
             SUPERVISE_TYPE        b                           supervise\n"
        )
    };
    port("config b --show-values -p 7000").stdout(&shown("7100")).run();
    port("--port-step 10 config b --show-values").stdout(&shown("5010")).run();
    port("config b --show-values")
        .variable("SUPERVISE_PORT", "6000")
        .variable("SUPERVISE_PORT_STEP", "1")
        .stdout(&shown("6001"))
        .run();
    Test::new("run printenv PORT").procfile("a: x").variable("SUPERVISE_NO_PORT", "1").code(1).run();
    Test::new("check")
        .procfile("a: x")
        .variable("SUPERVISE_PORT", "web")
        .code(2)
        .stderr_says(&["invalid value 'web'"])
        .run();
}
