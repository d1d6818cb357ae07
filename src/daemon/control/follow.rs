//! Bodies that are lines of the stream: what is kept of it, and, for a follower, what comes.
//!
//! Nothing is read before the connection can take it: a follower that does not read costs one piece of memory, and is told
//! by the history how much it has missed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::stream::{Read, Reader};

use super::hall::Standing;
use super::routes::Follow;

/// Lines of JSON, each with its newline.
pub(super) struct Lines {
    reader: Reader,
    bell: Arc<Notify>,
    follow: Follow,
    state: State,
    /// Given back when the body is gone.
    _standing: Standing,
}

enum State {
    Reading,
    /// Everything was read before this was made.
    Waiting(Pin<Box<OwnedNotified>>),
    Over,
}

/// About so many bytes are read at once.
const PIECE: usize = 32 * 1024;

impl Lines {
    pub(super) fn new(reader: Reader, bell: Arc<Notify>, follow: Follow, standing: Standing) -> Lines {
        Lines { reader, bell, follow, state: State::Reading, _standing: standing }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Waiting(news) => {
                    ready!(news.as_mut().poll(context));
                    self.state = State::Reading;
                }
                State::Reading => {
                    // Made before the look, so that no bell between the two is missed.
                    let news = Arc::clone(&self.bell).notified_owned();
                    let mut piece = Vec::new();
                    match (self.reader.read(&mut piece, PIECE), self.follow) {
                        (Read::More, Follow::Yes | Follow::No) if piece.is_empty() => {
                            // Much was looked through in vain: now it is the others' turn.
                            context.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        (Read::More, Follow::Yes | Follow::No) => {}
                        (Read::CaughtUp, Follow::Yes) => self.state = State::Waiting(Box::pin(news)),
                        (Read::CaughtUp, Follow::No) | (Read::Over, Follow::Yes | Follow::No) => {
                            self.state = State::Over;
                        }
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
                    }
                }
            }
        }
    }
}
