//! Servers for the tests of this room that say what they are told to say, whatever they hear.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Finding, ask};

/// What one connection is told, and what it said.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    /// What each connection said, in order.
    heard: JoinHandle<Vec<Vec<u8>>>,
}

/// One turn of a conversation.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// It says that.
    Says(Vec<u8>),
    /// It waits until it has heard so many bytes since it last spoke.
    Hears(usize),
    /// It says and hears nothing any more, and does not go away.
    Sleeps,
}

pub(super) fn says(bytes: impl AsRef<[u8]>) -> Turn {
    Turn::Says(bytes.as_ref().to_vec())
}

impl Fake {
    /// A server on loopback; the n-th script is for the n-th connection, and after its end the connection is closed.
    pub(super) async fn new(scripts: Vec<Vec<Turn>>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let heard = tokio::spawn(async move {
            let mut all = Vec::new();
            for script in scripts {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut heard = Vec::new();
                let mut buffer = [0; 4096];
                for turn in script {
                    let mut missing = match turn {
                        Turn::Says(bytes) => {
                            // Who has heard enough is gone.
                            let _ = stream.write_all(&bytes).await;
                            0
                        }
                        Turn::Hears(count) => count,
                        Turn::Sleeps => usize::MAX,
                    };
                    while missing > 0 {
                        let Ok(read @ 1..) = stream.read(&mut buffer).await else { break };
                        heard.extend_from_slice(&buffer[..read]);
                        missing = missing.saturating_sub(read);
                    }
                }
                // What is on its way is still to be heard; then it goes.
                let _ = stream.shutdown().await;
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    heard.extend_from_slice(&buffer[..read]);
                }
                all.push(heard);
            }
            all
        });
        Fake { address, heard }
    }

    /// Everything that was said to it, once each connection is over.
    pub(super) async fn heard(self) -> Vec<String> {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.heard).await;
        let heard = heard.expect("the connections have ended").expect("no panic");
        heard.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

/// What is found out at that URL, in which `HOST` is where the fake is.
pub(super) async fn ask_at(address: SocketAddr, url: &str) -> Finding {
    ask(&url.replace("HOST", &address.to_string()), Path::new("/")).await
}

/// The verdict on a server that says that to its only connection.
pub(super) async fn verdict(url: &str, script: Vec<Turn>) -> Result<String, String> {
    let fake = Fake::new(vec![script]).await;
    let found = ask_at(fake.address, url).await;
    found.verdict.map(String::from).map_err(String::from)
}

/// Runs a test as the loop runs: on one thread.
pub(super) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let output = runtime.block_on(test);
    runtime.shutdown_background();
    output
}
