//! Whether 127.0.0.1 takes a connection on a port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpSocket, TcpStream};

use crate::api::ProbeResult;

use super::super::room::{self, Purpose};
use super::{in_time, refused};

pub(super) async fn ask(port: u16, timeout: Duration) -> ProbeResult {
    let what = format!("port {port}");
    match in_time(timeout, &what, connect(port, &what)).await {
        Ok(connection) => {
            drop(connection);
            ProbeResult::Passed
        }
        Err(result) => result,
    }
}

/// # Errors
/// What is to be answered instead, about `what` was asked.
pub(super) async fn connect(port: u16, what: &str) -> Result<TcpStream, ProbeResult> {
    let connecting = async {
        let socket = TcpSocket::new_v4()?;
        room::left_beside(&socket, Purpose::Probe)?;
        not_itself(socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?)
    };
    connecting.await.map_err(|error| refused(what, &error))
}

/// Where nobody listens on a port of those that clients are given, a client may be given that port and meet itself
/// (RFC 9293, 3.5: simultaneous open).
///
/// # Errors
/// As if nobody had taken the connection.
pub(super) fn not_itself(connection: TcpStream) -> io::Result<TcpStream> {
    if connection.local_addr()? == connection.peer_addr()? {
        return Err(Errno::ECONNREFUSED.into());
    }
    Ok(connection)
}
