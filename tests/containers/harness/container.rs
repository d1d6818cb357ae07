//! One container: what is in it, how it is run, what it said.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Answer, Engine, IMAGE, eventually};

/// A container to be.
pub(crate) struct Recipe {
    engine: &'static Engine,
    image: String,
    app: Option<App>,
    options: Vec<String>,
}

/// The directory that is mounted at /app, for as long as the container is there.
struct App(PathBuf);

/// A container that was started, removed at the end.
pub(crate) struct Container {
    engine: &'static Engine,
    name: String,
    /// Dropped after the container has been removed.
    _app: Option<App>,
}

impl Recipe {
    /// FROM scratch, with this Procfile in /app.
    pub(crate) fn procfile(engine: &'static Engine, procfile: &str) -> Recipe {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("containers-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let app = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&app).expect("a test can make its directory");
        let mount = format!("{}:/app:ro", app.display());
        let recipe = Recipe {
            engine,
            image: IMAGE.to_owned(),
            app: Some(App(app)),
            options: vec!["-v".to_owned(), mount],
        };
        recipe.with("Procfile", procfile)
    }

    /// An image as it is.
    pub(crate) fn image(engine: &'static Engine, image: &str) -> Recipe {
        Recipe { engine, image: image.to_owned(), app: None, options: Vec::new() }
    }

    /// With that file beside the Procfile.
    pub(crate) fn with(self, name: &str, content: &str) -> Recipe {
        let app = self.app.as_ref().expect("an image of its own has its files");
        fs::write(app.0.join(name), content).expect("a test can write into its directory");
        self
    }

    /// With these options of `docker run`.
    pub(crate) fn options(mut self, options: &[&str]) -> Recipe {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// With one of its files mounted at another place too.
    pub(crate) fn mount(self, name: &str, place: &str) -> Recipe {
        let app = self.app.as_ref().expect("an image of its own has its files");
        let mount = format!("{}/{name}:{place}:ro", app.0.display());
        self.options(&["-v", &mount])
    }

    /// Runs it in the background, with these arguments after `supervise start`.
    pub(crate) fn start(self, arguments: &[&str]) -> Container {
        let mut words = vec!["run", "--detach"];
        words.extend(self.options.iter().map(String::as_str));
        words.push(&self.image);
        words.extend(arguments);
        let name = self.engine.must(&words).trim().to_owned();
        Container { engine: self.engine, name, _app: self.app }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // What cannot be removed stays under target/, where it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Container {
    /// One that something else has started.
    pub(crate) fn named(engine: &'static Engine, name: &str) -> Container {
        Container { engine, name: name.to_owned(), _app: None }
    }

    /// Everything it wrote to its stdout so far.
    pub(crate) fn logs(&self) -> String {
        self.engine.must(&["logs", &self.name])
    }

    /// Waits until so many lines contain this.
    pub(crate) fn says(&self, text: &str, times: usize) {
        let wanted = |logs: &String| logs.lines().filter(|line| line.contains(text)).count() >= times;
        eventually(&format!("{times} lines with `{text}`"), || self.logs(), wanted);
    }

    /// `docker stop`: how long it took, and the exit code.
    pub(crate) fn stop(&self) -> (Duration, i32) {
        let began = Instant::now();
        self.engine.must(&["stop", &self.name]);
        (began.elapsed(), self.ended())
    }

    /// `docker kill -s`.
    pub(crate) fn kill(&self, signal: &str) {
        self.engine.must(&["kill", "-s", signal, &self.name]);
    }

    /// Waits for its end, and tells the exit code.
    pub(crate) fn ended(&self) -> i32 {
        let state = || self.inspect("{{.State.Status}} {{.State.ExitCode}}");
        let state = eventually("the end of the container", state, |state| state.starts_with("exited"));
        state.rsplit(' ').next().and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{state}"))
    }

    /// `docker exec`.
    pub(crate) fn exec(&self, words: &[&str]) -> Answer {
        self.engine.docker(&[&["exec", &self.name], words].concat())
    }

    /// Waits until `docker exec` of this succeeds, and returns its output.
    pub(crate) fn answers(&self, words: &[&str]) -> String {
        eventually(&format!("{words:?}"), || self.exec(words), |answer| answer.code == 0).out
    }

    /// `docker inspect`.
    pub(crate) fn inspect(&self, format: &str) -> String {
        self.engine.must(&["inspect", &self.name, "--format", format]).trim().to_owned()
    }

    /// Waits until HEALTHCHECK has found it so.
    pub(crate) fn becomes(&self, health: &str) {
        eventually(
            "its health",
            || self.inspect("{{json .State.Health}}"),
            |seen| seen.contains(&format!("\"Status\":\"{health}\"")),
        );
    }

    /// Where the engine's network has it.
    pub(crate) fn address(&self) -> IpAddr {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = self.inspect(format);
        address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Waits until a request is answered with 200, and returns the answer.
    pub(crate) fn serves(&self, port: u16, path: &str) -> String {
        let address = format!("{}:{port}", self.address());
        let answer = eventually(
            &format!("an answer of port {port}"),
            || self.engine.http(&address, path),
            |answer| answer.as_ref().is_ok_and(|text| text.split(' ').nth(1) == Some("200")),
        );
        answer.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Already gone is as good; what stays goes with the engine.
        self.engine.docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
