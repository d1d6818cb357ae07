//! The stream on real pipes: what children write comes out as whole tagged lines, whatever they and our reader do.

mod gone;
mod last_words;
mod lines;
mod pressure;
mod rig;
mod targets;
